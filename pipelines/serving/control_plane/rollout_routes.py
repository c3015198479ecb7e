"""HTTP routes of a rollout on the admin listener: a change needs an idempotency key, and all but rollback If-Match."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec

from pipelines.errors import Refused
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import Served
from pipelines.serving.control_plane.rollouts import Rollouts
from pipelines.serving.control_plane.state import ACTOR

StatusAndContent = tuple[int, Any]
Body = TypeVar("Body")
ETAG = re.compile(rb'(?:W/)?"?(\d{1,18})"?')


class CreateBody(RolloutPlan, frozen=True, forbid_unknown_fields=True):
    """A plan; ``supersede`` ends an active rollout of the model."""

    supersede: bool = False


class TrafficBody(msgspec.Struct, forbid_unknown_fields=True):
    split: dict[str, int]


class MirrorBody(msgspec.Struct, forbid_unknown_fields=True):
    version: str | None
    basis_points: int = 0


class LeaseBody(msgspec.Struct, forbid_unknown_fields=True):
    seconds: float


class ReasonBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str


class RollbackBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: Annotated[str, msgspec.Meta(pattern=r"\S")]  # not blank
    version: str | None = None
    actor: str | None = None


class PromoteBody(msgspec.Struct, forbid_unknown_fields=True):
    version: str


class RetireBody(msgspec.Struct, forbid_unknown_fields=True):
    version: str | None = None


class EmptyBody(msgspec.Struct, forbid_unknown_fields=True):
    pass


class ChangeHeaders(msgspec.Struct, frozen=True):
    """The headers If-Match and Idempotency-Key of a change."""

    if_match: bytes | None
    idempotency_key: str


class RolloutRoutes:
    """``GET /models/<m>/rollout``; ``PUT`` and ``GET /models/<m>/rollouts/<id>``; ``GET …/counts``; ``POST …/<verb>``.

    Verbs: prepare, traffic, mirror, lease, pause, resume, promote, retire (with If-Match), rollback (without).
    """

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts

    async def answer(
        self, method: str, model: str, rollout_id: str | None, verb: str | None, headers: ChangeHeaders, body: bytes
    ) -> StatusAndContent:
        if method == "GET":
            return await self._get(model, rollout_id, verb)
        allowed = {"PUT": verb is None, "POST": verb in VERBS or verb == "rollback"}.get(method, False)
        if rollout_id is None or not allowed:
            return 405, {"subject": f"{method} is not served here; POST one of {', '.join(VERBS)}", "reasons": []}
        if not headers.idempotency_key:
            raise Refused("a change of a rollout needs the header Idempotency-Key; send a new key")
        if verb == "rollback":
            rollback = parse(body, RollbackBody)
            key, version = headers.idempotency_key, rollback.version
            reason = signed_reason(rollback)
            return 200, await self._rollouts.roll_back(model, rollout_id, reason, key=key, version=version)
        etag = None if headers.if_match is None else ETAG.fullmatch(headers.if_match.strip())
        if etag is None:
            subject = "a change of a rollout needs the header If-Match with the model's generation"
            return 428, {"subject": subject, "reasons": [f"read it from GET /models/{model}/rollout"]}
        kind, change = VERBS[verb or ""]
        fields = msgspec.structs.asdict(parse(body or b"{}", kind))
        expect, key = int(etag[1]), headers.idempotency_key
        state = await change(self._rollouts, model, rollout_id, **fields, expect=expect, key=key)
        return (200 if state["applied"] else 202), state

    async def _get(self, model: str, rollout_id: str | None, verb: str | None) -> StatusAndContent:
        if rollout_id is None:
            return 200, self._rollouts.state(model)
        if verb is None:
            return 200, msgspec.to_builtins(self._rollouts.record(model, rollout_id))
        if verb == "counts":
            return 200, await self._rollouts.counts(model, rollout_id)
        return 405, {"subject": f"{verb} needs the method POST", "reasons": []}


def parse(body: bytes, kind: type[Body]) -> Body:
    """The body as a ``kind``. Raises ``Refused`` if it is not one."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Refused("the request body is not valid", [str(error)]) from error
    except RecursionError:
        raise Refused("the request body is not valid", ["it is nested too deeply"]) from None


def signed_reason(rollback: RollbackBody) -> str:
    """The reason with the person that the body names, who becomes the actor of the change."""
    if not rollback.actor:
        return rollback.reason
    ACTOR.set(rollback.actor)
    return f"{rollback.reason} (by {rollback.actor})"


async def _create(
    rollouts: Rollouts, model: str, rollout_id: str, *, supersede: bool, expect: int, key: str, **plan: Any
) -> Any:
    return await rollouts.create(model, rollout_id, RolloutPlan(**plan), supersede, expect=expect, key=key)


async def _prepare(rollouts: Rollouts, model: str, rollout_id: str, *, expect: int, key: str, **served: Any) -> Any:
    return await rollouts.prepare(model, rollout_id, Served(**served), expect=expect, key=key)


VERBS: dict[str, tuple[type[msgspec.Struct], Callable[..., Awaitable[dict[str, Any]]]]] = {
    "": (CreateBody, _create),
    "prepare": (Served, _prepare),
    "traffic": (TrafficBody, Rollouts.set_traffic),
    "mirror": (MirrorBody, Rollouts.set_mirror),
    "lease": (LeaseBody, Rollouts.renew_lease),
    "pause": (ReasonBody, Rollouts.pause),
    "resume": (EmptyBody, Rollouts.resume),
    "promote": (PromoteBody, Rollouts.promote),
    "retire": (RetireBody, Rollouts.retire),
}
"""Body and method of each verb; the fields of the body are the arguments of the method."""

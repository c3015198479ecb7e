"""Each change of an endpoint is recorded, ordered, awaited and recorded as done; the next caller goes on with it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from pipelines.adapters.sagemaker.clients import AwsClients, WriteConflict
from pipelines.adapters.sagemaker.endpoint import (
    PATIENCE_SECONDS,
    EndpointDescription,
    ProductionVariant,
    SageMakerEndpoint,
)
from pipelines.adapters.sagemaker.guardrail import back_at_once, guarded, longest
from pipelines.adapters.sagemaker.record import EndpointRecord, EndpointRecords, Intent, StoredAnswer, parse_store
from pipelines.errors import AirworthyError, Conflict, Refused, Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.rollout import transitions as moves
from pipelines.rollout.state import state_of
from pipelines.rollout.transitions import WHOLE, Route
from pipelines.spec.deployment import Deployment, SageMaker

RIVALS = 20
"""Conditional writes that one call may lose before it gives up."""
WAYS_BACK = ("roll_back", "rollback")
GUARDED_VARIANT = "live"
"""SageMaker shifts traffic between fleets of one variant, so its name never changes."""
Move = Callable[[Route | None], Route]


class LateWriteConflict(WriteConflict):
    """Somebody else changed the record after SageMaker had been given an order for what it said before."""


class EndpointChanges:
    """The record of one model on S3, and the endpoint that it speaks of.

    ``EndpointRecord.route`` is what was seen to be so, ``EndpointRecord.intent`` what was decided. An intent is written
    before anything is ordered, and it becomes the route once SageMaker is seen to have done it: in service, with the
    configuration and the weights that were ordered. In service with the configuration from before is a rollback that
    SageMaker made by itself; it is recorded as such and refused, never taken for success.
    """

    def __init__(
        self,
        model: str,
        deployment: Deployment,
        clients: AwsClients,
        store: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert isinstance(deployment.target, SageMaker)
        self.now, self.guarded = now, deployment.target.mode == "guardrail"
        self.endpoint = SageMakerEndpoint(model, deployment, clients, store, sleep=sleep)
        self.model, self._deployment, self.cloudwatch = model, deployment, clients.cloudwatch
        self._records = EndpointRecords(clients.s3, *parse_store(store))

    def read(self) -> EndpointRecord:
        return self._records.read(self.model)[0]

    def observe(self) -> tuple[EndpointRecord, EndpointDescription | None]:
        """The row and the endpoint.

        A rollback that SageMaker made by itself is recorded on sight, and a change of which a dead worker left only the
        weights or the record undone is finished; nobody else might ask for it again.
        """
        row, etag = self._records.read(self.model)
        seen = self.endpoint.describe()
        if row.intent is None or seen is None or seen.status != "InService":
            return row, seen
        if _fell_back(row, seen):
            with suppress(WriteConflict):
                self._give_up(row, etag, _why(row, seen))
        elif self.endpoint.holds(self.wanted(row.intent.route), seen):
            with suppress(WriteConflict, AirworthyError):
                self._finish(row, etag)
        return self.read(), self.endpoint.describe()

    def make(self, action: str, request: Mapping[str, Any], move: Move, expect: int | None, key: str) -> dict[str, Any]:
        """The state after the change, as it was first answered under this key. Without ``expect`` it overrules."""
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        for _ in range(RIVALS):
            row, etag = self._records.read(self.model)
            stored = row.answers.get(key)
            if stored is not None and stored.request != digest:
                raise Refused(f"key {key!r} was used for another request; take a new one")
            if stored is not None:
                return stored.answer
            try:
                if row.intent is not None and (expect is not None or row.intent.key == key):
                    answer = self._finish(row, etag)
                    if row.intent.key == key:
                        return answer
                    continue
                if expect is not None and expect != row.generation:
                    raise Conflict(f"{self.model} is at generation {row.generation}, not {expect}")
                row = msgspec.structs.replace(row, intent=Intent(key, digest, action, move(row.route)))
                if self._is_only_recorded(row):
                    return self._done(row, etag, self.endpoint.describe())
                return self._finish(row, self._records.write(row, etag))
            except LateWriteConflict:
                self._put_right()
            except WriteConflict:
                continue
        raise Unavailable(f"{RIVALS} others changed {self.model} meanwhile; try again")

    def renew(self, move: Callable[[Route], Route], expect: int) -> RolloutState:
        """The lease alone: it waits for nothing, not even for a change that is pending."""
        for _ in range(RIVALS):
            row, etag = self._records.read(self.model)
            if expect != row.generation:
                raise Conflict(f"{self.model} is at generation {row.generation}, not {expect}")
            route, intent = move(moves.live(self.model, row.route)), row.intent
            if intent is not None and intent.route.rollout is not None and intent.route.rollout.active:
                intent = msgspec.structs.replace(intent, route=move(intent.route))
            row = msgspec.structs.replace(row, route=route, intent=intent)
            with suppress(WriteConflict):
                self._records.write(row, etag)
                return self.told(row, self.endpoint.describe())
        raise Unavailable(f"{RIVALS} others changed {self.model} meanwhile; try again")

    def _is_only_recorded(self, row: EndpointRecord) -> bool:
        """Whether the intent asks for nothing of SageMaker, so that nobody waits for what it does just now."""
        intent = row.intent
        if row.route is None or intent is None or intent.action in ("prepare", *WAYS_BACK):
            return False
        return self.wanted(intent.route) == self.wanted(row.route)

    # ---- order, see, record -----------------------------------------------------------------------------------------

    def _finish(self, row: EndpointRecord, etag: str | None) -> dict[str, Any]:
        """Do what the intent says and return the new state. Raises ``WriteConflict`` if somebody else does."""
        intent = row.intent
        assert intent is not None
        variants = self.wanted(intent.route)
        try:
            seen = self._there(variants, intent)
            if not intent.begun and not self.endpoint.holds(variants, seen):
                row, etag, seen = self._reconfigured(row, etag, variants, seen)
            self._check(row, seen, variants)
        except Refused as error:
            if intent.action not in WAYS_BACK and not isinstance(error, Conflict):
                self._give_up(row, etag, "; ".join([error.subject, *error.reasons]))
            raise
        if not self.endpoint.weighs(variants, seen):
            self.endpoint.weigh(variants, seen)
            seen = self.endpoint.wait()
        if not self.endpoint.weighs(variants, seen):
            raise Unavailable(f"endpoint {self.endpoint.name} splits {seen.shares}, not as ordered; try again")
        if row.route is None or intent.route.live != row.route.live or intent.route.candidate != row.route.candidate:
            self.endpoint.scale(variants)
        answer = self._done(row, etag, seen)
        self.endpoint.let_go(variants, seen)
        return answer

    def _there(self, variants: list[ProductionVariant], intent: Intent) -> EndpointDescription:
        """The endpoint, made if there is none, when SageMaker is done with it."""
        if self.guarded and intent.route.candidate is not None:
            self.endpoint.register(intent.route.candidate)
        if self.endpoint.describe() is None:
            self.endpoint.create(variants)
        return self.endpoint.wait(self._patience() if intent.begun else PATIENCE_SECONDS)

    def _reconfigured(
        self, row: EndpointRecord, etag: str | None, variants: list[ProductionVariant], seen: EndpointDescription
    ) -> tuple[EndpointRecord, str | None, EndpointDescription]:
        """Order another configuration and wait; that it was ordered is recorded before the waiting begins."""
        intent = row.intent
        assert intent is not None
        policy = None
        if self.guarded:
            policy = back_at_once() if intent.action in WAYS_BACK else guarded(self._deployment)
        config = self.endpoint.configure(variants, seen)
        if self._records.read(self.model)[1] != etag:
            raise WriteConflict(self.model)
        self.endpoint.update(config, policy)
        begun = msgspec.structs.replace(intent, begun=True, former=seen.config, config=config)
        route = row.route and self._leased(row.route, self._patience())
        row = msgspec.structs.replace(row, intent=begun, route=route)
        return row, self._note(row, etag), self.endpoint.wait(self._patience())

    def _check(self, row: EndpointRecord, seen: EndpointDescription, variants: list[ProductionVariant]) -> None:
        """``Refused`` unless the endpoint has the configuration that was ordered."""
        intent = row.intent
        assert intent is not None
        if _fell_back(row, seen):
            raise Refused(f"the {intent.action} of {self.model} did not come about", [_why(row, seen)])
        if (intent.begun and seen.config != intent.config) or not self.endpoint.holds(variants, seen):
            raise Refused(
                f"endpoint {self.endpoint.name} has configuration {seen.config}, which nobody here ordered",
                ["somebody else changed it; roll back, or release a version, to have it our way again"],
            )

    def _done(self, row: EndpointRecord, etag: str | None, seen: EndpointDescription | None) -> dict[str, Any]:
        """The intent is what is: the next generation, unless nothing changed for any request."""
        intent, now = row.intent, self.now()
        assert intent is not None
        before, after = row.route, self._stamped(row, intent, now)
        record, former = after.rollout, before.rollout if before else None
        superseded = dict(row.superseded)
        if former is not None and former.active and record is not None and record.rollout_id != former.rollout_id:
            why = f"by {record.rollout_id}"
            superseded[former.rollout_id] = msgspec.structs.replace(former, phase="SUPERSEDED", reason=why)
        same = before is not None and intent.route == before
        row = msgspec.structs.replace(
            row,
            generation=row.generation + (0 if same else 1),
            route=after,
            intent=None,
            superseded=superseded,
            ended=None if record is not None and record.active else row.ended or now,
        )
        answer = self.told(row, seen).model_dump(mode="json", by_alias=True)
        answers = row.answers | {intent.key: StoredAnswer(intent.request, answer)}
        self._note(msgspec.structs.replace(row, answers=answers), etag)
        return answer

    def _note(self, row: EndpointRecord, etag: str | None) -> str:
        """Record what was ordered or done. Raises ``LateWriteConflict`` if the record was changed meanwhile."""
        try:
            return self._records.write(row, etag)
        except WriteConflict as conflict:
            raise LateWriteConflict(self.model) from conflict

    def _give_up(self, row: EndpointRecord, etag: str | None, reason: str) -> None:
        """The rollout has ended in the record, too. Raises ``WriteConflict`` if somebody else changed it meanwhile."""
        intent, route, now = row.intent, row.route, self.now()
        assert intent is not None
        record = route.rollout if route else None
        if route is not None and record is not None and record.active:
            if intent.action == "prepare":
                route = moves.failed(route, record.rollout_id, reason)
            elif intent.action == "promote":
                route = moves.rolled_back(route, reason)
        runs = route is not None and route.rollout is not None and route.rollout.active
        ended = row.ended if runs else row.ended or now
        row = msgspec.structs.replace(row, generation=row.generation + 1, route=route, intent=None, ended=ended)
        self._records.write(row, etag)

    def _put_right(self) -> None:
        """An order of ours that came too late must not outlive what was recorded since."""
        row = self.read()
        if row.intent is not None or row.route is None:
            return
        variants, seen = self.wanted(row.route), self.endpoint.wait()
        if not self.endpoint.holds(variants, seen):
            return
        if not self.endpoint.weighs(variants, seen):
            self.endpoint.weigh(variants, seen)
            seen = self.endpoint.wait()
        self.endpoint.let_go(variants, seen)

    # ---- what a row means -------------------------------------------------------------------------------------------

    def wanted(self, route: Route) -> list[ProductionVariant]:
        """The former champion of a promotion keeps its instances, at weight 0, until it is retired."""
        if self.guarded:
            return [ProductionVariant(GUARDED_VARIANT, route.live, WHOLE)]
        share = route.share()
        variants = [ProductionVariant(variant_name(route.live.version), route.live, WHOLE - share)]
        if route.candidate is not None:
            variants.append(ProductionVariant(variant_name(route.candidate.version), route.candidate, share))
        if route.previous is not None and route.rollout is not None and route.rollout.phase == "FINALISING":
            variants.append(ProductionVariant(variant_name(route.previous.version), route.previous, 0))
        return variants

    def told(self, row: EndpointRecord, seen: EndpointDescription | None) -> RolloutState:
        """Roles and phase as recorded; the split, and whether it is the one recorded, as SageMaker says.

        What is only intended does not count: a caller who is told the former state asks for it again, and waits.
        """
        route = moves.live(self.model, row.route)
        variants = self.wanted(route)
        split: dict[str, int] = {}
        applied = False
        if seen is not None:
            applied = self.endpoint.holds(variants, seen) and self.endpoint.weighs(variants, seen)
            versions = {variant.name: variant.served.version for variant in variants}
            split = {versions.get(name, name): share for name, share in seen.shares.items() if share}
        if applied:
            split = {variant.served.version: variant.share for variant in variants if variant.share}
        workers = sum(seen.instances.values()) if seen else 0
        return state_of(self.model, route, split, generation=row.generation, workers=workers, applied=applied)

    def _stamped(self, row: EndpointRecord, intent: Intent, now: datetime) -> Route:
        """A step begins when its traffic was seen, and its lease counts from then."""
        after, record = intent.route, intent.route.rollout
        former = row.route.rollout if row.route else None
        if record is None or not record.active or not record.steps or (former and record.steps == former.steps):
            return after
        last = msgspec.structs.replace(record.steps[-1], started=now)
        record = msgspec.structs.replace(record, step_started=now, steps=(*record.steps[:-1], last))
        return self._leased(msgspec.structs.replace(after, rollout=record))

    def _leased(self, route: Route, patience: float = 0.0) -> Route:
        """Nobody who waits for SageMaker loses the lease meanwhile."""
        record = route.rollout
        if record is None or not record.active:
            return route
        until = max(record.lease_until, self.now() + timedelta(seconds=record.plan.lease_seconds + patience))
        return msgspec.structs.replace(route, rollout=msgspec.structs.replace(record, lease_until=until))

    def _patience(self) -> float:
        return longest(self._deployment) if self.guarded else PATIENCE_SECONDS


def variant_name(version: str) -> str:
    """Name of the variant that serves a version, in mode ``variants``."""
    return "v" + "".join(letter if letter.isalnum() else "-" for letter in version).strip("-")[:60]


def _fell_back(row: EndpointRecord, seen: EndpointDescription | None) -> bool:
    """SageMaker took the order, and is in service with what was there before: it went back without saying so."""
    intent = row.intent
    if intent is None or not intent.begun or seen is None or seen.status != "InService":
        return False
    return seen.config == intent.former and seen.config != intent.config


def _why(row: EndpointRecord, seen: EndpointDescription | None) -> str:
    config, former = (row.intent.config, row.intent.former) if row.intent else ("", "")
    cause = f": {seen.failure}" if seen and seen.failure else "; look at its alarms and at the container's log"
    return f"SageMaker put {former} back in place of {config}{cause}"

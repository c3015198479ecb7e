"""Asks target, ledger and registry which versions of a model there are, and which one is live."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from pipelines.errors import AirworthyError, Refused, Unavailable
from pipelines.ledger.version_state import RECONCILIATION, Observation, State, live_version, read_versions, versions_in
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutState
from pipelines.ports import DeploymentTarget, LedgerEntry, Ports, VersionInfo
from pipelines.rollout.rollback_plan import DRILL_PREFIX
from pipelines.versions.standing import STATUS_TAG, Standing

Answer = TypeVar("Answer")
LEDGER_SECONDS = 2.0
log = logging.getLogger(__name__)


def read_standing(ports: Ports, model: str) -> Standing:
    """The versions of a model everywhere. Needs the ledger; a target or a registry that does not answer is named."""
    lines, unreachable, target, registered = ports.ledger.entries(model), list[str](), None, None
    try:
        target = observe_target(ports, model)
    except Unavailable as error:
        unreachable.append(f"the target does not answer: {error}")
    try:
        registered = ports.registry.versions(model)
    except Unavailable as error:
        unreachable.append(f"the registry does not answer: {error}")
    standing = compare(model, lines, target, registered)
    return standing.model_copy(update={"unreachable": tuple(unreachable)})


def compare(
    model: str, lines: Sequence[LedgerEntry], target: Observation | None, registered: Sequence[VersionInfo] | None
) -> Standing:
    """The standing by the model's ledger lines and by what target and registry answered (None: they did not)."""
    versions = read_versions(lines)
    observed = versions if target is None else read_versions([*lines, _observation_line(target, lines, model)])
    infos = registered or []
    return Standing(
        model=model,
        target=target,
        versions=versions,
        observed_versions=observed,
        status_tags=None if registered is None else {info.version: info.tags.get(STATUS_TAG) for info in infos},
        aliases=None if registered is None else {alias: info.version for info in infos for alias in info.aliases},
    )


def find_live_version(ports: Ports, model: str) -> str | None:
    """The version that the target serves; where it serves nothing or does not answer, the live one by the ledger.

    A target that lost its state serves nothing: its candidates must still be compared with what was released last.
    """
    try:
        served = ports.target(model).state(model).version
    except Unavailable as error:
        log.warning("the live version of %s is read from the ledger, its target does not answer: %s", model, error)
        served = None
    return served or live_version(read_versions(ports.ledger.entries(model)))


def earlier_rollbacks(ports: Ports, model: str, version: str) -> list[str]:
    """A warning for each time that a version was taken back from callers, said before a rollback puts it back.

    A rollback does not wait for the ledger: if it does not answer within ``LEDGER_SECONDS``, the warning says so.
    """
    try:
        known = answer_within(LEDGER_SECONDS, lambda: read_versions(ports.ledger.entries(model))).get(version)
    except AirworthyError as error:
        return [f"whether version {version} was itself taken back is not known: {error}"]
    return [
        f"version {version} was itself taken back on {back.at:%Y-%m-%d %H:%M} UTC by {back.by}: {back.reason}"
        for back in (known.rollbacks if known else ())
    ]


def answer_within(seconds: float, question: Callable[[], Answer]) -> Answer:
    """The answer, or ``Unavailable`` after so many seconds; the question may then still wait in a thread of its own."""
    answers: SimpleQueue[Answer | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(question())
        except Exception as error:  # raised where the answer is awaited
            answers.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty as error:
        raise Unavailable(f"there was no answer within {seconds:g} s") from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def serving_target(ports: Ports, model: str) -> DeploymentTarget:
    """The declared target; the gateway for a model whose file has faults or is gone. For reading, and for a rollback:
    that such a model has no live version there does not mean that it has none elsewhere."""
    try:
        return ports.target(model)
    except Refused:
        return ports.endpoint  # type: ignore[return-value]  # the gateway's adapter is both ports


def observe_target(ports: Ports, model: str) -> Observation:
    """What the target serves now. Raises ``Unavailable`` if it does not answer."""
    target = ports.target(model)
    live = target.state(model)
    return observation(live, target.rollout(model) if live.version else None)


def observation(live: LiveState, rollout: RolloutState | None) -> Observation:
    """The versions by role, with the newest rollout; a drill's rollout is none."""
    if rollout is None:
        return Observation(live=live.version, previous=live.previous)
    served = Observation(live=rollout.champion, previous=rollout.previous)
    if rollout.rollout_id is None or rollout.rollout_id.startswith(DRILL_PREFIX):
        return served
    newest = rollout.model_dump(include={"candidate", "rollout_id", "phase", "reason"})
    return served.model_copy(update=newest)


def versions_to_deploy(ports: Ports, model: str, *, by_hand: bool) -> list[str]:
    """Approved versions that are not live, the newest first; ``by_hand`` also those that failed before any traffic.

    A version that was taken back from callers, or that was live before, has to be named.
    """
    states = (State.APPROVED, State.FAILED_BEFORE_TRAFFIC) if by_hand else (State.APPROVED,)
    return _registered_versions(ports, model, *states)


def versions_to_evaluate(ports: Ports, model: str) -> list[str]:
    """Candidates of which nothing is decided, the newest first."""
    return _registered_versions(ports, model, State.CANDIDATE)


def _registered_versions(ports: Ports, model: str, *states: State) -> list[str]:
    """The versions in one of these states by the ledger, without those that were deleted from the registry."""
    matching = versions_in(read_versions(ports.ledger.entries(model)), *states)
    registered = {info.version for info in ports.registry.versions(model)} if matching else set()
    return [version for version in matching if version in registered]


def _observation_line(target: Observation, lines: Sequence[LedgerEntry], model: str) -> LedgerEntry:
    """The line that would say what the target serves; it is not written, and has no time of its own."""
    number, at = (lines[-1].number + 1, lines[-1].at) if lines else (1, datetime.fromtimestamp(0, UTC))
    parts: dict[str, Any] = {"number": number, "at": at, "model": model, "details": {"target": target.model_dump()}}
    return LedgerEntry(kind=RECONCILIATION, version=None, actor="", previous="", digest="", **parts)

"""The state of each version of a model, from its ledger lines: one table says what every event makes of every state.

Nothing else decides a version's state: the registry's tag ``airworthy.status`` is a copy of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from pipelines.ledger.required_evidence import REQUIRED_GATES, ROLLBACK_GATE
from pipelines.ports import LedgerEntry

ROLLBACK_KINDS = ("rollback", "rollout_end")
"""Ledger kinds of a version that was taken back: with a reason against it, or without one."""
RECONCILIATION = "reconciliation"
"""Ledger kind of what a target was found to serve, and of what was put right in the registry by it."""
OUTCOMES_WITH_TRAFFIC = {"canary_step": ("pass",), "blue_green_trial": ("pass",), "ab_test": ("pass", "fail")}
"""Outcomes of practices after which callers met the candidate."""


class State(StrEnum):
    """Where a version stands; the value is the registry's tag."""

    CANDIDATE = "candidate"
    """Trained; nothing is decided."""
    REJECTED = "rejected"
    """Its training or a gate says no."""
    APPROVED = "approved"
    """Passed every gate and waits for its deployment."""
    STAGED = "staged"
    """Stands beside the live version in a rollout."""
    LIVE = "live"
    SUPERSEDED = "superseded"
    """Was live until another version was released; a rollback restores it."""
    ROLLED_BACK = "rolled_back"
    """Was taken back from callers."""
    FAILED_BEFORE_TRAFFIC = "failed_before_traffic"
    """Was taken back in its rollout, before any caller met it."""
    RETIRED = "retired"
    """Was live; no rollback restores it any more."""


class Event(StrEnum):
    """What a ledger line says of one version."""

    TRAINED = "trained"
    REFUSED = "refused"
    """By its training's own check or by a gate."""
    APPROVED = "approved"
    PREPARED = "prepared"
    """Its rollout begins."""
    WITHDRAWN = "withdrawn"
    """Its rollout ended with nothing against it: nobody approved it in time, or a newer rollout took its place."""
    FAILED_UNSEEN = "failed_unseen"
    """Was taken back with no traffic."""
    TAKEN_BACK = "taken_back"
    """Was taken back with traffic."""
    WENT_LIVE = "went_live"
    """By a release, or because a rollback put it back."""
    REPLACED = "replaced"
    """Another version went live, and this one can be put back."""
    OUT_OF_REACH = "out_of_reach"
    """The target can no longer put it back."""


_ANY = (None, *State)
_NEVER_LIVE = (None, State.CANDIDATE, State.REJECTED, State.APPROVED, State.FAILED_BEFORE_TRAFFIC)


def _row(to: State, *states: State | None) -> dict[State | None, State]:
    return dict.fromkeys(states, to)


TRANSITIONS: Mapping[Event, Mapping[State | None, State]] = {
    Event.TRAINED: _row(State.CANDIDATE, None, State.CANDIDATE, State.REJECTED),
    Event.REFUSED: _row(State.REJECTED, *_NEVER_LIVE),
    Event.APPROVED: _row(State.APPROVED, *(state for state in _ANY if state not in (State.STAGED, State.LIVE))),
    Event.PREPARED: _row(State.STAGED, *(state for state in _ANY if state is not State.LIVE)),
    Event.WITHDRAWN: _row(State.APPROVED, None),
    Event.FAILED_UNSEEN: _row(State.FAILED_BEFORE_TRAFFIC, *_NEVER_LIVE),
    Event.TAKEN_BACK: _row(State.ROLLED_BACK, *_ANY),
    Event.WENT_LIVE: _row(State.LIVE, *_ANY),
    Event.REPLACED: _row(State.SUPERSEDED, *_ANY),
    Event.OUT_OF_REACH: _row(State.RETIRED, State.LIVE, State.SUPERSEDED),
}
"""The state after an event, by the state before it (None: the ledger knew nothing of the version).

A state that a row does not name stays. At the end of a rollout (``ROLLOUT_ENDS``) the state before the rollout counts:
a former champion whose second rollout failed unseen can still be restored, and stays superseded.
"""
ROLLOUT_ENDS = (Event.WITHDRAWN, Event.FAILED_UNSEEN)


class Rollback(BaseModel):
    """One time that a version was taken back from callers; ``to`` is the version that answered after it."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    by: str
    reason: str
    to: str | None


class VersionState(BaseModel):
    """The state of one version, and the ledger line that led to it: its number, time, person or practice, and reason.

    ``before``: the state before the rollout that it is in. ``rollbacks``: every time that it was taken back from
    callers, oldest first, whatever became of it since.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    state: State
    line: int
    since: datetime
    by: str
    reason: str = ""
    before: State | None = None
    rollbacks: tuple[Rollback, ...] = ()

    @property
    def text(self) -> str:
        """``rolled back since 2013-03-01 06:00 UTC by ann: late orders look punctual``"""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.state.replace('_', ' ')} since {self.since:%Y-%m-%d %H:%M} UTC by {self.by}{why}"


class Observation(BaseModel):
    """What a deployment target serves: versions by role, and the newest rollout with its phase and reason."""

    model_config = ConfigDict(frozen=True)

    live: str | None = None
    previous: str | None = None
    candidate: str | None = None
    rollout_id: str | None = None
    phase: str | None = None
    reason: str = ""


Versions = Mapping[str, VersionState]


def read_versions(lines: Iterable[LedgerEntry]) -> dict[str, VersionState]:
    """The state of each version by the lines of one model, oldest first; at most one is live, and one is staged.

    Lines about rollbacks from before 0.2.0 bear the version that stayed, but their details say what the present ones
    say.
    """
    reader = _Reader()
    for line in lines:
        reader.read(line)
    return reader.versions


def live_version(versions: Versions) -> str | None:
    """The live version by the ledger."""
    return next((known.version for known in versions.values() if known.state is State.LIVE), None)


def versions_in(versions: Versions, *states: State) -> list[str]:
    """The versions in one of these states, the newest number first."""
    matching = [known.version for known in versions.values() if known.state in states]
    return sorted(matching, key=lambda version: (len(version), version), reverse=True)


def subjects(lines: Iterable[LedgerEntry]) -> dict[int, str | None]:
    """The version that each line is about, by the line's number; the models of the lines may differ.

    Lines about rollbacks from before 0.2.0 bear the version that stayed; they are about the one that was taken back.
    """
    readers: defaultdict[str, _Reader] = defaultdict(_Reader)
    versions = {}
    for line in lines:
        readers[line.model].read(line)
        versions[line.number] = readers[line.model].subject(line)
    return versions


def lines_about(version: str, lines: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """The lines of one model that are about this version, in their order."""
    about = subjects(lines)
    return [line for line in lines if about[line.number] == version]


class _Change(NamedTuple):
    """What a line says of one version; ``to``: the version that answers in its place."""

    event: Event
    version: str
    reason: str = ""
    to: str | None = None


class _Reader:
    """Reads lines in order; remembers of which version each rollout was, and which rollout had traffic."""

    def __init__(self) -> None:
        self.versions: dict[str, VersionState] = {}
        self._rollouts: dict[str, str] = {}
        self._with_traffic: set[str] = set()

    def read(self, line: LedgerEntry) -> None:
        for change in self._changes(line):
            self._apply(change, line)

    def subject(self, line: LedgerEntry) -> str | None:
        """The version that a line is about, once it was read."""
        if line.kind in ROLLBACK_KINDS and "from" in line.details:
            return _text(line.details["from"])
        if line.kind == "lease_expired":
            return self._expired_version(line)
        if line.kind == "gate" and line.details.get("gate") == ROLLBACK_GATE:
            return _text((line.details.get("facts") or {}).get("takes")) or line.version
        return line.version

    def _apply(self, change: _Change, line: LedgerEntry) -> None:
        known = self.versions.get(change.version)
        before = known.state if known else None
        origin = known.before if known and before is State.STAGED and change.event in ROLLOUT_ENDS else before
        after = TRANSITIONS[change.event].get(origin, origin)
        if after is None or after is before:
            return
        by, rollbacks = str(line.details.get("by") or line.actor), known.rollbacks if known else ()
        if change.event is Event.TAKEN_BACK:
            rollbacks = (*rollbacks, Rollback(at=line.at, by=by, reason=change.reason, to=change.to))
        self.versions[change.version] = VersionState(
            version=change.version,
            state=after,
            line=line.number,
            since=line.at,
            by=by,
            reason=change.reason,
            before=before if after is State.STAGED else None,
            rollbacks=rollbacks,
        )

    def _changes(self, line: LedgerEntry) -> Iterator[_Change]:
        details, version = line.details, line.version
        reasons = "; ".join(map(str, details.get("reasons") or ()))
        if line.kind in ROLLBACK_KINDS:
            yield from self._rollback(line)
        elif line.kind == "lease_expired":
            if details.get("phase") == "ROLLED_BACK" and (expired := self._expired_version(line)) is not None:
                yield self._end(expired, details, line.version)
        elif line.kind == RECONCILIATION:
            if "target" in details:
                yield from self._observation(Observation.model_validate(details["target"]))
        elif version is None:
            return
        elif line.kind == "training":
            yield _Change(Event.REFUSED if details.get("outcome") == "fail" else Event.TRAINED, version, reasons)
        elif line.kind == "gate" and details.get("gate") in REQUIRED_GATES and details.get("outcome") == "fail":
            yield _Change(Event.REFUSED, version, reasons)
        elif line.kind == "approval":
            yield _Change(
                Event.APPROVED, version, f"as {details['semantic_version']}" if "semantic_version" in details else ""
            )
        elif line.kind == "rollout":
            yield from self._stage(version, details)
        elif line.kind == "release":
            yield from self._release(version, _text(details.get("previous")))

    def _stage(self, version: str, details: Mapping[str, Any]) -> Iterator[_Change]:
        practice, outcome, rollout_id = details.get("practice"), details.get("outcome"), str(details.get("rollout_id"))
        facts, share = details.get("facts") or {}, details.get("share")
        if practice == "candidate_preparation" and outcome == "pass":
            yield from self._prepared(version, rollout_id, _text(details.get("champion")))
        elif outcome in OUTCOMES_WITH_TRAFFIC.get(str(practice), ()) or (practice == "rollout_analysis" and share):
            self._with_traffic.add(rollout_id)
        elif practice == "rollout_rollback" and facts.get("phase") == "FAILED" and facts.get("failed_with_traffic"):
            yield _Change(Event.FAILED_UNSEEN, version, str(facts.get("why") or ""))  # the only line before 0.2.0

    def _prepared(self, version: str, rollout_id: str, champion: str | None) -> Iterator[_Change]:
        self._rollouts[rollout_id] = version
        yield from self._withdrawn(version, f"the rollout of version {version} took its place")
        yield _Change(Event.PREPARED, version, f"beside version {champion}")

    def _withdrawn(self, version: str, reason: str) -> Iterator[_Change]:
        """A target has one rollout: that of every other version than this one has ended."""
        for other in versions_in(self.versions, State.STAGED):
            if other != version:
                yield _Change(Event.WITHDRAWN, other, reason)

    def _release(self, version: str, previous: str | None) -> Iterator[_Change]:
        reason = f"version {version} was released"
        yield from self._withdrawn(version, reason)
        for other in versions_in(self.versions, State.LIVE, State.SUPERSEDED):
            if other not in (version, previous):
                yield _Change(Event.OUT_OF_REACH, other, reason)
        if previous is not None and previous != version:
            yield _Change(Event.REPLACED, previous, reason)
        yield _Change(Event.WENT_LIVE, version, f"in place of version {previous}" if previous else "")

    def _rollback(self, line: LedgerEntry) -> Iterator[_Change]:
        details, reason = line.details, str(line.details.get("reason") or "")
        taken, to = _text(details.get("from")), _text(details.get("to"))
        if taken is not None and taken != to:
            withdrawn = _Change(Event.WITHDRAWN, taken, reason)
            yield withdrawn if line.kind == "rollout_end" else self._end(taken, details, to)
        if to is not None and to != (live := live_version(self.versions)):
            if live is not None:
                yield _Change(Event.OUT_OF_REACH, live, f"version {to} was put back")
            yield _Change(Event.WENT_LIVE, to, f"version {taken} was taken back")

    def _end(self, version: str, details: Mapping[str, Any], to: str | None) -> _Change:
        """Callers had met the version, or had not: the line says so itself, or else earlier lines do."""
        traffic, rollout_id = details.get("traffic"), details.get("rollout_id")
        if traffic is None:
            traffic = rollout_id is None or str(rollout_id) in self._with_traffic
        met = traffic or known_as(self.versions.get(version), State.LIVE)
        event = Event.TAKEN_BACK if met else Event.FAILED_UNSEEN
        return _Change(event, version, str(details.get("reason") or ""), to)

    def _expired_version(self, line: LedgerEntry) -> str | None:
        return _text(line.details.get("from")) or self._rollouts.get(str(line.details.get("rollout_id")))

    def _observation(self, target: Observation) -> Iterator[_Change]:
        """The target serves something else than the lines so far say."""
        yield from self._observed_rollout(target)
        live, reason = live_version(self.versions), "by what the target serves"
        if live not in (None, target.live, target.previous):
            was_live = known_as(
                self.versions.get(target.live or ""), State.SUPERSEDED, State.RETIRED, State.ROLLED_BACK
            )
            event = Event.TAKEN_BACK if was_live else Event.OUT_OF_REACH
            yield _Change(event, str(live), target.reason or reason, target.live)
        if target.live is not None:
            yield _Change(Event.WENT_LIVE, target.live, reason)
        for other in versions_in(self.versions, State.LIVE, State.SUPERSEDED):
            if other not in (target.live, target.previous):
                yield _Change(Event.OUT_OF_REACH, other, reason)
        previous = self.versions.get(target.previous or "")
        if target.previous not in (None, target.candidate) and not known_as(previous, State.ROLLED_BACK):
            yield _Change(Event.REPLACED, str(target.previous), reason)

    def _observed_rollout(self, target: Observation) -> Iterator[_Change]:
        ended = self._rollouts.get(str(target.rollout_id)) if target.phase in ("ROLLED_BACK", "FAILED") else None
        if ended is not None and known_as(self.versions.get(ended), State.STAGED):
            yield self._end(ended, {"rollout_id": target.rollout_id, "reason": target.reason}, target.live)
        if target.candidate is not None:
            yield from self._prepared(target.candidate, str(target.rollout_id), target.live)
        else:
            yield from self._withdrawn(target.live or "", "the target has no rollout of it")


def known_as(known: VersionState | None, *states: State) -> bool:
    """Whether a version is known to be in one of these states."""
    return known is not None and known.state in states


def _text(value: object) -> str | None:
    return None if value is None else str(value)

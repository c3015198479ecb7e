"""A drill passes if the champion got all traffic back within ``max_seconds`` and every request was answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from pipelines.messages.rollback_drill import DrillResult
from pipelines.messages.rollout import RolloutState
from pipelines.rollout.rollback_plan import ACTIVE_PHASES, DRILL_PREFIX
from pipelines.verdict import Verdict

RULE = "rollback_drill"
MINIMUM_ANSWERS = 3
"""Minimum answers of the candidate before the rollback, and of the champion after it."""


class LedgerLine(Protocol):
    """The fields of a ledger line that this rule reads."""

    @property
    def kind(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def details(self) -> Mapping[str, Any]: ...


class DrillCandidate(BaseModel):
    """The version that serves as the drill's candidate: it was live before and was not rolled back."""

    model_config = ConfigDict(frozen=True)

    version: str
    bundle: str
    sha256: str


def blocking_reason(state: RolloutState, deploying: int) -> str | None:
    """Why no drill may start now: a deployment is running or a real rollout is active; None if one may start."""
    if deploying:
        return f"{deploying} run(s) of {state.model}__deploy are active"
    running = state.phase in ACTIVE_PHASES or state.phase == "FINALISING"
    if running and not (state.rollout_id or "").startswith(DRILL_PREFIX):
        return f"rollout {state.rollout_id} of {state.model} is {state.phase}"
    return None


def choose_candidate(champion: str | None, previous: str | None, lines: Sequence[LedgerLine]) -> DrillCandidate | None:
    """The newest version that was live and was not rolled back since, according to ``lines`` (oldest first).

    The target's previous version is preferred. None: there is no such version.
    """
    live: dict[str, DrillCandidate] = {}
    for line in lines:
        bundle = line.details.get("uri") or line.details.get("bundle")
        if line.kind == "rollback":
            live.pop(str(line.details.get("from")), None)
        elif line.kind == "release" and line.version and bundle:
            live.pop(line.version, None)  # the newest release counts
            live[line.version] = DrillCandidate(version=line.version, bundle=bundle, sha256=line.details["sha256"])
    candidates = [candidate for version, candidate in live.items() if version != champion]
    preferred = [candidate for candidate in candidates if candidate.version == previous]
    return next(iter([*preferred, *reversed(candidates)]), None)


def judge_drill(result: DrillResult | None, max_seconds: float, faults: Sequence[str] = ()) -> Verdict:
    """FAIL if the rollback took longer than ``max_seconds``, if the champion does not have all traffic, if a request
    was not answered, or for each of ``faults``, which prevented the preparation; UNKNOWN with too few answers.
    ``result`` None: the drill did not reach the rollback."""
    if result is None:
        return Verdict.of(RULE, failures=faults, unknowns=[] if faults else ["the drill was interrupted"])
    failures, unknowns = list(faults), []
    if not result.restored:
        failures.append(f"{result.restored_seconds:.2f} s after the call the champion does not have all traffic")
    if result.failed:
        failures.append(f"{result.failed} request(s) of the drill were not answered")
    if result.seconds > max_seconds:
        failures.append(
            f"the candidate answered until {result.seconds:.2f} s after the call > max_seconds {max_seconds:g}"
        )
    if result.asked and result.before < MINIMUM_ANSWERS:
        unknowns.append(f"the candidate gave {result.before} answers before the call < {MINIMUM_ANSWERS}")
    if result.asked and result.after < MINIMUM_ANSWERS:
        unknowns.append(f"the champion gave {result.after} answers after the call < {MINIMUM_ANSWERS}")
    facts = {"seconds": round(result.seconds, 3), "max_seconds": max_seconds, **result.model_dump(exclude={"schema_"})}
    answers = f"{result.before} answers before the call, {result.after} after it"
    findings = [f"the candidate answered until {result.seconds:.2f} s after the call, limit {max_seconds:g}; {answers}"]
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)

"""A rollback goes to the version that was live before, or nowhere."""

from __future__ import annotations

from pipelines.messages import LiveState
from pipelines.verdict import Verdict

RULE = "release_rollback"


def judge_rollback(state: LiveState, target: str | None) -> Verdict:
    """FAIL with nothing live, with no previous version, or with a ``target`` that is not the previous one.

    ``target`` None means whatever was live before. PASS does not ask whether every worker has applied the present
    table: a rollback is the way out of just that.
    """
    failures: list[str] = []
    if state.version is None:
        failures.append(f"{state.model} has no live version; there is nothing to roll back")
    elif state.previous is None:
        failures.append(f"{state.model} has no version before {state.version}; release one instead")
    if target is not None and target == state.version:
        failures.append(f"version {target} of {state.model} is live already")
    elif target is not None and target != state.previous:
        kept = state.previous or "none"
        failures.append(f"version {target} is not the one before {state.version} (kept: {kept}); release it instead")
    facts: dict[str, object] = {
        "live": state.version,
        "previous": state.previous,
        "target": target,
        "generation": state.generation,
    }
    return Verdict.of(RULE, failures=failures, facts=facts)

"""The item of the preflight checklist on errors: who notices bad answers, until when, and what nobody notices."""

from __future__ import annotations

from pipelines.messages.release import BundleInspection, ReleaseFacts
from pipelines.rules.preflight_items import ItemFacts
from pipelines.spec.deployment import Deployment, SageMaker
from pipelines.spec.model import ModelSpec


def error_handling(inspection: BundleInspection, standing: ReleaseFacts, spec: ModelSpec) -> ItemFacts:
    item, declared = ItemFacts("5 error handling"), spec.deployment
    target = declared.target
    item.failed += inspection.plan_faults
    if target.kind == "sagemaker" and target.mode == "guardrail" and not target.alarms:
        item.failed.append("target.alarms is empty: no alarm could roll the update back")
    if standing.champion is None:
        item.waived.append("first version: there is no version to roll back to, so there is no guard")
        return item
    if not declared.rollback.automatic:
        item.warned.append("rollback.automatic is false: a bad version stays live until a person rolls it back")
    item.notes += [_limits_note(declared), *_watch_notes(declared, standing.champion)]
    return item


def _limits_note(declared: Deployment) -> str:
    """By which limits a candidate is taken back, and by whom."""
    if isinstance(declared.target, SageMaker) and declared.is_delegated_to_target:
        return f"the alarms {', '.join(declared.target.alarms)} judge the update, lease {declared.lease:g} s"
    slow = [f"over {m.over_ms:g} ms" for m in declared.analysis.metrics if m.event == "slow" and m.max_rate]
    guard = "guard" if declared.guards_itself else "judged"
    limits = [f"{guard} at {declared.error_threshold:.2%} bad answers", *slow]
    if declared.guards_itself:
        limits.append(f"deadline {declared.routing.deadline_ms:g} ms")
    return ", ".join([*limits, f"lease {declared.lease:g} s"])


def _watch_notes(declared: Deployment, champion: str) -> list[str]:
    """Who watches a version after its promotion, and what no part of this target does."""
    if declared.is_delegated_to_target:
        return ["the alarms watch the update alone: nobody watches the version once SageMaker has finished it"]
    until = f"until {declared.watch_seconds:g} s after the promotion"
    watched = f"version {champion} comes back by itself at {declared.promoted_error_threshold:.2%} bad answers, {until}"
    notes = [watched] if declared.watch_seconds else ["nobody watches the version after its promotion"]
    if not declared.guards_itself:
        if declared.watch_seconds or declared.shares():
            every = f"the deploy run looks every {declared.analysis.interval:g} s"
            notes.append(f"{every}: nothing watches each second, and nothing at all while Airflow is down")
        notes.append("not monitored on this target: answers past a deadline, and users instead of requests")
    return notes

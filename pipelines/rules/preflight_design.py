"""The item of the preflight checklist that says whether a rollout can be decided in its time."""

from __future__ import annotations

from pipelines.messages.release import BundleInspection, ReleaseFacts, StageDesign
from pipelines.rules.no_requests import no_requests_text
from pipelines.rules.preflight_items import ItemFacts
from pipelines.spec.model import ModelSpec
from pipelines.verdict import significant


def rollout_feasibility(inspection: BundleInspection, standing: ReleaseFacts, spec: ModelSpec) -> ItemFacts:
    """Whether the rollout can be decided in its time at the traffic of the last seven days."""
    item = ItemFacts("design")
    if standing.champion is None:
        item.waived.append("first version: there is no champion to compare with")
        return item
    if not inspection.design:
        item.waived.append(f"{spec.deployment.strategy}: nothing is compared")
        return item
    if inspection.traffic is None:
        silence = no_requests_text(inspection.model, spec.deployment.endpoint_name, "in the last seven days")
        item.warned.append(f"{silence}; the trial's duration is UNKNOWN")
    for step in inspection.design:
        estimate, undecidable = _stage_duration_text(step, inspection.traffic.per_day if inspection.traffic else None)
        reasons = (item.failed if spec.deployment.strategy == "ab" else item.warned) if undecidable else item.notes
        reasons.append(estimate)
    return item


def _stage_duration_text(step: StageDesign, per_day: float | None) -> tuple[str, bool]:
    """``at 5 %: 15100 requests to pass, 0.4 days at 40000 a day``, and whether that exceeds the stage's time."""
    place = f"at {step.share / 100:g} %" if step.share else "in the shadow"
    if step.requests_to_pass is None:
        return f"{place}: no number of requests can show a pass; expected_rate is not below the threshold", True
    detection = f", {step.requests_to_find} to detect the expected harm" if step.requests_to_find else ""
    estimate = f"{place}: {step.requests_to_pass} requests to pass{detection}"
    if per_day is None:
        return estimate, False
    days, most = step.requests_to_pass / per_day, step.seconds / 86400
    chances = [
        f"{what} in {chance:.0%} of cases"
        for what, chance in (("an equal candidate is held", step.held), ("the expected harm is found", step.found))
        if chance is not None
    ]
    over = f" > {significant(most, 2)} days, the stage's maximum" if days > most else ""
    timed = f"{estimate}; {significant(days, 2)} days at {per_day:.0f} a day{over}"
    return ", ".join([timed, *chances]), days > most

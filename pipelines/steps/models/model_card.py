"""What MLflow shows of a version: a model card as its description, and few short tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pipelines.ledger import markdown
from pipelines.ledger.version_state import State
from pipelines.messages.evaluation import EvaluateResult
from pipelines.spec.model import CLASSIFICATION_METRICS, REGRESSION_METRICS, ModelSpec
from pipelines.versions.standing import STATUS_TAG

SHORT_DIGEST = 12
CREATED_BY_TAG, DATA_TAG, GAIN_TAG = "airworthy.created_by", "airworthy.data", "airworthy.gain"
SHOWN_METRICS = (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
MAX_TAGS = 8
"""Tags of a version: these three, its status, its semantic version, and one of each gate that it went through."""


def training_tags(facts: Mapping[str, str]) -> dict[str, str]:
    """The short tags of a version that was just trained; ``facts`` are the tags of its run, digests included."""
    return {
        STATUS_TAG: State.CANDIDATE.value,
        CREATED_BY_TAG: facts["airworthy.requested_by"],
        DATA_TAG: facts["airworthy.snapshot"][:SHORT_DIGEST],
    }


def gain_text(result: EvaluateResult) -> str | None:
    """``+0.0123 roc_auc over 3``; None for a version that was not compared."""
    if result.comparison is None:
        return None
    return f"{result.comparison.gain:+.4f} {result.comparison.metric} over {result.champion}"


def training_card(
    spec: ModelSpec,
    facts: Mapping[str, str],
    metrics: Mapping[str, float],
    *,
    rows: int,
    as_of: datetime,
    trained_at: datetime,
) -> str:
    """The card of a version that was just trained: whose question it answers, on which data, how well so far."""
    snapshot = facts["airworthy.snapshot"][:SHORT_DIGEST]
    cells = {
        "asked by": facts["airworthy.requested_by"],
        "hypothesis": facts.get("airworthy.hypothesis", ""),
        "trained": f"{trained_at:%Y-%m-%d %H:%M} UTC, {facts.get('airworthy.trigger', '')}",
        "data": f"{rows:,} rows known by {as_of:%Y-%m-%d %H:%M} UTC, snapshot {snapshot}",
        "seed": facts.get("airworthy.seed", ""),
        "code": facts.get("airworthy.git_revision", "")[:SHORT_DIGEST],
        "owner": spec.owner,
    }
    parts = [markdown.text(spec.description), markdown.rows(cells)]
    declared = dict.fromkeys([*spec.evaluation.minimum_metrics, spec.evaluation.comparison.metric])
    validated = {name: metrics[f"validation_{name}"] for name in declared if f"validation_{name}" in metrics}
    if validated:
        table = markdown.rows({name: f"{value:.4f}" for name, value in validated.items()})
        parts.append(f"**On its validation part**\n\n{table}")
    return "\n\n".join(parts)


def evaluated_card(card: str, result: EvaluateResult, pictures: Sequence[tuple[str, str]]) -> str:
    """The card with what the evaluation measured, in place of an earlier evaluation. ``pictures``: names, addresses."""
    cells = {name: f"{value:.4f}" for name in SHOWN_METRICS if (value := result.metrics.get(name)) is not None}
    cells["test rows"] = f"{result.rows:,}"
    if gain := gain_text(result):
        cells["gain"] = f"{gain}, {_interval_text(result)}"
    if result.optimism is not None:
        cells["elsewhere"] = (
            f"{result.optimism.metric} of version {result.optimism.of}: shown {result.optimism.shown:.4f}, "
            f"{result.optimism.later:.4f} on other days"
        )
    links = " · ".join(markdown.link(name, address) for name, address in pictures)
    before = card.partition("\n\n**Tested**")[0]
    return "\n\n".join(part for part in (before, f"**Tested**\n\n{markdown.rows(cells)}", links) if part)


def _interval_text(result: EvaluateResult) -> str:
    compared = result.comparison
    if compared is None or compared.low is None or compared.high is None:
        return "too few days for an interval"
    return f"interval {compared.low:+.4f} to {compared.high:+.4f}"

"""Splits the declared chance of a false rollback among the parts of a rollout that can take a candidate back."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.spec.deployment import Deployment


@dataclass(frozen=True)
class ErrorBudget:
    """Chance of a false rollback by each part, over the whole rollout; together ``analysis.alpha``.

    ``analysis``: the comparison of the stages in which both versions answer callers. ``shadow``: that of the mirrored
    requests. ``guard``: the absolute limits that the target holds by itself, and the watch after the promotion. 0: the
    declared rollout does not have this part.
    """

    analysis: float
    shadow: float
    guard: float


def error_budget(deployment: Deployment) -> ErrorBudget:
    """Half for the analysis of the stages, if there is one; guard and shadow share the rest equally.

    An A/B test has its own ``confidence_level`` and none of this budget.
    """
    alpha = deployment.analysis.alpha
    is_analysed = deployment.strategy in ("canary", "blue_green") and not deployment.is_delegated_to_target
    analysis = alpha / 2 if is_analysed else 0.0
    shadow = (alpha - analysis) / 2 if deployment.shadow_plan is not None else 0.0
    return ErrorBudget(analysis=analysis, shadow=shadow, guard=alpha - analysis - shadow)

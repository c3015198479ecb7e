"""Data of a rollout's analysis: its limits, the counts of each stage, and the evidence that they give."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import Refused
from pipelines.messages.message import Message
from pipelines.messages.rollout import ArmCounts
from pipelines.spec.fault_text import fault_texts

Share = Annotated[float, Field(gt=0, lt=1)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricLimits(_StrictModel):
    """The limits of one counted event.

    ``max_rate`` bounds the share of the candidate's units with the event: PASS if shown below, FAIL if shown above and
    worse than the champion, who may break the limit as well. ``max_ratio`` and ``fail_ratio`` bound its rate over the
    champion's: a guardrail passes once shown below ``max_ratio`` (the margin of non-inferiority), and any metric fails
    once shown worse than ``fail_ratio``. ``better: higher`` inverts the ratio of good events, so that limits above 1
    always mean worse. A success metric passes once shown better than 1. ``required``: whether an event that the target
    does not count is a fault; otherwise the metric decides nothing there.
    """

    name: str
    event: str
    role: Literal["guardrail", "success", "deterioration"] = "guardrail"
    better: Literal["lower", "higher"] = "lower"
    max_rate: Share | None = None
    max_ratio: Annotated[float, Field(gt=1, lt=1000)] | None = None
    fail_ratio: Annotated[float, Field(ge=1, lt=1000)] | None = 1.0
    required: bool = True

    @model_validator(mode="after")
    def check_decidable(self) -> Self:
        if self.role == "guardrail" and self.max_rate is None and self.max_ratio is None:
            raise ValueError(f"guardrail {self.name} cannot pass: declare max_rate or max_ratio")
        if self.max_rate is not None and (self.better == "higher" or self.role != "guardrail"):
            raise ValueError(f"{self.name}: max_rate bounds bad events of a guardrail")
        if self.fail_ratio is not None and self.max_ratio is not None and self.fail_ratio > self.max_ratio:
            raise ValueError(f"{self.name}: fail_ratio {self.fail_ratio} is beyond max_ratio {self.max_ratio}")
        return self

    @property
    def compares_with_champion(self) -> bool:
        return self.max_ratio is not None or self.role != "guardrail"

    @property
    def pass_ratio(self) -> float:
        """The ratio to the champion below which the metric passes."""
        return 1.0 if self.role == "success" else self.max_ratio or 1.0

    @property
    def can_be_worse(self) -> bool:
        """Whether it fails once shown worse than ``fail_ratio`` times the champion."""
        return self.compares_with_champion and self.fail_ratio is not None

    @property
    def failure_test_count(self) -> int:
        return (self.max_rate is not None) + self.can_be_worse


class AnalysisPlan(_StrictModel):
    """``minimum_units`` per arm before anything passes; ``alpha`` is shared by all ways to fail, not to pass.

    ``stages``: number of stages with a share, with each of which a fault may begin.
    """

    metrics: tuple[MetricLimits, ...]
    unit: Literal["key", "request"] = "request"
    sticky: bool = False
    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    srm_alpha: Annotated[float, Field(gt=0, le=0.05)] = 0.001
    minimum_units: Annotated[int, Field(ge=1)] = 100
    concentration: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    stages: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def check_can_fail(self) -> Self:
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ValueError(f"metrics: a name occurs twice among {', '.join(names)}")
        if not self.failure_test_count:
            raise ValueError("metrics: no metric can fail; declare a max_rate or a fail_ratio")
        if self.sticky and self.unit == "request":
            raise ValueError("unit: requests of a sticky key are not independent; count keys (unit: key)")
        return self

    @property
    def failure_test_count(self) -> int:
        """Number of tests that share ``alpha``."""
        return sum(metric.failure_test_count for metric in self.metrics)


class ArmEvents(_StrictModel):
    """Distinct ``units`` that one version served in one stage, and for each event the number of units that had it.

    A key counts in ``events`` in the stage of its first such event of the whole rollout, and in no later stage. In
    ``stage_events`` it counts in every stage in which it had one (empty: as in ``events``). ``new_units``: units that
    the rollout had not met before; None: not known, as all are if they are requests.
    """

    units: Annotated[int, Field(ge=0)]
    events: dict[str, Annotated[int, Field(ge=0)]] = {}
    stage_events: dict[str, Annotated[int, Field(ge=0)]] = {}
    new_units: Annotated[int, Field(ge=0)] | None = None

    def units_with(self, event: str) -> int:
        """Units with this event in this stage."""
        return (self.stage_events or self.events)[event]


class StageCounts(_StrictModel):
    """One stage: the share of all units assigned to the candidate, and the counts of each arm."""

    weight: Share
    candidate: ArmEvents
    champion: ArmEvents


class MetricEvidence(_StrictModel):
    """The evidence of all stages for one metric; counts are units, evidence is a natural log.

    None: the plan does not need it, or the rate ratio has no upper bound yet.
    """

    metric: str
    candidate: int = 0
    candidate_units: int = 0
    champion: int = 0
    champion_units: int = 0
    newest_candidate: tuple[int, int] | None = None
    newest_champion: tuple[int, int] | None = None
    """Units of the newest stage with the event, and all its units: ``max_rate`` limits the candidate's share."""
    above_log_e: float | None = None
    """Evidence that the candidate's share in the newest stage is above ``max_rate``."""
    below_log_e: float | None = None
    """Evidence that it is below: of requests in all stages, and of keys, which return, in the newest one."""
    below_counts: tuple[int, int] | None = None
    """The candidate's units with the event, and all its units, of this evidence."""
    beyond_champion_log_e: float | None = None
    """Evidence that the candidate is worse than the champion, who may break ``max_rate`` too; None: not compared."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    worse_log_e: float | None = None
    """Evidence that the candidate is worse than ``fail_ratio`` times the champion."""
    pass_log_e: float | None = None
    """Evidence that the candidate is better than ``pass_ratio`` times the champion."""
    faults: tuple[str, ...] = ()
    """Missing or impossible counts; with one of them nothing else is measured."""


class RolloutEvidence(Message):
    """Evidence over all stages in which both versions answered callers, oldest stage first."""

    split_log_e: float = 0.0
    """Evidence that the units were not split as declared."""
    metrics: tuple[MetricEvidence, ...]
    stages: list[StageCounts] = []
    newest: int | None = None
    """Number of the last of these stages; None if there are no stages."""

    @property
    def faults(self) -> list[str]:
        """Every missing or impossible count, with its metric."""
        return [f"{metric.metric}: {fault}" for metric in self.metrics for fault in metric.faults]


def make_analysis_plan(declared: Mapping[str, object], *, measured: Collection[str]) -> AnalysisPlan:
    """The plan of a declaration, checked against the events that the target counts.

    ``Refused`` with every reason for an event that is not counted, a metric that cannot pass, a plan that cannot fail,
    and for counting requests where keys are sticky.
    """
    try:
        plan = AnalysisPlan.model_validate(declared)
    except ValidationError as error:
        raise Refused("the analysis of this rollout is refused", fault_texts(error, "(whole analysis)")) from error
    unknown = [metric for metric in plan.metrics if metric.event not in measured]
    if unknown:
        known = ", ".join(sorted(measured))
        reasons = [f"{metric.name}: event {metric.event!r} is not counted; counted are {known}" for metric in unknown]
        raise Refused("the analysis of this rollout is refused", reasons)
    return plan


class WeighRequest(Message):
    """Every stage of one rollout up to now, and the plan of its analysis."""

    plan: AnalysisPlan
    arms: list[ArmCounts]

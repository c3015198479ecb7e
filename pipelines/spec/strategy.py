"""Rollout strategies: the share and duration of each stage, and the limits that make a candidate fail."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pipelines.spec.declared import DeclarationBlock

FULL_SHARE = 10_000
"""All traffic in basis points."""
Strategy = Literal["all_at_once", "shadow", "canary", "blue_green", "ab"]
ERRORS_TO_CHAMPION, LATENCY_TO_CHAMPION = "errors_to_champion", "latency_to_champion"
"""Names of the metrics that compare every candidate with its champion."""
Percent = Annotated[float, Field(gt=0, le=50)]
"""At most 50, because a larger stage is no safer than the promotion itself."""
Seconds = Annotated[float, Field(gt=0, le=31 * 86400)]
Share = Annotated[float, Field(gt=0, lt=1)]


def basis_points(percent: float) -> int:
    """``5`` to 500."""
    return round(percent * 100)


class Shadow(DeclarationBlock):
    """The candidate gets a copy of the traffic; its answers are compared with the champion's and never returned."""

    duration: Seconds = 86400
    """Minimum seconds of mirroring."""
    sample_rate: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests that are mirrored."""
    max_disagreement: Share = 0.05
    """Share of mirrored answers that may differ from the champion's by more than ``tolerance``."""
    tolerance: float = Field(default=0.05, gt=0)
    """Difference of two predictions (in the prediction's own unit) from which they disagree."""
    min_coverage: float = Field(default=0.95, gt=0, le=1)
    """Minimum share of the sampled requests that must be compared for a pass."""
    minimum_compared: int = Field(default=500, ge=1)
    max_duration: Seconds | None = None
    """Seconds after which an undecided candidate is refused; none: twice ``duration``."""

    @model_validator(mode="after")
    def check_decidable(self) -> Self:
        if self.max_duration is not None and self.max_duration < self.duration:
            raise ValueError("max_duration is shorter than duration; the comparison could not be decided")
        return self


class Canary(DeclarationBlock):
    """The candidate gets a small share that grows in stages while no limit is broken."""

    canary_percentage: Percent = 5
    increment_percentage: Percent = 10
    increment_interval: Seconds = 1800
    """Minimum seconds of each stage."""
    max_percentage: Percent = 50
    """The largest share before the promotion."""
    steps: list[Percent] | None = Field(default=None, min_length=1)
    """Percentages in place of the three fields above."""
    rollback_on_error: bool = True
    error_threshold: Share = 0.01
    """Share of bad answers (errors, invalid answers, answers past the deadline) from which the guard rolls back."""
    max_step_duration: Seconds = 7200
    """Seconds after which an undecided stage is held until a person decides."""

    @model_validator(mode="after")
    def check_steps_grow(self) -> Self:
        faults = []
        if not self.rollback_on_error:
            faults.append("rollback_on_error: with false the rollout could not fail; use true")
        if self.steps and any(low >= high for low, high in pairwise(self.steps)):
            faults.append(f"steps {self.steps} do not grow; a canary's share must not shrink")
        if self.steps is None and self.canary_percentage > self.max_percentage:
            faults.append(f"canary_percentage {self.canary_percentage:g} > max_percentage {self.max_percentage:g}")
        if self.max_step_duration < self.increment_interval:
            faults.append("max_step_duration is shorter than increment_interval; no step could be decided")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def shares(self) -> list[int]:
        """Basis points of each stage, ascending."""
        if self.steps is not None:
            return [basis_points(step) for step in self.steps]
        first, more, most = map(basis_points, (self.canary_percentage, self.increment_percentage, self.max_percentage))
        return [*range(first, most, more), most]


class BlueGreen(DeclarationBlock):
    """The candidate is tested on a small share, then gets all traffic at once; the old version stays ready."""

    test_traffic_percentage: Percent = 5
    validation_duration: Seconds = 3600
    error_threshold: Share = 0.01
    max_duration: Seconds | None = None
    """Seconds after which an undecided trial is held; none: twice ``validation_duration``."""

    @model_validator(mode="after")
    def check_decidable(self) -> Self:
        if self.max_duration is not None and self.max_duration < self.validation_duration:
            raise ValueError("max_duration is shorter than validation_duration; the trial could not be decided")
        return self


class AbTestSpec(DeclarationBlock):
    """Users are split for the whole experiment; intervals of every metric decide which version is better."""

    experiment_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    """Salts the assignment, so that experiments are independent; none: the rollout's id."""
    control_model: str | None = None
    """The version that must be live for the experiment to start; none: any version."""
    variant_model: str | None = None
    """The version that may be tested; none: the approved candidate."""
    traffic_split: float = Field(default=0.5, gt=0, le=0.5)
    """Share of the users that get the variant."""
    metrics: list[str] = Field(default=["error_rate"], min_length=1)
    """``error_rate``, ``latency`` (milliseconds), ``prediction`` (its mean), ``accuracy``, ``absolute_error``,
    ``squared_error``, ``brier``, or a numeric column of the outcomes table
    (``-column`` if lower is better). The first metric decides; the others may not get worse."""
    minimum_sample_size: int = Field(default=1000, ge=2)
    """Minimum users per arm before a decision."""
    confidence_level: float = Field(default=0.95, gt=0.5, lt=1)
    margin: float = Field(default=0.0, ge=0)
    """Allowed loss of the other metrics (in the metric's unit, relative for ``latency``)."""
    srm_alpha: float = Field(default=0.001, gt=0, le=0.05)
    error_threshold: Share = 0.01
    max_duration: Seconds = 14 * 86400


class MetricSpec(DeclarationBlock):
    """Limits of one counted event. ``slow`` needs ``over_ms``, which the guard then enforces."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    event: Literal["bad", "slow"] = "bad"
    over_ms: float | None = Field(default=None, gt=0)
    role: Literal["guardrail", "deterioration"] = "guardrail"
    max_rate: Share | None = None
    max_ratio: Annotated[float, Field(gt=1, lt=1000)] | None = None
    fail_ratio: Annotated[float, Field(ge=1, lt=1000)] | None = None

    @model_validator(mode="after")
    def check_complete(self) -> Self:
        faults = []
        if (self.event == "slow") != (self.over_ms is not None):
            faults.append("over_ms is needed for event: slow and for nothing else")
        if self.max_rate is None and self.max_ratio is None and self.fail_ratio is None:
            faults.append("declare max_rate, max_ratio or fail_ratio; without a limit it decides nothing")
        elif self.role == "deterioration" and self.fail_ratio is None:
            faults.append("role deterioration can only fail; declare its fail_ratio")
        if self.role == "deterioration" and self.max_ratio is not None:
            faults.append("role deterioration fails by fail_ratio alone; remove max_ratio, or use role: guardrail")
        if self.role == "deterioration" and self.event == "bad" and self.max_rate is not None:
            faults.append("role deterioration fails by fail_ratio alone; remove max_rate, or use role: guardrail")
        if faults:
            raise ValueError(f"{self.name}: {'; '.join(faults)}")
        return self


class Analysis(DeclarationBlock):
    """How the evidence of a rollout is analysed."""

    alpha: float = Field(default=0.05, gt=0, le=0.2)
    """Chance that a candidate is falsely rolled back over the whole rollout: half of it is the analysis's, half the
    guard's, which shares its half with a shadow."""
    srm_alpha: float = Field(default=0.001, gt=0, le=0.05)
    unit: Literal["request", "key"] | None = None
    """Unit of all counts and limits; none: keys if the routing is sticky or has segments, else requests."""
    minimum_units: int = Field(default=100, ge=1)
    """Minimum units per arm and stage before the stage passes."""
    error_ratio: Annotated[float, Field(ge=1, lt=1000)] | None = 1.0
    """A candidate shown to have more than so many times the champion's share of bad answers is rolled back; none, or a
    metric on bad answers with a ratio of its own: not compared by this."""
    slow_ratio: Annotated[float, Field(ge=1, lt=1000)] | None = 2.0
    """The same of slow answers: those above the champion's 99th percentile of the minute before and above a hundredth
    of ``routing.deadline_ms``. The embedded gateway counts them; none: not compared."""
    metrics: list[MetricSpec] = []
    """Metrics in addition to the strategy's ``error_threshold``, which is always enforced."""
    expected_ratio: float = Field(default=3.0, gt=1, lt=1000)
    """Ratio of a harmful candidate's rate to the champion's, for which the sample size is computed."""
    expected_rate: Share | None = None
    """Champion's share of bad answers for the sample size; none: a tenth of ``error_threshold``."""
    interval: Seconds = 30
    """Seconds between two observations; any number of observations is valid."""
    consecutive_errors: int = Field(default=4, ge=1)
    """Observations in a row without a measurement after which the traffic is held."""

    @model_validator(mode="after")
    def check_distinct_names(self) -> Self:
        names = ["error_rate", ERRORS_TO_CHAMPION, LATENCY_TO_CHAMPION, *(metric.name for metric in self.metrics)]
        if duplicates := sorted({name for name in names if names.count(name) > 1}):
            own = "error_rate is error_threshold's, the others compare with the champion"
            raise ValueError(f"two metrics are called {', '.join(duplicates)} ({own})")
        return self

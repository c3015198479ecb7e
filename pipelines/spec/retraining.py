"""What asks for a retraining besides the schedule of ``training``, how often, and what it may cost."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.relative_limit import PATTERN, limit_faults

LEAST_RECENT_DAYS = 40
"""Two histories are compared by forward chaining, which needs 20 days to answer and as many before them."""
RECENT_DAYS = {"minimum": LEAST_RECENT_DAYS, "maximum": 3660}
"""Bounds of the days that are tried alone."""
TriggerKind = Literal["performance", "data_drift", "prediction_drift", "new_rows", "schedule", "event"]
LIMITS: dict[str, tuple[str, ...]] = {
    "performance": ("worse_than", "drop"),
    "data_drift": ("at", "severity"),
    "prediction_drift": ("at",),
    "new_rows": ("more",),
    "schedule": ("every_days",),
    "event": (),
}
"""Triggers with the limits that each may have."""
STREAKS = ("performance", "data_drift", "prediction_drift")


class CatchUp(DeclarationBlock):
    """After a loss was detected the newest rows are few: further retrainings follow as more of them come in."""

    every_days: int = Field(default=14, ge=1)
    for_days: int = Field(default=56, ge=0)
    """Data days after the detection. 0: no further retraining."""
    recent_days: int = 56
    """Beside all rows each of these trainings tries those of so many newest days alone (40 at least). 0: all rows."""

    @field_validator("recent_days")
    @classmethod
    def check_days_to_compare(cls, days: int) -> int:
        if days and not LEAST_RECENT_DAYS <= days <= RECENT_DAYS["maximum"]:
            raise ValueError(
                f"recent_days is {days}; declare {LEAST_RECENT_DAYS} to {RECENT_DAYS['maximum']}, or 0 for all rows"
            )
        return days


class RetrainTrigger(DeclarationBlock):
    """One thing that asks for a retraining; a limit that is not declared is that of the check itself.

    ``performance``: the check shows a loss; or with ``worse_than`` the metric of the window is worse than a number or
    a multiple of the certificate's (``0.9x baseline``); or with ``drop`` the loss against the certificate's days is as
    large. ``data_drift``, ``prediction_drift``: the window differs from training; ``at`` is the share of features, or
    the PSI of the predictions; ``severity``: a column is to watch, broke, or matters for the answers. ``new_rows``:
    so large a share of the rows of the newest training is new. ``schedule``: so many data days since the newest
    training; without ``every_days`` as many as ``price`` and the measured loss of older models say, else 28.
    ``event``: another system asks.
    """

    when: TriggerKind
    worse_than: float | Annotated[str, Field(pattern=PATTERN)] | None = None
    drop: float | None = Field(default=None, gt=0)
    at: float | None = Field(default=None, gt=0)
    severity: Literal["watch", "fault", "act"] | None = None
    more: float | None = Field(default=None, gt=0)
    every_days: int | None = Field(default=None, ge=1)
    consecutive: int | None = Field(default=None, ge=1)
    """Detections in a row; none: ``consecutive_detections``."""

    @model_validator(mode="after")
    def check_limits_fit(self) -> Self:
        faults = limit_faults(self.when, self.limits, LIMITS[self.when], "write two triggers")
        if self.when == "new_rows" and self.more is None:
            faults.append("new_rows needs the share of new rows, such as more: 0.5")
        if self.consecutive is not None and self.when not in STREAKS:
            faults.append(f"consecutive is for {', '.join(STREAKS)}; {self.when} is no detection")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def limits(self) -> list[str]:
        """Names of the limits that are declared."""
        names = dict.fromkeys(name for limits in LIMITS.values() for name in limits)
        return [name for name in names if getattr(self, name) is not None]

    @property
    def text(self) -> str:
        """The trigger as a reason names it."""
        return " ".join([self.when, *(f"{name.replace('_', ' ')} {getattr(self, name)}" for name in self.limits)])


class RetrainBudget(DeclarationBlock):
    """How many trainings may be asked for, whatever is found."""

    requests: int = Field(default=8, ge=1)
    days: int = Field(default=56, ge=1)
    """Data days in which there are at most ``requests``."""
    requests_a_day: int = Field(default=4, ge=1)
    """By the clock, within 24 hours: a backfill of a year asks for no year of retrainings."""


class RetrainPrice(DeclarationBlock):
    """What a training costs and what the compared metric is worth, in one currency."""

    training: float = Field(gt=0)
    """Cost of one training with all that follows it."""
    metric_unit_a_day: float = Field(gt=0)
    """What one whole unit of the metric is worth on one day: 200 where 0.01 of AUC saves 2 a day."""


class Retraining(DeclarationBlock):
    """What asks for a retraining besides the schedule of ``training``, which is the base."""

    consecutive_detections: int = Field(default=1, ge=1)
    """Detections in a row: windows that do not overlap, or for ``performance`` without a declared limit measured
    days."""
    cooldown_days: int = Field(default=7, ge=0)
    """One retraining per incident: no second request for this many data days after one."""
    catch_up: CatchUp = CatchUp()
    give_up_after: int = Field(default=3, ge=1)
    """After so many trainings a loss that is still there is a person's: no other is asked for but the catch-up's."""
    budget: RetrainBudget = RetrainBudget()
    price: RetrainPrice | None = None
    """None: no request is weighed by what it gains."""
    triggers: list[TriggerKind | RetrainTrigger] = ["performance", "event"]
    """Drift asks for nothing unless it is declared: retrainings that it asked for gained no more than any others."""

    @property
    def all_triggers(self) -> list[RetrainTrigger]:
        """The triggers, each as a block."""
        return [RetrainTrigger(when=each) if isinstance(each, str) else each for each in self.triggers]

    def has_trigger(self, kind: TriggerKind) -> bool:
        return any(trigger.when == kind for trigger in self.all_triggers)

    def faults(self, compared_metric: str, watched_metric: str) -> list[str]:
        """What is wrong with the block in a model that is compared and watched by these metrics."""
        faults = []
        if "new_rows" in self.triggers:
            faults.append("monitoring.retraining.triggers: new_rows needs a share; write {when: new_rows, more: 0.5}")
        if self.price is not None and compared_metric != watched_metric:
            faults.append(
                f"monitoring.retraining.price weighs one metric, but evaluation.comparison.metric is {compared_metric} "
                f"and monitoring.performance.metric {watched_metric}; declare one of them twice or no price"
            )
        return faults

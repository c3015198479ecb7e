"""What callers of a model may expect: how many requests succeed and how fast; alert rules of Prometheus follow."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.relative_limit import baseline_factor


class ServingObjective(DeclarationBlock):
    """``availability`` is the promise over 30 days; the others are limits of the last five minutes."""

    availability: float = Field(default=0.995, gt=0.5, lt=1)
    """Share of the requests that get an answer which is no error of the server."""
    max_error_rate: float = Field(default=0.05, gt=0, le=1)
    """Share of errors of the server (5xx) from which an alert is critical at once."""
    max_latency_p95: float | str = "2x baseline"
    """Milliseconds; or a multiple of the 95th percentile of the hours before, as in ``2x baseline``."""
    minimum_requests: int = Field(default=100, ge=1)
    """Requests of the shorter window below which no alert is judged: one error in ten is no rate."""

    @model_validator(mode="after")
    def check_limits(self) -> Self:
        limit, factor, faults = self.max_latency_p95, self.latency_factor, []
        if isinstance(limit, str) and (factor is None or factor <= 1):
            faults.append(f"max_latency_p95 is {limit!r}; write milliseconds, or a multiple above 1 as in 2x baseline")
        elif not isinstance(limit, str) and limit <= 0:
            faults.append(f"max_latency_p95 is {limit:g} milliseconds; it must be above 0")
        if self.error_budget > self.max_error_rate:
            faults.append(
                f"availability {self.availability:g} allows {self.error_budget:.3g} errors, more than max_error_rate "
                f"{self.max_error_rate:g}; raise one of them"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def error_budget(self) -> float:
        """Share of the requests that may fail in 30 days."""
        return 1 - self.availability

    @property
    def latency_factor(self) -> float | None:
        """The multiple of the baseline; None where the limit is absolute."""
        return baseline_factor(self.max_latency_p95) if isinstance(self.max_latency_p95, str) else None

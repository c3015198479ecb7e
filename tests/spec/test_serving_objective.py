"""The objective of serving takes milliseconds or a multiple of the baseline, and refuses what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.serving_objective import ServingObjective


@pytest.mark.parametrize(("limit", "factor"), [("2x baseline", 2.0), ("1.5x baseline", 1.5), (250, None), (0.5, None)])
def test_latency_is_limited_in_milliseconds_or_by_the_baseline(limit: float | str, factor: float | None) -> None:
    """Both forms are kept as they are written."""
    objective = ServingObjective(max_latency_p95=limit)
    assert (objective.max_latency_p95, objective.latency_factor) == (limit, factor)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"max_latency_p95": "2 x baseline"}, "write milliseconds, or a multiple above 1"),
        ({"max_latency_p95": "1x baseline"}, "a multiple above 1"),
        ({"max_latency_p95": "250ms"}, "write milliseconds"),
        ({"max_latency_p95": 0}, "must be above 0"),
        ({"availability": 0.9}, "allows 0.1 errors, more than max_error_rate 0.05"),
        ({"availability": 1}, "less than 1"),
        ({"max_error_rate": 0}, "greater than 0"),
        ({"minimum_requests": 0}, "greater than or equal to 1"),
        ({"p95": 3}, "Extra inputs"),
    ],
)
def test_a_limit_that_says_nothing_is_refused(fields: dict[str, Any], fault: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValidationError, match=fault):
        ServingObjective(**fields)


def test_every_fault_is_told_at_once() -> None:
    """Two contradictions are two sentences."""
    with pytest.raises(ValidationError) as refused:
        ServingObjective(availability=0.8, max_latency_p95="slow")
    assert "max_latency_p95 is 'slow'" in str(refused.value)
    assert "availability 0.8" in str(refused.value)

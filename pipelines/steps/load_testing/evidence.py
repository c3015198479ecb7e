"""The evidence on each assertion of a load test: a limit on a share of its requests, valid at any time of the test."""

from __future__ import annotations

from pipelines.messages.release import ShareEvidence
from pipelines.spec.sizing import LoadTestSpec
from pipelines.statistics.e_values import log_e_value
from pipelines.steps.load_testing.open_loop import RequestOutcome
from pipelines.steps.rollouts.design import requests_to_show


def latency_limits(declared: LoadTestSpec) -> list[tuple[float, float]]:
    """Share of requests that may be slower, and the limit in milliseconds."""
    asserted = declared.assertions
    limits = [(0.05, asserted.p95_latency), (0.01, asserted.p99_latency)]
    return [(share, limit.max) for share, limit in limits if limit is not None]


def assertion_evidence(declared: LoadTestSpec, outcome: RequestOutcome) -> list[ShareEvidence]:
    """The evidence on each assertion, from the requests of the plateau."""
    total = outcome.plateau.total
    names = {0.05: "p95_latency", 0.01: "p99_latency"}
    assertions: list[tuple[str, float, float | None, int]] = [
        (names[share], share, over, outcome.slow.get(over, 0)) for share, over in latency_limits(declared)
    ]
    if declared.assertions.error_rate is not None:
        assertions.append(("error_rate", declared.assertions.error_rate.max, None, outcome.plateau_errors))
    return [
        ShareEvidence.model_validate(
            {
                "name": name,
                "limit": share,
                "over_ms": over,
                "bad": bad,
                "total": total,
                "above": log_e_value(bad, total, share, alternative="greater"),
                "below": log_e_value(bad, total, share, alternative="less"),
            }
        )
        for name, share, over, bad in assertions
    ]


def requests_needed(declared: LoadTestSpec, alpha: float) -> dict[str, int]:
    """Plateau requests that each assertion needs to be shown if no request is bad."""
    latency_shares = [(name, share) for name, share in (("p95_latency", 0.05), ("p99_latency", 0.01))]
    shares = {name: share for name, share in latency_shares if getattr(declared.assertions, name) is not None}
    if declared.assertions.error_rate is not None:
        shares["error_rate"] = declared.assertions.error_rate.max
    return {name: requests_to_show(0.0, share, alpha) or 0 for name, share in shares.items()}

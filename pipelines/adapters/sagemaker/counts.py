"""Reads from CloudWatch what each variant did in each stage, in whole minutes, so that no minute counts twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from pipelines.adapters.sagemaker.clients import aws_errors
from pipelines.messages.rollout import ArmCounts
from pipelines.rollout.transitions import FULL_SHARE, RolloutRecord

FINE_PERIOD_SECONDS = 60
COARSE_PERIOD_SECONDS = 300
"""Period once CloudWatch has dropped the single minutes."""
FINE_PERIOD_RETENTION_DAYS = 14


def read_arm_counts(
    cloudwatch: Any, endpoint: str, record: RolloutRecord, name: Callable[[str], str], until: datetime, now: datetime
) -> list[ArmCounts]:
    """Both arms of every stage, and the promoted version after its promotion.

    A minute that belongs to two stages is left out; an answer 5xx is ``error``. Stages that began 14 days ago or more
    are read in periods of five minutes.

    ``slow`` counts answers above each latency limit of the guard, by SageMaker's ``ModelLatency``.
    """
    if record.candidate is None:
        return []
    both = [("champion", record.champion.version), ("candidate", record.candidate.version)]
    promoted = [("champion", record.candidate.version)]
    ends = [step.started for step in record.steps[1:]] + [until]
    counts = []
    for step, end in zip(record.steps, ends, strict=True):
        period = (
            FINE_PERIOD_SECONDS
            if now - step.started < timedelta(days=FINE_PERIOD_RETENTION_DAYS)
            else COARSE_PERIOD_SECONDS
        )
        start, stop = _ceiling(step.started, period), _floor(end, period)
        for role, version in promoted if step.share == FULL_SHARE else both:
            limits = [limit.over_ms for limit in record.plan.guard.latency]
            sums = (
                _metric_sums(cloudwatch, endpoint, name(version), start, stop, period, limits) if start < stop else {}
            )
            requests, failed = sums.get("requests", 0), sums.get("errors", 0)
            counts.append(
                ArmCounts(
                    version=version,
                    step=step.number,
                    share=step.share,
                    step_started=step.started,
                    role=role,
                    requests=requests,
                    failed=failed,
                    bad={"error": failed},
                    slow={f"{limit:g}": sums.get(f"slow{index}", 0) for index, limit in enumerate(limits)},
                )
            )
    return counts


def _metric_sums(
    cloudwatch: Any, endpoint: str, variant: str, start: datetime, stop: datetime, period: int, limits: list[float]
) -> dict[str, int]:
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    metrics = {"requests": ("Invocations", "Sum"), "errors": ("Invocation5XXErrors", "Sum")}
    # Trimmed count: the number of values above the bound, in microseconds.
    metrics |= {f"slow{index}": ("ModelLatency", f"TC({limit * 1000:.0f}:)") for index, limit in enumerate(limits)}
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions},
                "Period": period,
                "Stat": stat,
            },
        }
        for name, (metric, stat) in metrics.items()
    ]
    sums, token = dict.fromkeys(metrics, 0.0), None
    while True:
        more: dict[str, str] = {"NextToken": token} if token else {}
        with aws_errors(f"metrics of {endpoint}/{variant}"):
            page = cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=start, EndTime=stop, **more)
        for result in page["MetricDataResults"]:
            sums[result["Id"]] += sum(result["Values"])
        token = page.get("NextToken")
        if not token:
            return {name: round(value) for name, value in sums.items()}


def _floor(moment: datetime, period: int) -> datetime:
    return moment - timedelta(seconds=moment.timestamp() % period)


def _ceiling(moment: datetime, period: int) -> datetime:
    below = _floor(moment, period)
    return below if below == moment else below + timedelta(seconds=period)

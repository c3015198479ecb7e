"""What a model is worth and costs, as metrics; pure. A number that nobody measured has no sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from pipelines.observability.model_worth import ModelWorth

PLAIN = {
    "releases_a_month": "Releases in 30 days, over the last 90.",
    "incidents_a_month": "Warnings and critical incidents in 30 days, over the last 90.",
    "time_to_recover_seconds": "Median time until an incident was well again, over the last 90 days.",
    "training_seconds": "Duration of the trainings of the last 90 days, together.",
}
"""Number to what it is; the metric is ``airworthy_<number>``."""
AMOUNTS = {
    "answers_value_a_day": "What right answers bring less what wrong ones cost, a day of the newest labelled window.",
    "training_cost": "Cost of the trainings of the last 90 days.",
    "serving_cost": "Cost of serving in the last 90 days.",
}
"""The same of amounts, which have the label ``currency``."""


def worth_metrics(worth: Mapping[str, ModelWorth]) -> Iterator[Metric]:
    """``worth``: by model."""
    for name, help_text in (PLAIN | AMOUNTS).items():
        labels = ["model", *(["currency"] if name in AMOUNTS else [])]
        family = GaugeMetricFamily(f"airworthy_{name}", help_text, labels=labels)
        for model, numbers in sorted(worth.items()):
            if (value := getattr(numbers, name)) is not None:
                family.add_metric([model, *([numbers.currency or ""] if name in AMOUNTS else [])], value)
        yield family
    answers = GaugeMetricFamily(
        "airworthy_labelled_answers", "Answers of the newest labelled window.", labels=["model", "outcome"]
    )
    for model, numbers in sorted(worth.items()):
        for outcome, count in (("right", numbers.right), ("wrong", numbers.wrong)):
            if count is not None:
                answers.add_metric([model, outcome], count)
    yield answers

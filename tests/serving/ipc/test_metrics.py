"""Counters of the gateway's processes add up, and their text is what Prometheus reads."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.serving.ipc.metrics import VALUE_BUCKETS, WorkerCounters, merge, render

ARM = {"model": "m", "version": "1"}


def samples(text: str, name: str) -> dict[str, float]:
    """Value by ``le``, or by the empty text, of the samples with this name."""
    return {
        sample.labels.get("le", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize(
    ("output", "predictions", "buckets"),
    [
        ("probability", [0.05, 0.1, 0.11, 1.0], {"0.1": 2, "0.2": 3, "0.9": 3, "1": 4, "+Inf": 4}),
        ("value", [-7.0, 0.0, 12.0, 9000.0], {"-10": 0, "-5": 1, "0": 2, "10": 2, "20": 3, "5000": 3, "+Inf": 4}),
    ],
)
def test_predictions_are_counted_in_the_buckets_of_their_kind(
    output: str, predictions: list[float], buckets: dict[str, int]
) -> None:
    """A bucket counts the predictions up to its bound, the bound included."""
    counters = WorkerCounters()
    counters.count_predictions("m", "1", output, predictions[:2])
    counters.count_predictions("m", "1", output, predictions[2:])
    text = render(merge([counters.snapshot(0.0)]), {})
    counts = samples(text, "airworthy_prediction_bucket")
    assert {bound: counts[bound] for bound in buckets} == buckets
    assert samples(text, "airworthy_prediction_count") == {"": 4}
    assert samples(text, "airworthy_prediction_sum")[""] == pytest.approx(sum(predictions))


def test_a_prediction_that_is_no_number_does_not_spoil_the_sum() -> None:
    """The sum of the finite answers stays; the histogram counts the others above its last bound."""
    counters = WorkerCounters()
    counters.count_predictions("m", "1", "value", [1.0])
    counters.count_predictions("m", "1", "value", [math.inf])
    text = render(merge([counters.snapshot(0.0)]), {})
    assert samples(text, "airworthy_prediction_sum") == {"": 1.0}
    assert samples(text, "airworthy_prediction_bucket")["5000"] == 1
    assert list(VALUE_BUCKETS) == sorted(VALUE_BUCKETS)


def test_the_slowest_request_is_forgotten_after_a_minute() -> None:
    """It is that of the present and the last half minute, over all workers."""
    first, second = WorkerCounters(), WorkerCounters()
    first.count_request("m", "1", 200, 1, 0.5)
    second.count_request("m", "1", 200, 1, 2.0)
    slowest = [
        samples(render(merge([first.snapshot(now), second.snapshot(now)]), {}), "airworthy_request_seconds_max")[""]
        for now in (1.0, 29.0, 31.0, 59.0, 62.0)
    ]
    assert slowest == [2.0, 2.0, 2.0, 2.0, 0.0]


def test_workers_sums_are_those_of_one_worker_that_answered_everything() -> None:
    """Merging is associative, and an ended worker's last counters stay."""
    alone, one, other = WorkerCounters(), WorkerCounters(), WorkerCounters()
    for number in range(40):
        for counters in (alone, one if number % 3 else other):
            counters.count_request("m", str(number % 2), 200 if number % 5 else 500, number % 7, number / 64)
            counters.count_predictions("m", str(number % 2), "probability", [number / 40] * (number % 7))
            counters.count_odd_rows("m", has_ids=bool(number % 4), unseen={"c": 1} if number % 6 == 0 else None)
            counters.count_cache_hit("m", "1")
            counters.count_shed("connections")
    whole = render(merge([alone.snapshot(1.0)]), {})
    assert render(merge([merge([one.snapshot(1.0)]), other.snapshot(1.0)]), {}) == whole

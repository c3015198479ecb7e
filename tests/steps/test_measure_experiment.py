from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from pipelines import store_paths
from pipelines.messages.comparison import ExperimentMeasure, ExperimentRequest, MetricInterval
from pipelines.messages.rollout import ArmCounts
from pipelines.spec.deployment import Deployment, RoutingSpec
from pipelines.spec.strategy import AbTestSpec
from pipelines.statistics.e_values import StageEvents, log_e_sample_ratio
from pipelines.statistics.mean_difference import Moments, mean_difference
from pipelines.statistics.rate_difference import rate_difference
from pipelines.steps import measure_experiment
from tests.steps.monitored import DAY, MODEL, Flushed, MemoryStore, flights, ports
from tests.steps.side_by_side import NOW, answered, declared

USERS = [f"{number:016x}" for number in range(6)]


def arm(role: Any, step: int = 1, **counts: Any) -> ArmCounts:
    version = "2" if role == "variant" else "1"
    return ArmCounts(version=version, role=role, step=step, share=5000, **counts)


def measure(
    *metrics: str, store: MemoryStore | None = None, arms: Any = (), found: Any = None, **parts: Any
) -> ExperimentMeasure:
    request = ExperimentRequest(
        model=MODEL,
        control="1",
        variant="2",
        rollout_id="r1",
        started=NOW - timedelta(hours=2),
        now=NOW,
        arms=list(arms),
        found=found,
    )
    ab = AbTestSpec(metrics=list(metrics), minimum_sample_size=10)
    catalog = declared(Deployment(strategy="ab", ab=ab, routing=RoutingSpec(key="header:x-user-id")))
    return measure_experiment.run(request, ports(catalog, store=store or MemoryStore(), **parts))


def only(found: ExperimentMeasure) -> MetricInterval:
    [metric] = found.metrics
    return metric


def test_the_errors_are_of_users_and_compared_step_by_step() -> None:
    found = measure(
        "error_rate", arms=[arm("control", units=1000, bad_units=30), arm("variant", units=1010, bad_units=5)]
    )
    errors = only(found)
    assert (errors.control, errors.variant, errors.better) == (0.03, 5 / 1010, "lower")
    assert errors.high is not None
    assert errors.high < 0
    assert (found.control_units, found.variant_units) == (1000, 1010)
    assert found.split_log_e == pytest.approx(log_e_sample_ratio([StageEvents(0.5, 1010, 1000)]))


def test_users_who_come_back_in_a_later_step_are_counted_once_and_mirrored_steps_not_at_all() -> None:
    found = measure(
        "error_rate",
        arms=[
            ArmCounts(version="1", role="control", step=1, share=0, units=5000),
            arm("control", step=2, units=400, bad_units=4),
            arm("variant", step=2, units=380, bad_units=3),
            arm("control", step=3, units=500, bad_units=1),
            arm("variant", step=3, units=490),
        ],
    )
    assert (found.control_units, found.variant_units) == (500, 490)
    assert only(found).control == pytest.approx(5 / 500)


def test_an_answer_counts_by_its_user_once_by_the_mean_of_what_they_got() -> None:
    """Of control, user 0 asked three times and user 1 once; of the variant, user 2 twice and user 3 once."""
    store = MemoryStore()
    answered(store, [0.1, 0.3, 0.2, 0.8], version="1", role="control", units=[USERS[n] for n in (0, 0, 0, 1)])
    answered(store, [0.4, 0.6, 0.7], version="2", role="variant", units=[USERS[n] for n in (2, 2, 3)])
    found = only(measure("prediction", store=store))
    assert (found.control_units, found.variant_units) == (2, 2)
    assert (found.control, found.variant) == (pytest.approx(0.5), pytest.approx(0.6))
    arms = [Moments(2, 0.6, 0.02), Moments(2, 0.5, 0.18)]
    expected = mean_difference(*arms, alpha=0.05, tightest_at=20)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_an_answer_that_control_gave_in_the_place_of_the_variant_is_the_variants() -> None:
    store = MemoryStore()
    answered(store, [0.2, 0.2], version="1", role="control", units=USERS[:2])
    answered(store, [0.9, 0.9], version="1", role="variant", units=USERS[2:4], part="instead", fallback=True)
    assert only(measure("prediction", store=store)).variant == pytest.approx(0.9)


def test_rows_of_nobodys_lottery_of_other_rollouts_and_of_the_mirror_are_left_out() -> None:
    store = MemoryStore()
    answered(store, [0.2, 0.2], version="1", role="control", units=USERS[:2])
    answered(store, [0.4, 0.4], version="2", role="variant", units=USERS[2:4])
    answered(store, [0.9], version="2", role="variant", part="staff")
    answered(store, [0.9], version="2", role="variant", units=["e" * 16], rollout_id="r0", part="before")
    answered(store, [0.9], version="2", role="shadow", units=["f" * 16], part="mirror")
    found = only(measure("prediction", store=store))
    assert (found.variant, found.variant_units, found.control_units) == (pytest.approx(0.4), 2, 2)


def test_what_was_answered_before_the_split_belongs_to_no_arm() -> None:
    """While a shadow went on before, control answered everybody, and each request was drawn for itself."""
    store, before = MemoryStore(), {"part": "before", "logged_at": [NOW - timedelta(hours=3)] * 2}
    answered(store, [0.9, 0.9], version="1", role="control", units=USERS[4:], **before)
    answered(store, [0.2, 0.2], version="1", role="control", units=USERS[:2])
    assert only(measure("prediction", store=store)).control_units == 2


def test_callers_who_seem_to_send_no_key_are_told_of() -> None:
    store, names = MemoryStore(), [f"{number:016x}" for number in range(200)]
    answered(store, np.full(200, 0.5), version="1", role="control", units=names)
    assert "do callers send what routing.key names" in measure("prediction", store=store).notes[0]


def test_a_user_of_both_arms_is_left_out_and_told() -> None:
    store = MemoryStore()
    answered(store, [0.2, 0.2, 0.2], version="1", role="control", units=USERS[:3])
    answered(store, [0.4, 0.4, 0.4], version="2", role="variant", units=USERS[2:5])
    found = measure("prediction", store=store)
    assert (only(found).control_units, only(found).variant_units) == (2, 2)
    assert "1 users were answered as both arms" in found.notes[0]


def test_without_names_of_users_their_buckets_stand_for_them_and_the_notes_say_so() -> None:
    store = MemoryStore()
    answered(store, [0.2, 0.4], version="1", role="control", leave_out=["unit"])
    found = measure("prediction", store=store)
    assert only(found).control_units == 1
    assert "only buckets" in found.notes[0]


def test_latency_is_relative_to_controls_and_leaves_out_what_came_from_the_cache() -> None:
    store, rng = MemoryStore(), np.random.default_rng(3)
    names = [f"{number:016x}" for number in range(400)]
    answered(
        store, np.full(200, 0.5), version="1", role="control", units=names[:200], latency_ms=rng.normal(10, 1, 200)
    )
    answered(
        store, np.full(200, 0.5), version="2", role="variant", units=names[200:], latency_ms=rng.normal(12, 1, 200)
    )
    answered(
        store,
        np.full(200, 0.5),
        version="1",
        role="control",
        units=names[:200],
        part="cached",
        latency_ms=0.01,
        cache_hit=True,
    )
    found = only(measure("latency", store=store))
    assert found.control == pytest.approx(10, rel=0.05)
    assert found.estimate == pytest.approx(0.2, abs=0.05)
    assert found.low is not None
    assert found.low > 0.1


def labelled_log() -> MemoryStore:
    """Flights 0 to 3 by control, 4 to 7 by the variant; 0, 3 and 6 are late. Flight 7 has no label yet."""
    store, about = MemoryStore(), flights(DAY, 8)
    answered(
        store,
        [0.9, 0.8, 0.2, 0.1],
        version="1",
        role="control",
        units=[USERS[n] for n in (0, 0, 1, 1)],
        flights=about[:4],
    )
    answered(
        store,
        [0.1, 0.1, 0.6, 0.9],
        version="2",
        role="variant",
        units=[USERS[n] for n in (2, 3, 3, 3)],
        flights=about[4:],
    )
    store.replace_partition(store_paths.validated("flights", "flights"), DAY, about[:7])
    return store


@pytest.mark.parametrize(
    ("metric", "control", "variant", "better"),
    [
        ("accuracy", 0.5, 1.0, "higher"),
        ("absolute_error", (0.45 + 0.55) / 2, (0.1 + 0.25) / 2, "lower"),
        ("brier", ((0.01 + 0.64) / 2 + (0.04 + 0.81) / 2) / 2, (0.01 + (0.01 + 0.16) / 2) / 2, "lower"),
        ("-arr_delay", (12.5 + 12.5) / 2, (-5 + 12.5) / 2, "lower"),
        ("arr_delay", (12.5 + 12.5) / 2, (-5 + 12.5) / 2, "higher"),
    ],
)
def test_labels_that_are_known_are_joined_and_averaged_by_user(
    metric: str, control: float, variant: float, better: str
) -> None:
    found = only(measure(metric, store=labelled_log()))
    assert (found.control, found.variant, found.better) == (pytest.approx(control), pytest.approx(variant), better)


def test_an_entity_that_a_user_asks_about_again_counts_once() -> None:
    store = labelled_log()
    again = {"part": "again", "logged_at": [NOW]}
    answered(store, [0.1], version="1", role="control", units=[USERS[0]], flights=flights(DAY, 1), **again)
    assert only(measure("accuracy", store=store)).control == pytest.approx(0.5)


def test_an_outcome_that_is_no_number_and_a_log_that_cannot_be_read_are_looks_that_could_not_measure() -> None:
    store = labelled_log()
    assert "carrier is String, not a number" in measure("carrier", store=store).errors[0]
    store.put(f"{store_paths.predictions(MODEL)}date={NOW:%Y-%m-%d}/part-broken.parquet", b"no parquet")
    found = measure("accuracy", "error_rate", store=store)
    assert "part-broken.parquet" in found.errors[0]
    assert found.metrics[0].low is None


def test_all_metrics_share_the_error_of_being_called_worse() -> None:
    store = labelled_log()
    alone, both = measure("brier", store=store), measure("brier", "accuracy", store=store)
    assert (only(alone).low, only(alone).low_shared) == (both.metrics[0].low, only(alone).low)
    assert both.metrics[0].low_shared < both.metrics[0].low  # type: ignore[operator]


def test_where_no_user_differs_from_another_nothing_is_known() -> None:
    found = only(measure("accuracy", store=labelled_log()))
    assert (found.estimate, found.low, found.high) == (0.5, None, None)


def of_users(control: Any, variant: Any) -> MetricInterval:
    """One answer of each user, whose prediction is the value."""
    store, names = MemoryStore(), [f"{number:016x}" for number in range(len(control) + len(variant))]
    answered(store, control, version="1", role="control", units=names[: len(control)])
    answered(store, variant, version="2", role="variant", units=names[len(control) :])
    return only(measure("prediction", store=store))


def test_a_rare_event_is_judged_by_exact_bounds_of_its_share() -> None:
    """Nobody of 200 in the variant and 4 of 1800 in control: the normal approximation would call that a difference."""
    control, variant = np.zeros(1800), np.zeros(200)
    control[:4] = 1
    found = of_users(control, variant)
    exact = rate_difference([StageEvents(0.1, 0, 4)], (0, 200), (4, 1800), alpha=0.05)
    assert (found.low, found.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert (found.minimum_units, found.estimate) == (0, pytest.approx(-4 / 1800))
    usual = np.resize([0.0, 1.0, 1.0], 400)
    arms = [Moments(len(usual), float(usual.mean()), float(usual.var(ddof=1)))] * 2
    expected = mean_difference(*arms, tightest_at=20)
    assert of_users(usual, usual).high == pytest.approx(expected.high), "shares that are not rare have narrower bounds"


def test_skewed_values_say_how_many_users_they_need() -> None:
    skewed = np.random.default_rng(1).lognormal(0, 1, 300) * np.resize([1.0, 0.0, 0.0], 300)
    found = of_users(skewed, skewed[::-1])
    assert found.minimum_units > 300
    assert of_users(np.linspace(0, 1, 300), np.linspace(0, 1, 300)).minimum_units <= 1


def test_without_any_answer_nothing_is_known() -> None:
    found = measure("accuracy", "error_rate", "latency")
    assert [metric.low for metric in found.metrics] == [None, -1.0, None]
    assert (found.control_units, found.split_log_e) == (0, 0.0)


def test_a_door_that_cannot_flush_its_log_is_noted() -> None:
    found = measure("accuracy", store=labelled_log(), endpoint=Flushed(answers=False))
    assert "did not flush its log" in found.notes[0]


def test_counts_that_cannot_be_are_named() -> None:
    found = measure("error_rate", arms=[arm("variant", units=5, bad_units=6)])
    assert found.errors == ["stage 1 counts 6 users with a bad answer among 5 of the variant"]


def test_the_intervals_are_drawn_where_a_report_is_wanted() -> None:
    store = labelled_log()
    arms = [arm("control", units=1000, bad_units=30), arm("variant", units=1010, bad_units=5)]
    found = measure("accuracy", "error_rate", "latency", store=store, arms=arms)
    drawn = measure("accuracy", "error_rate", "latency", store=store, found=found)
    assert drawn == found.model_copy(update={"picture": f"memory:rollouts/{MODEL}/r1/experiment.png"})
    assert store.get(store_paths.rollout(MODEL, "r1", "experiment.png")).startswith(b"\x89PNG")

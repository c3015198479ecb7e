"""Performance is measured on answers joined with labels, late ones included, each entity once, each day its own."""

from __future__ import annotations

import json
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Refused
from pipelines.messages.monitoring import DayValue, MonitorRequest
from pipelines.steps import measure_performance
from pipelines.steps.monitoring.labelled_answers import read_labelled_answers
from pipelines.tables.profile import TrainingProfile
from tests.steps.monitored import DAY, MODEL, Flushed, MemoryStore, Versions, catalog, flights, log, ports

REQUEST = MonitorRequest(model=MODEL, day=DAY)
YESTERDAY = DAY - timedelta(days=1)


def scores(count: int) -> list[float]:
    """Scores that know something: late flights (every third) tend to score higher."""
    return [0.2 + 0.5 * (number % 3 == 0) * (number % 2) + 0.001 * (number % 97) for number in range(count)]


def lived(*days: date, count: int = 60, labelled: bool = True, store: Any = None) -> Any:
    """A store with flights, answered by version 3, of these days."""
    store = store or MemoryStore()
    for on in days:
        about = flights(on, count)
        log(store, about, scores(count), part=str(on))
        if labelled:
            store.replace_partition(store_paths.validated("flights", "flights"), on, about)
    return store


def certify(store: Any, *values: float, version: str = "3", metric: str = "roc_auc") -> None:
    """Give the version a certificate whose test days have these values."""
    first = DAY - timedelta(days=100)
    days = [
        DayValue(first=first + timedelta(n), day=first + timedelta(n), rows=60, metrics={metric: value})
        for n, value in enumerate(values)
    ]
    profile = TrainingProfile(version=2, rows=0, out_of_sample=True, test_days=days)
    store.put(store_paths.training_profile(MODEL, version), profile.model_dump_json().encode())


def test_the_days_of_the_version_are_compared_with_those_of_its_certificate() -> None:
    store = lived(*[DAY - timedelta(days=n) for n in range(12)])
    certify(store, *[0.93, 0.97] * 10)
    found = measure_performance.run(REQUEST, ports(catalog(), store=store)).comparison
    assert found is not None
    daily = roc_auc_score([number % 3 == 0 for number in range(60)], scores(60))
    assert found.difference == pytest.approx(daily - 0.95)
    assert (found.certificate_days, found.window_days, found.watched_days) == (20, 7, 12)
    assert found.half_width < found.limit_half_width
    assert found.cusum is not None
    assert found.cusum_limit == 14.0
    # Twelve days, each worse by far than the certificate's noise: 2.5 less 0.3 a day.
    assert found.cusum == pytest.approx(12 * 2.2)
    assert found.cusum_since == DAY - timedelta(days=11)


def test_losses_of_many_releases_add_up_beside_the_anchors_certificate() -> None:
    store = lived(*[DAY - timedelta(days=n) for n in range(12)])
    certify(store, *[0.93, 0.97] * 10)
    certify(store, *[0.98, 1.0] * 10, version="1")
    daily = roc_auc_score([number % 3 == 0 for number in range(60)], scores(60))
    request = MonitorRequest(model=MODEL, day=DAY, version="3", anchors=["0", "1"])
    anchor = measure_performance.run(request, ports(catalog(), store=store)).anchor
    assert anchor is not None
    assert (anchor.version, anchor.certificate_days) == ("1", 20), "the certificate of version 0 has no days"
    assert anchor.difference == pytest.approx(daily - 0.99)
    former = MonitorRequest(model=MODEL, day=DAY, version="4", anchors=["1"])
    found = measure_performance.run(former, ports(catalog(), store=store))
    assert (found.version, found.anchor) == ("3", None), "the anchor is the live version's, which did not answer yet"


def test_a_metric_whose_lower_values_are_better_loses_by_rising() -> None:
    store = lived(*[DAY - timedelta(days=n) for n in range(8)])
    certify(store, *[0.10, 0.12] * 10, metric="log_loss")
    lower = catalog(performance={"metric": "log_loss"})
    found = measure_performance.run(REQUEST, ports(lower, store=store)).comparison
    assert found is not None
    assert (found.difference < 0, found.cusum) == (True, pytest.approx(8 * 2.2))


def test_days_of_another_version_are_not_among_the_compared_ones() -> None:
    store = lived(DAY, YESTERDAY)
    certify(store, *[0.7, 0.8] * 10)
    for n in range(2, 30):
        on = DAY - timedelta(days=n)
        log(store, flights(on, 60), scores(60), version="2", part=str(on))
        store.replace_partition(store_paths.validated("flights", "flights"), on, flights(on, 60))
    live = REQUEST.model_copy(update={"version": "3"})
    found = measure_performance.run(live, ports(catalog(), store=store)).comparison
    assert found is not None
    assert found.watched_days == 2


def test_a_certificate_without_days_is_compared_by_its_test_metric_with_a_note_and_no_sum() -> None:
    result = measure_performance.run(REQUEST, ports(catalog(), store=lived(DAY, YESTERDAY)))
    assert result.comparison is not None
    assert (result.comparison.certificate_days, result.comparison.cusum) == (0, None)
    assert result.comparison.difference == pytest.approx((result.window_metrics["roc_auc"] or 0) - 0.70)
    assert any("has no day values" in note for note in result.notes)


@pytest.mark.parametrize(
    ("days", "certificate", "counted"),
    [((DAY,), [0.7, 0.8] * 10, (1, 20)), ((DAY, YESTERDAY), [0.7], (2, 1))],
    ids=["a first day alone", "a certificate of one day"],
)
def test_where_a_side_has_a_single_day_there_is_no_comparison_and_both_are_counted(
    days: tuple[date, ...], certificate: list[float], counted: tuple[int, int]
) -> None:
    store = lived(*days)
    certify(store, *certificate)
    result = measure_performance.run(REQUEST, ports(catalog(), store=store))
    assert (result.comparison, result.uncompared) == (None, counted)


def test_the_window_is_measured_with_the_metric_of_the_field() -> None:
    result = measure_performance.run(REQUEST, ports(catalog(), store=lived(DAY, YESTERDAY)))
    truth = [number % 3 == 0 for number in range(60)] * 2
    assert result.window_metrics["roc_auc"] == pytest.approx(roc_auc_score(truth, scores(60) * 2))
    assert (result.window_predictions, result.window_labelled) == (120, 120)
    assert result.version == "3"
    assert result.reference == {"roc_auc": 0.70, "log_loss": 0.45}


def test_right_answers_are_those_of_the_labels_class_by_the_declared_threshold() -> None:
    result = measure_performance.run(REQUEST, ports(catalog(), store=lived(DAY)))
    threshold = catalog().model(MODEL).evaluation.threshold
    truth = [number % 3 == 0 for number in range(60)]
    assert result.right == sum((score >= threshold) == late for score, late in zip(scores(60), truth, strict=True))


def test_every_day_of_the_horizon_is_joined_again_and_written() -> None:
    store = lived(DAY, YESTERDAY)
    result = measure_performance.run(REQUEST, ports(catalog(), store=store))
    assert [measured.day for measured in result.days] == [DAY - timedelta(days=n) for n in (3, 2, 1, 0)]
    assert [measured.labelled for measured in result.days] == [0, 0, 60, 60]
    written = store.tables[store_paths.performance(MODEL)][DAY].row(0, named=True)
    assert (written["predictions"], written["labelled"], json.loads(written["versions"])) == (60, 60, {"3": 60})
    assert written["roc_auc"] == pytest.approx(result.days[-1].metrics["roc_auc"])


def test_a_delta_store_keeps_one_row_per_day_however_often_it_is_measured(tmp_path: Path) -> None:
    store = lived(DAY, YESTERDAY, store=DeltaStore(str(tmp_path)))
    asked = ports(catalog(), store=store)
    results = [measure_performance.run(REQUEST, asked) for _ in range(2)]
    table = store.read(store_paths.performance(MODEL))
    assert results[0] == results[1]
    assert table["day"].to_list() == [DAY - timedelta(days=n) for n in (3, 2, 1, 0)]
    assert table["labelled"].to_list() == [0, 0, 60, 60]
    assert table["roc_auc"].is_null().to_list() == [True, True, False, False]


def test_labels_that_come_late_count_and_replace_the_days_row() -> None:
    store = lived(YESTERDAY, labelled=False)
    asked = ports(catalog(), store=store)
    before = measure_performance.run(MonitorRequest(model=MODEL, day=YESTERDAY), asked)
    assert (before.window_predictions, before.window_labelled) == (60, 0)
    assert before.window_metrics["roc_auc"] is None
    assert any("no labels" in note for note in before.notes)
    store.replace_partition(store_paths.validated("flights", "flights"), YESTERDAY, flights(YESTERDAY, 60))
    after = measure_performance.run(REQUEST, asked)
    assert after.days[-2].labelled == 60
    assert store.tables[store_paths.performance(MODEL)][YESTERDAY]["labelled"].to_list() == [60]


def test_measuring_twice_changes_nothing() -> None:
    asked = ports(catalog(), store=lived(DAY))
    first = measure_performance.run(REQUEST, asked)
    table = dict(asked.store.tables[store_paths.performance(MODEL)])
    assert measure_performance.run(REQUEST, asked) == first
    assert all(asked.store.tables[store_paths.performance(MODEL)][on].equals(table[on]) for on in table)


def test_an_entity_answered_twice_counts_once_with_the_first_answer() -> None:
    store = lived(DAY)
    once = measure_performance.run(REQUEST, ports(catalog(), store=store))
    log(store, flights(DAY, 60), [0.5] * 60, part="again", logged_after=timedelta(minutes=9))
    assert measure_performance.run(REQUEST, ports(catalog(), store=store)) == once


def test_the_window_is_of_the_version_that_answered_most_and_the_days_name_all() -> None:
    store = lived(DAY, YESTERDAY)
    log(store, flights(DAY, 40), [0.5] * 40, version="4")
    result = measure_performance.run(REQUEST, ports(catalog(), store=store))
    assert result.version == "3"
    assert result.window_predictions == 120
    assert result.days[-1].versions == {"3": 60, "4": 40}


def test_the_window_is_of_the_live_version_once_it_has_answered() -> None:
    store = lived(DAY, YESTERDAY)
    log(store, flights(DAY, 40), [0.5] * 40, version="4")
    asked = ports(catalog(), store=store, registry=Versions(**{"4": {"test_roc_auc": 0.8}}))
    live = measure_performance.run(REQUEST.model_copy(update={"version": "4"}), asked)
    assert (live.version, live.window_predictions, live.reference) == ("4", 40, {"roc_auc": 0.8})
    assert (live.window[0], live.window[-1], len(live.window)) == (DAY - timedelta(days=6), DAY, 7)
    later = measure_performance.run(REQUEST.model_copy(update={"version": "5"}), asked)
    assert (later.version, later.window_predictions) == ("3", 120)


def test_a_flight_late_in_the_local_evening_belongs_to_its_local_day() -> None:
    """23:00 in New York is already the next day in UTC, and so is the file its answer lies in."""
    store = MemoryStore()
    about = flights(DAY, 30, local_hour=23)
    log(store, about, scores(30))
    assert list(store.files) == [f"predictions/{MODEL}/date={DAY + timedelta(days=1)}/part-3-a.parquet"]
    unlabelled = measure_performance.run(REQUEST, ports(catalog(), store=store))
    assert (unlabelled.days[-1].predictions, unlabelled.days[-1].labelled) == (30, 0)
    store.replace_partition(store_paths.validated("flights", "flights"), DAY, about)
    assert measure_performance.run(REQUEST, ports(catalog(), store=store)).days[-1].labelled == 30


def test_cancelled_flights_have_no_label_and_are_not_counted_as_right_or_wrong() -> None:
    store = lived(DAY)
    cancelled = flights(DAY, 60).with_columns(arr_delay=None)
    store.replace_partition(store_paths.validated("flights", "flights"), DAY, cancelled.cast({"arr_delay": float}))
    result = measure_performance.run(REQUEST, ports(catalog(), store=store))
    assert (result.window_predictions, result.window_labelled) == (60, 0)
    assert all(value is None for value in result.window_metrics.values())


def test_an_endpoint_that_is_down_is_noted_and_the_log_is_measured() -> None:
    result = measure_performance.run(REQUEST, ports(catalog(), store=lived(DAY), endpoint=Flushed(answers=False)))
    assert result.window_labelled == 60
    assert any("does not answer" in note for note in result.notes)


def test_the_log_is_flushed_before_it_is_read() -> None:
    endpoint = Flushed()
    measure_performance.run(REQUEST, ports(catalog(), endpoint=endpoint))
    assert endpoint.flushed == [MODEL]


def test_nothing_logged_is_measured_as_nothing() -> None:
    result = measure_performance.run(REQUEST, ports(catalog()))
    assert (result.version, result.reference, result.window_predictions) == (None, {}, 0)
    assert result.window_metrics["roc_auc"] is None


def test_an_answering_version_that_the_registry_lacks_has_no_reference_and_a_note() -> None:
    registry: Any = Versions()
    registry.metrics = {}
    result = measure_performance.run(REQUEST, ports(catalog(), store=lived(DAY), registry=registry))
    assert result.reference == {}
    assert any("version 3" in note for note in result.notes)


def test_a_broken_log_file_is_refused_by_name() -> None:
    store = lived(DAY)
    store.put(f"predictions/{MODEL}/date={DAY}/part-broken.parquet", b"PAR1 and then nothing")
    with pytest.raises(Refused, match=r"part-broken\.parquet"):
        measure_performance.run(REQUEST, ports(catalog(), store=store))


def test_an_id_that_occurs_on_several_days_is_joined_with_the_label_of_the_day_of_its_answer() -> None:
    declared = catalog()
    timeless = {"key": ["carrier", "flight"]}
    declared.views[MODEL] = declared.views[MODEL].model_copy(update=timeless)
    days, store = [DAY - timedelta(days=n) for n in (2, 1, 0)], MemoryStore()
    for number, on in enumerate(days):
        about = flights(on, 6)
        log(store, about, [0.1 * number + 0.01] * 6, part=str(on), key=timeless["key"])
        late = about.with_columns(arr_delay=pl.lit(30.0 if on == YESTERDAY else -5.0))
        store.replace_partition(store_paths.validated("flights", "flights"), on, late)
    asked = ports(declared, store=store)
    result = measure_performance.run(REQUEST, asked)
    assert [(measured.predictions, measured.labelled) for measured in result.days] == [(0, 0), (6, 6), (6, 6), (6, 6)]
    joined = read_labelled_answers(declared.model(MODEL), asked, days[0], DAY, [])
    assert {on: set(rows["label"]) for (on,), rows in joined.group_by("day")} == {
        days[0]: {0.0},
        YESTERDAY: {1.0},
        DAY: {0.0},
    }


def test_the_answers_furthest_off_are_named_by_the_ids_of_their_requests() -> None:
    store = MemoryStore()
    about = flights(DAY, 6)
    log(store, about, [0.85, 0.1, 0.95, 0.2, 0.4, 0.0])  # the flights 0 and 3 were late
    log(store, about, [0.0] * 6, version="2", part="other")
    store.replace_partition(store_paths.validated("flights", "flights"), DAY, about)
    live = REQUEST.model_copy(update={"version": "3"})
    worst = measure_performance.run(live, ports(catalog(), store=store)).furthest_off
    assert [(answer.correlation_id, answer.prediction, answer.label) for answer in worst] == [
        ("c-2", 0.95, 0.0),
        ("c-3", 0.2, 1.0),
        ("c-4", 0.4, 0.0),
        ("c-0", 0.85, 1.0),
        ("c-1", 0.1, 0.0),
    ]
    assert {answer.day for answer in worst} == {DAY}


def test_a_log_without_correlation_ids_is_measured_all_the_same() -> None:
    store = lived(DAY)
    for path in store.list(store_paths.predictions(MODEL)):
        content = BytesIO()
        pl.read_parquet(BytesIO(store.get(path))).drop("correlation_id").write_parquet(content)
        store.put(path, content.getvalue())
    result = measure_performance.run(REQUEST, ports(catalog(), store=store))
    assert (result.window_labelled, {answer.correlation_id for answer in result.furthest_off}) == (60, {None})

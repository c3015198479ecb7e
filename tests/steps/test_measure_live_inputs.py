"""What callers send is held against constraints, offline features, training and its own past, by real log files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.live_inputs import InputMeasure, LiveInputsResult
from pipelines.messages.monitoring import MonitorRequest
from pipelines.messages.training import SnapshotResult
from pipelines.rules.live_input_check import judge_live_inputs
from pipelines.spec.catalog import Catalog
from pipelines.steps import measure_live_inputs
from pipelines.steps.drift.distances import kl_divergence, wasserstein
from pipelines.steps.monitoring.prediction_log import INTERNAL_ROLES
from pipelines.tables.profile import TrainingProfile, profile_frame
from pipelines.verdict import Outcome, Verdict
from tests.steps.monitored import CATEGORICAL, DAY, MODEL, NUMERIC, Flushed, MemoryStore, catalog, ports

REQUEST = MonitorRequest(model=MODEL, day=DAY, version="3")
ROWS = 300


def limited(**limits: Any) -> Catalog:
    """The view whose temperature lies between -40 and 130, by a model with these limits of live inputs."""
    known = catalog(live_inputs=limits)
    view = known.views[MODEL]
    temp = view.features["temp"]
    bounded = temp.constraints.model_copy(update={"minimum": -40.0, "maximum": 130.0, "max_null_share": 0.1})
    features = {**view.features, "temp": temp.model_copy(update={"constraints": bounded})}
    return Catalog(
        datasets=known.datasets, views={MODEL: view.model_copy(update={"features": features})}, models=known.models
    )


def rows_of(day_number: int, count: int = ROWS) -> pl.DataFrame:
    """Features of the flights of the day ``day_number`` days before ``DAY``."""
    draw = np.random.default_rng(day_number)
    hour = datetime(DAY.year, DAY.month, DAY.day, 17, tzinfo=UTC) - timedelta(days=day_number)
    return pl.DataFrame(
        {
            "time_hour": pl.Series([hour] * count, dtype=pl.Datetime("us", "UTC")),
            "flight": list(range(count)),
            "carrier": draw.choice(["UA", "AA", "B6"], count),
            "origin": draw.choice(["JFK", "LGA"], count),
            "temp": np.round(draw.normal(45, 10, count), 2),
            "distance": draw.integers(200, 2500, count).astype(float),
        }
    )


def send(
    store: MemoryStore,
    rows: pl.DataFrame,
    *,
    role: str = "champion",
    part: str = "a",
    correlation_id: str | None = None,
    **sent: Any,
) -> None:
    """Log answers about these rows, asked two hours ahead, as the gateway does; ``sent`` replaces features.

    ``correlation_id`` None: as before it was logged.
    """
    ids = [
        f"{hour:%Y-%m-%dT%H:%M:%SZ}|{carrier}|{flight}"
        for hour, carrier, flight in rows.select("time_hour", "carrier", "flight").iter_rows()
    ]
    prediction_time = pl.col("time_hour") - timedelta(hours=2)
    features = [pl.col(name).alias(f"f_{name}") for name in (*CATEGORICAL, *NUMERIC)]
    frame = rows.with_columns(**sent).select(
        prediction_time.alias("prediction_time"),
        (prediction_time + pl.duration(seconds=pl.col("flight"))).alias("logged_at"),
        pl.Series("entity_id", ids),
        pl.lit("3").alias("version"),
        pl.lit(0.3).alias("prediction"),
        pl.lit(role).alias("role"),
        *([pl.lit(correlation_id).alias("correlation_id")] if correlation_id else []),
        *features,
    )
    content = BytesIO()
    frame.write_parquet(content)
    on = frame["prediction_time"][0].date()
    store.put(f"{store_paths.predictions(MODEL)}date={on}/part-{role}-{part}.parquet", content.getvalue())


def offline(store: MemoryStore, day_number: int, rows: pl.DataFrame) -> None:
    store.replace_partition(store_paths.features(MODEL), DAY - timedelta(days=day_number), rows)


def watched(days: int = 40, **sent: Any) -> MemoryStore:
    """A store in which callers sent the offline features for ``days``; on the last two with ``sent`` in their place."""
    store = MemoryStore()
    for number in range(days):
        rows = rows_of(number)
        offline(store, number, rows)
        send(store, rows, **(sent if number < 2 else {}))
    trained = pl.concat([rows_of(number) for number in range(60, 70)])
    known = profile_frame(trained, categorical=CATEGORICAL, numeric=NUMERIC)
    profile = TrainingProfile(**known.model_dump(), out_of_sample=True, influence={"temp": 0.05})
    store.put(store_paths.training_profile(MODEL, "3"), profile.model_dump_json().encode())
    return store


def measured(store: MemoryStore, **limits: Any) -> tuple[LiveInputsResult, Verdict]:
    declared = limited(**limits)
    result = measure_live_inputs.run(REQUEST, ports(declared, store=store))
    return result, judge_live_inputs(result, declared.model(MODEL))


def of(result: LiveInputsResult, name: str) -> InputMeasure:
    return next(measure for measure in result.measures if measure.name == name)


CELSIUS = (pl.col("temp") - 32) / 1.8


@pytest.fixture(scope="module")
def calm() -> tuple[LiveInputsResult, Verdict]:
    return measured(watched())


def test_callers_that_send_the_offline_features_pass(calm: tuple[LiveInputsResult, Verdict]) -> None:
    result, verdict = calm
    assert (verdict.outcome, verdict.reasons) == (Outcome.PASS, ())
    assert (result.rows, result.judged, result.history_days) == (ROWS, [DAY], 38)
    assert [(m.matched_rows, m.differing_share, m.outside_share) for m in result.measures] == [(ROWS, 0.0, 0.0)] * 4


def test_the_distances_that_people_read_are_those_of_scipy(calm: tuple[LiveInputsResult, Verdict]) -> None:
    trained = np.concatenate([rows_of(number)["temp"].to_numpy() for number in range(60, 70)])
    sent = rows_of(0)["temp"].to_numpy()
    exact = stats.wasserstein_distance(trained, sent) / trained.std()
    assert of(calm[0], "temp").wasserstein == pytest.approx(exact, abs=0.02)  # 512 points of 3,000 rows
    few = [
        profile_frame(pl.DataFrame({"v": side}), categorical=[], numeric=["v"]).numeric["v"]
        for side in (sent, sent * 2)
    ]
    assert wasserstein(*few) == pytest.approx(stats.wasserstein_distance(sent, sent * 2) / sent.std(), rel=1e-12)
    names = [
        profile_frame(pl.DataFrame({"v": ["a"] * a + ["b"] * b}), categorical=["v"], numeric=[]).categorical["v"]
        for a, b in ((60, 40), (20, 80))
    ]
    assert kl_divergence(*names) == pytest.approx(stats.entropy([20.5, 80.5], [60.5, 40.5]), rel=1e-12)


def test_a_caller_that_sends_celsius_is_found_on_the_first_day_by_the_offline_features() -> None:
    store = watched(days=3)
    send(store, rows_of(0), temp=CELSIUS)
    result, verdict = measured(store)
    assert (verdict.outcome, verdict.facts["faults"]) == (Outcome.FAIL, ["temp"])
    [reason] = verdict.reasons
    assert reason.startswith(
        "temp: 100.0% of 300 rows differ from the offline features > 5.0% (max_skew_share), as 2013-"
    )
    assert of(result, "temp").differing.split(": ")[1].startswith("sent ")


def test_an_example_of_a_report_names_the_request_by_its_correlation_id_without_personal_data() -> None:
    store = watched(days=3)
    send(store, rows_of(0), temp=CELSIUS, correlation_id="job 7 of jo.doe@mail.example <b>")
    result, _ = measured(store)
    assert of(result, "temp").differing.partition(" (")[2].startswith("correlation id job 7 of ")
    page = store.files[store_paths.live_input_report(MODEL, DAY)].decode()
    assert "correlation id job 7 of " in page
    assert "jo.doe" not in page
    assert "<b>" not in page.split("job 7 of")[1][:60]


@pytest.mark.parametrize(("has_former", "matched"), [(True, ROWS), (False, 0)])
def test_skew_is_from_the_meaning_that_the_live_version_was_trained_on(has_former: bool, matched: int) -> None:
    """The declaration's second version is in Celsius already; callers of the live version still send Fahrenheit."""
    store = watched(days=3)
    for number in range(3):
        former = [pl.col("temp").alias("temp@1")] if has_former else []
        offline(store, number, rows_of(number).with_columns(*former, temp=CELSIUS))
    record = SnapshotResult(
        model=MODEL,
        as_of=datetime(2013, 2, 1, tzinfo=UTC),
        digest="abc",
        uri="memory:abc",
        rows=3000,
        parts={},
        features=["temp"],
        definitions={"temp": (1, "digest of Fahrenheit"), "distance": (1, "digest")},
        table_versions={},
    )
    store.put(store_paths.snapshot(MODEL, "abc", "snapshot.json"), record.model_dump_json(by_alias=True).encode())
    declared = limited()
    features = declared.views[MODEL].features
    features["temp"] = features["temp"].model_copy(update={"version": 2})
    result = measure_live_inputs.run(REQUEST, ports(declared, store=store))
    assert (of(result, "temp").matched_rows, of(result, "temp").differing_share) == (matched, 0.0 if matched else None)
    assert of(result, "distance").differing_share == 0.0
    note = "does not hold the meaning that version 3 was trained on: no skew is measured of them"
    assert any(note in text for text in result.notes) is not has_former


def test_a_caller_that_sends_celsius_without_ids_is_found_on_the_second_day_by_its_own_past() -> None:
    store = watched(temp=CELSIUS)
    for path in store.files:
        if "/date=" in path:
            anonymous = pl.read_parquet(BytesIO(store.files[path])).with_columns(entity_id=pl.lit(None, pl.String()))
            content = BytesIO()
            anonymous.write_parquet(content)
            store.files[path] = content.getvalue()
    _, verdict = measured(store)
    assert (verdict.outcome, verdict.facts["faults"], verdict.facts["act"]) == (Outcome.FAIL, ["temp"], ["temp"])
    assert "temp: left its own past: since 2013-03-06 mean 4" in verdict.reasons[0]
    assert verdict.facts["skew"] is None
    assert "0 of them have offline features" in verdict.findings


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (
            {"temp": pl.lit(999.0)},
            "temp: 100.0% of 300 rows lie beyond the view's limits > 1.0% (max_invalid_share), as 999 > 130",
        ),
        (
            {"temp": pl.when(pl.col("flight") % 5 == 0).then(None).otherwise("temp")},
            "temp: 20.0% of 300 rows have no value > 10.0% (the view's max_null_share)",
        ),
    ],
)
def test_values_that_break_the_constraints_of_the_view_fail(sent: dict[str, Any], reason: str) -> None:
    store = watched(days=3)
    send(store, rows_of(0), **sent)
    _, verdict = measured(store)
    assert reason in verdict.reasons


def test_a_renamed_category_is_told_with_its_name_and_differs_from_the_offline_features() -> None:
    store = watched(days=3)
    send(store, rows_of(0), carrier=pl.col("carrier").replace("B6", "b6"))
    result, verdict = measured(store)
    assert of(result, "carrier").unseen == ["b6"]
    assert any(line.startswith("carrier: ") and line.endswith("training had not: b6") for line in verdict.findings)
    assert verdict.facts["faults"] == ["carrier"]


def test_numbers_sent_with_fewer_digits_are_equal() -> None:
    store = watched(days=3)
    send(store, rows_of(0), temp=pl.col("temp").cast(pl.Float32).cast(pl.Float64))
    result, _ = measured(store)
    assert of(result, "temp").differing_share == 0.0


@pytest.mark.parametrize("role", INTERNAL_ROLES)
def test_rows_that_the_gateway_sent_itself_do_not_count(role: str) -> None:
    store = watched(days=3)
    send(store, rows_of(0), role=role, temp=CELSIUS)
    assert measured(store)[1].passed


def test_the_newest_rows_are_compared_with_those_before_them_by_count() -> None:
    store = watched(days=7)
    send(store, rows_of(0), temp=CELSIUS)
    result, verdict = measured(store, recent_rows=250, former_rows=1000)
    assert (result.recent_rows, result.former_rows) == (250, 1000)
    assert of(result, "temp").recent.psi > 2 > of(result, "distance").recent.psi  # type: ignore[union-attr]
    assert any(line.startswith("1 of 4 columns differ from the 1000 before") for line in verdict.findings)


def test_too_few_rows_are_unknown_and_name_the_field() -> None:
    store = MemoryStore()
    send(store, rows_of(0, 150))
    result, verdict = measured(store)
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == ("callers sent 150 rows in 7 days (needs monitoring.live_inputs.minimum_rows: 200)",)
    assert verdict.facts["too_little_data"] is True
    assert result.judged == result.window


def test_few_rows_a_day_are_judged_over_the_days_that_together_have_enough() -> None:
    store = MemoryStore()
    for number in range(7):
        send(store, rows_of(number, 80))
    result, _ = measured(store)
    assert (result.rows, len(result.judged), result.judged[-1]) == (240, 3, DAY)


def test_a_days_profile_is_made_once_and_the_newest_days_anew() -> None:
    store = watched(days=10)
    measured(store)
    old, late = DAY - timedelta(days=5), DAY - timedelta(days=1)
    for day in (old, late):
        for path in store.list(f"{store_paths.predictions(MODEL)}date={day}/"):
            del store.files[path]
    result, _ = measured(store)
    assert result.history_days == 8
    assert b'"rows":300' in store.files[store_paths.caller_profile(MODEL, old)]
    assert b'"rows":0' in store.files[store_paths.caller_profile(MODEL, late)]


def test_rows_of_a_version_with_other_features_are_counted_and_left_out() -> None:
    store = watched(days=3)
    path = store.list(f"{store_paths.predictions(MODEL)}date={DAY}/")[0]
    lacking = pl.read_parquet(BytesIO(store.files[path])).drop("f_distance")
    content = BytesIO()
    lacking.write_parquet(content)
    store.files[path] = content.getvalue()
    result, _ = measured(store)
    assert "300 rows were answered by versions with other features and are left out" in result.notes


def test_an_unreadable_file_of_the_log_is_named() -> None:
    store = watched(days=3)
    store.put(f"{store_paths.predictions(MODEL)}date={DAY}/part-x.parquet", b"garbage")
    with pytest.raises(Refused, match=rf"(?s)unreadable.*date={DAY}/part-x\.parquet"):
        measured(store)


def test_without_a_live_version_nothing_is_measured_and_with_a_silent_gateway_a_note_says_so() -> None:
    nothing = measure_live_inputs.run(REQUEST.model_copy(update={"version": None}), ports(limited()))
    assert judge_live_inputs(nothing, limited().model(MODEL)).outcome is Outcome.UNKNOWN
    result = measure_live_inputs.run(REQUEST, ports(limited(), store=watched(days=3), endpoint=Flushed(answers=False)))
    assert any("did not flush its log" in note for note in result.notes)


def test_the_page_shows_the_verdict_and_every_column(calm: tuple[LiveInputsResult, Verdict]) -> None:
    store = watched(days=3)
    send(store, rows_of(0), temp=pl.lit(999.0))
    result, verdict = measured(store)
    page = store.files[store_paths.live_input_report(MODEL, DAY)].decode()
    assert f"<title>{MODEL} {DAY}, live inputs: FAIL</title>" in page
    assert result.report == f"memory:{store_paths.live_input_report(MODEL, DAY)}"
    assert all(name in page for name in (*CATEGORICAL, *NUMERIC))
    assert page.index("FAIL: callers send something else") < page.index(verdict.reasons[0][:40])
    assert "tr class='fault'><td>temp" in page

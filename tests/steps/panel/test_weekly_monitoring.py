"""Monitoring of a weekly panel counts weeks, and measures performance on those whose labels can be known."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.messages.estimated_performance import EstimateRequest
from pipelines.messages.monitoring import MonitorRequest
from pipelines.steps import estimate_performance, measure_drift, measure_performance
from pipelines.steps.monitoring.prediction_log import read_answers
from pipelines.steps.rollouts.log import with_outcomes
from pipelines.tables.entity_id import entity_id
from pipelines.tables.profile import TableProfile
from pipelines.testing.ports import FakePorts
from tests.steps.panel.shop import END, MODEL, START, VIEW, all_days, build, hold, ports, purchases

DAY, WEEK = timedelta(days=1), timedelta(days=7)
JUDGED = date(2024, 4, 15)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FakePorts:
    """Every Monday's rows were asked about on Wednesday, and all days are held."""
    made = ports(tmp_path_factory.mktemp("shop"))
    hold(made, purchases(), all_days())
    view = made.catalog.view(VIEW)
    build(made, view.days(START, END))
    for monday in view.days(START, END):
        rows = made.store.read(store_paths.features(VIEW), days=[monday]).with_columns(entity_id(view))
        asked = datetime(*monday.timetuple()[:3], 15, tzinfo=UTC) + 2 * DAY
        answers = pl.DataFrame(
            {
                "prediction_time": [asked] * rows.height,
                "logged_at": [asked] * rows.height,
                "entity_id": rows["entity_id"],
                "version": ["1"] * rows.height,
                "prediction": (rows["customer_purchase_count_28d"] / 28).to_list(),
            },
            schema_overrides={"prediction_time": pl.Datetime("us", "UTC"), "logged_at": pl.Datetime("us", "UTC")},
        )
        buffer = BytesIO()
        answers.write_parquet(buffer)
        made.store.put(f"{store_paths.predictions(MODEL)}date={asked:%Y-%m-%d}/part.parquet", buffer.getvalue())
        made.store.put(store_paths.profile(store_paths.features(VIEW), monday), _profile(rows.height))
    return made


def _profile(rows: int) -> bytes:
    return TableProfile(rows=rows).model_dump_json(by_alias=True).encode()


def test_an_answer_of_the_middle_of_a_week_is_about_its_monday(world: FakePorts) -> None:
    answers = read_answers(world, MODEL, JUDGED, JUDGED).filter(day=JUDGED)
    assert answers.height == world.store.read(store_paths.features(VIEW), days=[JUDGED]).height
    assert answers["entity_id"].str.ends_with("|2024-04-15").all()


def test_the_window_ends_with_the_newest_week_whose_labels_can_be_known(world: FakePorts) -> None:
    result = measure_performance.run(MonitorRequest(model=MODEL, day=JUDGED, version="1"), world)
    assert result.window == [date(2024, 2, 12) + number * WEEK for number in range(7)]
    assert result.window_labelled == result.window_predictions > 40
    assert result.comparison is None or result.comparison.window_days <= 7
    joined = {measured.day: measured for measured in result.days}
    assert sorted(joined) == [date(2024, 4, 1), date(2024, 4, 8), JUDGED]
    assert joined[date(2024, 4, 1)].labelled == joined[date(2024, 4, 1)].predictions > 0


def test_weeks_whose_labels_are_not_known_yet_have_answers_and_no_labels(world: FakePorts) -> None:
    last = world.catalog.view(VIEW).days(START, END)[-1]
    result = measure_performance.run(MonitorRequest(model=MODEL, day=last, version="1"), world)
    assert [(measured.day, measured.labelled) for measured in result.days][-1] == (last, 0)
    assert result.days[-1].predictions > 0


def test_drift_is_held_against_the_weeks_before(world: FakePorts) -> None:
    result = measure_drift.run(MonitorRequest(model=MODEL, day=JUDGED, version="1"), world)
    assert result.window == [JUDGED - number * WEEK for number in reversed(range(7))]
    assert result.missing_days == []
    assert result.history_days == len(world.catalog.view(VIEW).days(START, JUDGED)) - 2


def test_an_estimate_is_of_weeks_and_calibrated_on_those_whose_labels_can_be_known(world: FakePorts) -> None:
    result = estimate_performance.run(EstimateRequest(model=MODEL, day=JUDGED, version="1"), world)
    assert result.window == [JUDGED - number * WEEK for number in reversed(range(7))]
    labelled_until = JUDGED - timedelta(days=world.catalog.view(VIEW).label_lag + 1)
    weeks = [week for week in world.store.days(store_paths.features(VIEW)) if week <= labelled_until]
    assert result.calibration_days == len(weeks) > 8
    assert (result.answered_days, result.rows > 40) == (7, True)


def test_the_outcomes_of_a_rollout_are_the_labels_of_the_weeks_that_were_asked_about(world: FakePorts) -> None:
    answers = read_answers(world, MODEL, date(2024, 3, 4), date(2024, 3, 4)).filter(day=date(2024, 3, 4))
    joined = with_outcomes(answers, world, world.catalog.model(MODEL))
    assert joined["label"].null_count() == 0
    assert set(joined["label"]) <= {0.0, 1.0}

"""A schedule that is read has a next run in Airflow, and one that Airflow cannot read is refused with its file."""

from __future__ import annotations

from pathlib import Path

import pendulum
import pytest
from airflow.sdk import CronTriggerTimetable
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.spec.catalog import Catalog
from pipelines.spec.cron import MONTHS, WEEKDAYS, check_cron
from tests.spec.test_catalog import include_with


def next_run(schedule: str) -> pendulum.DateTime:
    timetable = decode_timetable(encode_timetable(CronTriggerTimetable(schedule, timezone="UTC")))
    restriction = TimeRestriction(earliest=pendulum.datetime(2024, 1, 1), latest=None, catchup=True)
    info = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)
    assert info is not None
    return pendulum.instance(info.run_after)


@pytest.mark.parametrize(
    ("schedule", "begins"),
    [
        ("0 * * * *", "2024-01-01T00:00"),
        ("@hourly", "2024-01-01T00:00"),
        ("0 7 * * 1", "2024-01-01T07:00"),
        ("30 6 1-7,15 * MON-fri", "2024-01-01T06:30"),
        ("*/20 8/6 * feb *", "2024-02-01T08:00"),
        ("0 0 29 2 *", "2024-02-29T00:00"),
        ("0 0 31 2 sun", "2024-02-04T00:00"),
    ],
)
def test_a_schedule_means_what_it_says(schedule: str, begins: str) -> None:
    assert f"{next_run(check_cron(schedule)):%Y-%m-%dT%H:%M}" == begins


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ("hello", "is no schedule; write minute, hour, day, month and weekday"),
        ("", "is no schedule"),
        ("@fortnightly", "is no schedule"),
        ("0 7 * * 1 2024", "is no schedule"),
        ("60 24 0 13 8", "minute '60', hour '24', day '0', month '13', weekday '8' cannot be read"),
        ("0 7 * * MO", "weekday 'MO' cannot be read"),
        ("0 9-7 * * *", "hour '9-7' cannot be read"),
        ("*/0 * * * *", "minute '*/0' cannot be read"),
        ("0 0 31 2,4 *", "no month of it has day 31"),
    ],
)
def test_a_schedule_that_never_comes_is_refused_with_what_to_write(schedule: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r"write minute, hour") as refused:
        check_cron(schedule)
    assert fault in str(refused.value)


def fields(lowest: int, highest: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    number = st.integers(lowest, highest).map(str)
    span = st.tuples(st.integers(lowest, highest), st.integers(lowest, highest)).map(
        lambda pair: f"{min(pair)}-{max(pair)}"
    )
    part = st.one_of(st.just("*"), number, span, *([st.sampled_from(names)] if names else []))
    stepped = st.tuples(part, st.sampled_from(["", "/1", "/2", "/9"])).map("".join)
    return st.lists(stepped, min_size=1, max_size=2).map(",".join)


@settings(max_examples=40)
@given(
    st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12, MONTHS), fields(0, 7, WEEKDAYS)).map(" ".join)
)
def test_whatever_is_taken_airflow_runs_by(schedule: str) -> None:
    try:
        check_cron(schedule)
    except ValueError:
        return
    assert next_run(schedule) >= pendulum.datetime(2024, 1, 1)


def test_a_model_with_a_schedule_that_is_none_is_refused_alone(tmp_path: Path) -> None:
    include = include_with(tmp_path)
    path = include / "models" / "flight_delay.yaml"
    path.write_text(path.read_text().replace('schedule: "0 7 * * 1"', "schedule: hello"))
    catalog = Catalog.read(include)
    [fault] = catalog.refused["models/flight_delay.yaml"].reasons
    assert fault.startswith("training.schedule: is no schedule; write minute, hour, day, month and weekday, as in")
    assert set(catalog.refused) == {"models/flight_delay.yaml"}

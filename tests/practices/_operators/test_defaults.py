"""What every DAG has alike: retries, names of assets, and one run for each day of a calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.sdk import RetryAction
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction

from pipelines.errors import Refused, Unavailable
from pipelines.spec.partitions import Every, PartitionCalendar
from practices._arrivals.scheduled_wait import wait_end
from practices._operators.defaults import DEFAULT_ARGS, RETRY_POLICY, asset, partition_schedule
from tests.practices.landing import dataset


def scheduled_keys(runs: dict[str, Any]) -> tuple[Any, list[str | None]]:
    """The timetable as Airflow stores it, and the partition keys of the runs that it schedules, in their order."""
    timetable: Any = decode_timetable(encode_timetable(runs["schedule"]))
    first, last_date = (pendulum.instance(runs[name]) for name in ("start_date", "end_date"))
    restriction = TimeRestriction(earliest=first, latest=last_date, catchup=True)
    keys, last = [], None
    while info := timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction):
        keys.append(info.partition_key)
        last = info
    return timetable, keys


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (Refused("no"), RetryAction.FAIL),
        (Unavailable("gone"), RetryAction.RETRY),
        (OSError("disk"), RetryAction.DEFAULT),
    ],
)
def test_only_what_can_come_right_by_itself_is_tried_again(error: Exception, action: RetryAction) -> None:
    assert RETRY_POLICY.evaluate(error, try_number=1, max_tries=DEFAULT_ARGS["retries"]).action is action


def test_a_service_may_be_away_for_ten_minutes_before_a_task_gives_up() -> None:
    first, longest = DEFAULT_ARGS["retry_delay"], DEFAULT_ARGS["max_retry_delay"]
    factor = DEFAULT_ARGS["retry_exponential_backoff"]
    pauses = [min(first * factor**number, longest) for number in range(DEFAULT_ARGS["retries"])]
    assert sum(pauses, timedelta()) > timedelta(minutes=10)


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("America/New_York", "2013-03-08", "2013-03-12"),
        ("Africa/Cairo", "2024-04-23", "2024-04-29"),
        ("America/Santiago", "2024-09-05", "2024-09-10"),
        ("America/Sao_Paulo", "2018-11-01", "2018-11-06"),
        ("Asia/Beirut", "2024-03-28", "2024-04-02"),
    ],
)
def test_no_day_is_lost_or_doubled_in_a_zone_whose_clocks_skip_midnight(zone: str, start: str, end: str) -> None:
    calendar = dataset(start=start, end=end, timezone=zone).partition_calendar
    timetable, keys = scheduled_keys(partition_schedule(calendar))
    days = (calendar.end - calendar.start).days + 1
    assert keys == [f"{calendar.start + timedelta(days=number)}" for number in range(days)]
    after = timedelta(days=0 if zone == "America/New_York" else 1)  # Airflow ends a backfill at the last day's midnight
    first, until = (datetime.combine(day, time(), UTC) for day in (calendar.start, calendar.end + after))
    backfilled = timetable.iter_partition_dagrun_infos(earliest=first, latest=until)
    assert sorted(info.partition_key for info in backfilled) == keys


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("America/New_York", "2013-03-08", "2013-03-12"),
        ("Africa/Cairo", "2024-04-23", "2024-05-01"),
        ("America/Santiago", "2024-08-30", "2024-09-10"),
        ("America/Sao_Paulo", "2018-10-31", "2018-11-06"),
        ("Asia/Kathmandu", "2024-12-30", "2025-01-07"),
    ],
)
@pytest.mark.parametrize("every", ["hour", "week", "month"])
def test_each_hour_week_and_month_has_one_run_with_its_key(every: Every, zone: str, start: str, end: str) -> None:
    calendar = PartitionCalendar(every, date.fromisoformat(start), date.fromisoformat(end), zone)
    runs = partition_schedule(calendar)
    assert scheduled_keys(runs)[1] == [partition.key for partition in calendar.partitions(date.fromisoformat(end))]


def test_a_table_without_dates_is_never_scheduled() -> None:
    assert partition_schedule(PartitionCalendar("once", date(1970, 1, 1))) == {"schedule": None}


@pytest.mark.parametrize("zone", ["Africa/Cairo", "America/Santiago", "America/Sao_Paulo", "Asia/Beirut"])
@pytest.mark.parametrize("due", ["0m", "30m", "6h"])
def test_each_day_has_its_own_end_of_waiting_where_the_clocks_skip_midnight(zone: str, due: str) -> None:
    for year in (2018, 2024):
        spec = dataset(start=f"{year}-01-01", end=None, timezone=zone, due=due, wait="1m")
        calendar = spec.partition_calendar
        days = [date(year, 1, 1) + timedelta(days=number) for number in range(366)]
        ends = [wait_end(spec, calendar.require(f"{day}", "flights")).astimezone(ZoneInfo(zone)) for day in days]
        assert [end.date() for end in ends] == [day + timedelta(days=1) for day in days]


def test_an_asset_is_named_by_subject_and_state() -> None:
    assert (asset("flights", "ingested").name, asset("flights", "ingested").uri) == (
        "flights:ingested",
        "x-airworthy://flights/ingested",
    )


def test_each_day_of_the_calendar_has_one_run_and_no_other_day_has_any() -> None:
    runs = partition_schedule(dataset(start="2013-01-01", end="2013-12-31").partition_calendar)
    _, keys = scheduled_keys(runs)
    assert keys == [f"{date(2013, 1, 1) + timedelta(days=number)}" for number in range(365)]


def test_a_backfill_from_one_date_to_another_holds_both_days() -> None:
    timetable: Any = decode_timetable(encode_timetable(partition_schedule(dataset().partition_calendar)["schedule"]))
    first, last = datetime(2013, 3, 8, tzinfo=UTC), datetime(2013, 3, 11, tzinfo=UTC)
    infos = timetable.iter_partition_dagrun_infos(earliest=first, latest=last)
    assert [info.partition_key for info in infos] == ["2013-03-08", "2013-03-09", "2013-03-10", "2013-03-11"]

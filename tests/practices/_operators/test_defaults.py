"""What every DAG has alike: retries, names of assets, and one run for each day of a calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import RetryAction
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction

from pipelines.errors import Refused, Unavailable
from practices._operators.defaults import DEFAULT_ARGS, RETRY_POLICY, asset, daily_schedule
from tests.practices.landing import dataset


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


def test_an_asset_is_named_by_subject_and_state() -> None:
    assert (asset("flights", "ingested").name, asset("flights", "ingested").uri) == (
        "flights:ingested",
        "x-airworthy://flights/ingested",
    )


def test_each_day_of_the_calendar_has_one_run_and_no_other_day_has_any() -> None:
    runs = daily_schedule(dataset(start="2013-01-01", end="2013-12-31", schedule="0 6 * * *").calendar)
    timetable: Any = decode_timetable(encode_timetable(runs["schedule"]))
    restriction = TimeRestriction(earliest=runs["start_date"], latest=runs["end_date"], catchup=True)
    keys, last = [], None
    while info := timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction):
        keys.append(info.partition_key)
        last = info
    assert keys == [f"{date(2013, 1, 1) + timedelta(days=number)}" for number in range(365)]


def test_a_backfill_from_one_date_to_another_holds_both_days() -> None:
    timetable: Any = decode_timetable(encode_timetable(daily_schedule(dataset().calendar)["schedule"]))
    first, last = datetime(2013, 3, 8, tzinfo=UTC), datetime(2013, 3, 11, tzinfo=UTC)
    infos = timetable.iter_partition_dagrun_infos(earliest=first, latest=last)
    assert [info.partition_key for info in infos] == ["2013-03-08", "2013-03-09", "2013-03-10", "2013-03-11"]

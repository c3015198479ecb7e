"""A run names one day, written in one way, by its form or by its partition key."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines.errors import Refused
from practices._operators import run_context
from tests.practices.practice_harness import PracticeHarness

DAY = date(2013, 1, 5)


@pytest.mark.parametrize(
    ("form", "key"), [("2013-01-05", None), (None, "2013-01-05"), ("2013-01-05", "2013-01-05"), ("", "2013-01-05")]
)
def test_the_day_is_that_of_the_form_or_of_the_key(harness: PracticeHarness, form: str | None, key: str | None) -> None:
    assert run_context.day(harness.context("validate", "publish_partition", day=form, partition_key=key)) == DAY


def test_a_form_and_a_key_that_name_two_days_are_refused_with_both(harness: PracticeHarness) -> None:
    context = harness.context("validate", "publish_partition", day="2013-01-05", partition_key="2013-01-06")
    with pytest.raises(Refused, match="day 2013-01-05 and partition key 2013-01-06"):
        run_context.day(context)


@pytest.mark.parametrize("text", ["20130105", "2013-W01-6", "2013-01-05T00:00", "2013-01-05 ", "2013-1-5", "yesterday"])
@pytest.mark.parametrize("field", ["day", "partition_key"])
def test_a_day_has_one_spelling_because_it_has_one_key(harness: PracticeHarness, field: str, text: str) -> None:
    context = harness.context("validate", "publish_partition", **{field: text})
    with pytest.raises(Refused) as refused:
        run_context.day(context)
    assert repr(text) in refused.value.subject
    assert "write it as" in refused.value.reasons[0]


def test_a_run_without_a_day_says_where_to_name_it(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match="names no day"):
        run_context.day(harness.context("validate", "publish_partition"))

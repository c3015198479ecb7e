"""A duration is what a person writes with its units, and nothing that YAML or a reader could take for another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.spec.durations import MAX_DAYS, parse_duration, written_duration
from pipelines.spec.plain_yaml import load


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6h", 21_600), ("30m", 1_800), ("1d", 86_400), ("1d12h", 129_600), ("0m", 0), ("90m", 5_400), ("45s", 45)],
)
def test_a_duration_is_read_with_its_units(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("22:30", "a duration is not written as a time of day; write 22h30m"),
        ("00:00:15", "write 15s"),
        ("1350", "a duration needs its unit; write 1350m, 1350h or 1350d"),
        ("0", "write 0m"),
        ("1.5", "needs its unit"),
        ("6 h", "is no duration; write a whole number with d, h, m or s, as in 6h, 30m, 1d or 1d12h"),
        ("2w", "is no duration"),
        ("30m6h", "is no duration"),
        ("-6h", "is no duration"),
        ("''", "is no duration"),
        ("soon", "is no duration"),
        ("[6h]", "is no duration"),
        ("true", "is no duration"),
        ("40000d", f"is longer than {MAX_DAYS}d"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(text: str, fault: str) -> None:
    value: Any = load(f"due: {text}")["due"]
    with pytest.raises(ValueError, match=r".+") as error:
        parse_duration(value)
    assert fault in str(error.value)


@given(st.integers(min_value=0, max_value=MAX_DAYS * 86_400))
def test_every_duration_of_whole_seconds_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(written_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)

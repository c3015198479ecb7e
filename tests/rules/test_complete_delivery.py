"""A delivery is complete by what its files declare, and what it lacks is said with what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.messages.delivery import FileStamp
from pipelines.rules.complete_delivery import complete_partitions, missing_part
from pipelines.spec.source_files import SourceFiles

NOW = datetime(2024, 2, 1, 6, tzinfo=UTC)
MARKER, QUIET = {"marker": "_SUCCESS"}, {"quiet": "10m"}


def files(complete: Any = "manifest", name: str = "*.csv") -> SourceFiles:
    return SourceFiles.model_validate({"path": f"{{source}}/{{partition}}/{name}", "complete": complete})


def stamps(**minutes_ago: float) -> dict[str, FileStamp]:
    """``a_csv=3`` is the file a.csv, written three minutes ago."""
    return {
        name.replace("_csv", ".csv"): FileStamp("e", NOW - timedelta(minutes=minutes))
        for name, minutes in minutes_ago.items()
    }


@pytest.mark.parametrize(
    ("complete", "written", "lacks"),
    [
        ("manifest", stamps(a_csv=9), "no manifest has been delivered; have the source deliver it"),
        ("manifest", {**stamps(a_csv=1), "_manifest.json": FileStamp("e", NOW - timedelta(hours=1))}, None),
        (MARKER, {}, "its marker _SUCCESS has not been written; have the source write it last"),
        (MARKER, stamps(a_csv=9, b_csv=8), "its marker _SUCCESS has not been written; have the source write it last"),
        (MARKER, stamps(a_csv=9, b_csv=8, _SUCCESS=7), None),
        (MARKER, stamps(a_csv=9, _SUCCESS=9), None),
        (
            MARKER,
            stamps(a_csv=9, b_csv=6, _SUCCESS=7),
            "its marker _SUCCESS is older than b.csv; have the source write it again when all files are there",
        ),
        (MARKER, {**stamps(a_csv=9, _SUCCESS=7), "part.tmp": FileStamp("e", NOW)}, None),
        (MARKER, stamps(_SUCCESS=7), None),
        (QUIET, {}, "no file *.csv has landed; have the source deliver it"),
        (QUIET, {"part.tmp": FileStamp("e", NOW)}, "no file *.csv has landed; have the source deliver it"),
        (QUIET, stamps(a_csv=30, b_csv=9.9), "b.csv was written at 05:50:06 UTC, less than 10m ago; wait"),
        (QUIET, stamps(a_csv=30, b_csv=10), None),
    ],
)
def test_a_delivery_lacks_what_its_declaration_awaits(
    complete: Any, written: dict[str, FileStamp], lacks: str | None
) -> None:
    assert missing_part(files(complete), written, NOW) == lacks


@given(st.lists(st.integers(0, 120), min_size=1, max_size=5), st.integers(0, 120))
def test_by_a_quiet_time_a_delivery_stays_complete_until_a_file_is_written(minutes: list[int], later: int) -> None:
    written = {f"{number}.csv": FileStamp("e", NOW + timedelta(minutes=at)) for number, at in enumerate(minutes)}
    now = NOW + timedelta(minutes=later)
    assert (missing_part(files(QUIET), written, now) is None) == (later >= max(minutes) + 10)


def test_each_folder_of_a_source_is_complete_by_itself_and_deeper_files_are_none_of_it() -> None:
    written = {
        "landing/shop/sales/2024-01-01/a.csv": FileStamp("e", NOW - timedelta(hours=1)),
        "landing/shop/sales/2024-01-02/a.csv": FileStamp("e", NOW),
        "landing/shop/sales/2024-01-03/old/a.csv": FileStamp("e", NOW - timedelta(hours=1)),
        "landing/shop/sales/2024-01-04/a.csv": FileStamp("e", NOW - timedelta(hours=1)),
        "landing/shop/sales/2024-01-04/old/a.csv": FileStamp("e", NOW),
    }
    assert complete_partitions(files(QUIET), written, NOW) == {"2024-01-01", "2024-01-04"}

"""A small share of each simulation keeps its promises, and a missed promise is told."""

from __future__ import annotations

import pytest

from pipelines.settings import REPOSITORY
from tests.calibration.__main__ import BEGIN, END, PAGE, measure, page_with, subjects, table
from tests.calibration.line import Line, share_line

SMALL = 0.04


@pytest.mark.parametrize("subject", subjects())
def test_a_small_share_of_the_simulation_keeps_every_promise(subject: str) -> None:
    lines = list(measure(subject, SMALL))
    assert lines
    assert not [line.row() for line in lines if not line.holds]


@pytest.mark.parametrize(
    ("hits", "low", "high", "holds"),
    [
        (50, 0.4, 0.6, True),
        (50, 0.66, None, False),
        (50, 0.64, None, True),
        (0, None, 0.0, True),
        (9, None, 0.0, False),
    ],
)
def test_a_promise_is_missed_beyond_three_standard_errors(
    hits: int, low: float | None, high: float | None, holds: bool
) -> None:
    assert share_line("what", "data", hits, 100, low, high).holds is holds


def test_a_row_says_what_was_promised_and_measured_and_marks_a_miss() -> None:
    assert (
        Line("coverage", "40 days", 0.94, 0.01, 0.92, 0.97).row()
        == "| coverage | 40 days | 92 % to 97 % | 94 % ± 1 % |"
    )
    assert (
        Line("loss", "twins", 0.5, 0.01, None, 0.02, "AUC").row()
        == "| loss | twins | ≤ 0.02 AUC | **0.5 AUC ± 0.01 AUC** |"
    )


def test_the_table_replaces_the_one_of_the_page_and_nothing_else() -> None:
    lines = [Line("coverage", "40 days", 0.94, 0.01)]
    page = page_with(f"before\n{BEGIN}\nold\n{END}\nafter\n", lines)
    assert page == f"before\n{BEGIN}\n\n{table(lines)}\n\n{END}\nafter\n"


def test_the_page_of_statistics_has_a_place_for_the_table() -> None:
    assert PAGE == REPOSITORY / "docs" / "statistics.md"
    assert page_with(PAGE.read_text(), []).startswith("# ")

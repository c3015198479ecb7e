"""What is printed is as wide as it was declared to be, also where it is piped."""

from __future__ import annotations

import itertools

import pytest
from rich.console import Console

from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.progress import LOG_WIDTH, Progress, open_console
from pipelines.errors import Refused, Unavailable

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("columns", "width"), [("80", 80), ("200", 200), (None, LOG_WIDTH), ("", LOG_WIDTH), ("wide", LOG_WIDTH)]
)
def test_piped_output_is_as_wide_as_columns_says(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert open_console().width == width


@pytest.mark.parametrize(
    ("label", "text", "width", "lines"),
    [
        ("  ok  ", "one two", 30, ["  ok  one two"]),
        ("  ok  ", "one two three four five six seven", 30, ["  ok  one two three four five", "      six seven"]),
        ("  ok  name  ", f"rows, {DIGEST}", 74, ["  ok  name", "        rows,", f"        {DIGEST}"]),
        ("  ok  name  ", DIGEST, 66, ["  ok  name", f"  {DIGEST}"]),
        ("  ok  name  ", DIGEST, 40, ["  ok  name", DIGEST]),
        ("x" * 20, "one two", 30, ["x" * 20, "        one two"]),
        ("", "one two", 4, ["one", "two"]),
    ],
)
def test_a_text_hangs_below_its_column_and_no_word_is_broken(
    label: str, text: str, width: int, lines: list[str]
) -> None:
    assert hanging_lines(label, text, width).splitlines() == lines


def silent() -> tuple[bool, str]:
    raise Unavailable("Airflow does not answer")


def test_a_wait_outlasts_what_does_not_answer_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.cli.progress.POLL_SECONDS", 0)
    answers = iter([silent, silent, lambda: (True, "done")])
    Progress(Console(quiet=True)).wait(lambda: next(answers)(), timeout=60, what="parsing")
    assert list(answers) == []


def test_a_wait_ends_with_the_last_status_and_at_once_where_it_is_refused() -> None:
    progress = Progress(Console(quiet=True))
    with pytest.raises(Unavailable, match=r"parsing was not done, and nothing changed for 0 s; status: Airflow does"):
        progress.wait(silent, timeout=0, what="parsing")

    def refused() -> tuple[bool, str]:
        raise Refused("a person has to look")

    with pytest.raises(Refused):
        progress.wait(refused, timeout=60, what="parsing")


def test_a_wait_lasts_as_long_as_its_status_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.count(0, 10)
    monkeypatch.setattr("pipelines.cli.progress.POLL_SECONDS", 0)
    monkeypatch.setattr("pipelines.cli.progress.time.monotonic", lambda: next(moments))
    days = iter(range(40))

    def arrived() -> tuple[bool, str]:
        day = next(days)
        return day == 39, f"{day} of 40 days are built"

    Progress(Console(quiet=True)).wait(arrived, timeout=300, what="building")
    with pytest.raises(Unavailable, match="nothing changed for 300 s; status: 1 of 40 days are built"):
        Progress(Console(quiet=True)).wait(lambda: (False, "1 of 40 days are built"), timeout=300, what="building")

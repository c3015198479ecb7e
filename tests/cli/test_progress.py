"""What is printed is as wide as it was declared to be, also where it is piped."""

from __future__ import annotations

import pytest

from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.progress import LOG_WIDTH, open_console

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

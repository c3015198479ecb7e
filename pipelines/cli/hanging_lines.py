"""Wraps the text of one item at the width of the output, below the column in which the text begins."""

from __future__ import annotations

import textwrap
from typing import Any

from pipelines.cli.terminal_text import visible

FURTHER = 2
"""By how much the further lines of an indented line are indented more."""
NARROW_INDENT = 8
"""Where a text goes on if the column in which it begins leaves no room for its words."""
MIN_ROOM = 24


def hanging_lines(label: str, text: str, width: int) -> str:
    """``label`` and the words of ``text`` beside it; words are never broken, so that digests can be copied."""
    label, words = visible(label), visible(text).split()
    room = width - len(label)
    longest = max(map(len, words), default=0)
    if room >= max(longest, MIN_ROOM):
        return _wrapped(label, " " * len(label), words, width)
    indent = " " * min(NARROW_INDENT, len(label), max(0, width - longest))
    below = _wrapped(indent, indent, words, width)
    return f"{label.rstrip()}\n{below}" if label.strip() else below


def print_hanging(line: str, console: Any) -> None:
    """Print a line of ``rich`` markup on a ``rich`` console; what does not fit goes on below it, indented more."""
    from rich.text import Text

    text = Text.from_markup(line)
    indent = len(text.plain) - len(text.plain.lstrip())
    if text.cell_len <= console.width or console.width < indent + MIN_ROOM:
        console.print(text)
        return
    first, *further = text[indent:].wrap(console, console.width - indent - FURTHER)
    console.print(Text(" " * indent) + first)
    for part in further:
        console.print(Text(" " * (indent + FURTHER)) + part)


def _wrapped(first: str, later: str, words: list[str], width: int) -> str:
    return textwrap.fill(
        " ".join(words),
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )

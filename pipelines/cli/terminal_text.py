"""Makes text that others wrote safe to print: its escape sequences reach no terminal, its markup no layout."""

from __future__ import annotations

import unicodedata
from typing import Any

from rich.markup import escape

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that move the cursor, change the direction of what is read, or cannot be encoded."""
KEPT = frozenset("\n\t\u200c\u200d")
"""Line breaks, and the joiners that scripts and emoji are written with."""


def visible(text: object) -> str:
    """Control characters as Python's escapes: ``\\x1b`` for the one that begins a terminal's sequences."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in HIDDEN and character not in KEPT
        else character
        for character in str(text)
    )


def markup(text: object) -> str:
    """The same for ``rich``, which then prints square brackets as they are."""
    return escape(visible(text))


def print_line(text: object, **options: Any) -> None:
    """Print one line; a line break that somebody wrote into a name is shown as ``\\n`` and begins no line of its own.

    ``options`` are those of ``print``.
    """
    print(visible(text).replace("\n", "\\n"), **options)


def print_text(text: object, **options: Any) -> None:
    """Print a text of several lines, whose words are shown as they were written."""
    print(visible(text), **options)

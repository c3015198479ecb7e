"""Writes a declaration line by line, with its questions as comments whose lines are known."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from datetime import date
from typing import Any

import yaml

from pipelines.spec.plain_yaml import load

WIDTH = 118
PLAIN = re.compile(r"\w[\w./+*()-]*(?: [\w./+*()-]+)*")


class DeclarationPage:
    """``questions``: line, from 1, and text."""

    def __init__(self) -> None:
        self.questions: list[tuple[int, str]] = []
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def write(self, line: str = "", indent: int = 0) -> None:
        self._lines.append(f"{' ' * indent}{line}" if line else "")

    def remark(self, text: str, indent: int = 0) -> None:
        """A comment."""
        first, rest = f"{' ' * indent}# ", f"{' ' * indent}#   "
        words = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
        self._lines += textwrap.wrap(
            words, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
        )

    def ask(self, text: str, indent: int = 0) -> None:
        """A comment that a person should answer by editing what stands below it."""
        self.questions.append((len(self._lines) + 1, text))
        self.remark(f"question: {text}", indent)


def flow(value: Any) -> str:
    """A value on one line: ``{type: string, allowed: [DE, FR]}``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(name)}: {flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date):
        return value.isoformat()
    text = str(value)
    is_plain = PLAIN.fullmatch(text) and load(text) == text
    if is_plain:
        return text
    written: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**30)
    return written.strip()

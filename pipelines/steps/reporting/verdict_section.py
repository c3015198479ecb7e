"""Writes a verdict as HTML: its outcome, every reason, then what was measured against which limit."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from pipelines.verdict import Outcome, Verdict

COLOURS = {Outcome.PASS: "#1b7f4b", Outcome.FAIL: "#b3261e", Outcome.UNKNOWN: "#8a6100"}


def verdict_section(verdict: Verdict, meaning: str) -> str:
    """``meaning``: what the outcome says of the data, in a few words."""
    heading = f"{verdict.outcome.value.upper()}: {escape(meaning)}"
    reasons = _list(verdict.reasons)
    findings = f"<p>Measured:</p>{_list(verdict.findings)}" if verdict.findings else ""
    return f"<h2 style='color:{COLOURS[verdict.outcome]}'>{heading}</h2>{reasons}{findings}"


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""

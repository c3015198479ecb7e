"""Writes a verdict as HTML: its outcome in the title; then every reason, and what was measured against which limit."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from pipelines.verdict import Outcome, Verdict

COLOURS = {Outcome.PASS: "#1b7f4b", Outcome.FAIL: "#b3261e", Outcome.UNKNOWN: "#8a6100"}


def page_title(subject: str, verdict: Verdict) -> str:
    """What a tab of a browser shows: ``orders day 2013-01-05, validation: PASS``; escaped."""
    return escape(f"{subject}: {verdict.outcome.value.upper()}")


def verdict_section(verdict: Verdict, meaning: str) -> str:
    """``meaning``: what the outcome says of the data, in a few words."""
    heading = f"{verdict.outcome.value.upper()}: {escape(meaning)}"
    reasons = _list(verdict.reasons)
    findings = f"<p>Measured:</p>{_list(verdict.findings)}" if verdict.findings else ""
    return f"<h2 style='color:{COLOURS[verdict.outcome]}'>{heading}</h2>{reasons}{findings}"


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""

"""The certified version that losses are added up against: it stays until another one was shown to be better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pipelines.ledger.version_state import State, read_versions
from pipelines.ports import LedgerEntry
from pipelines.spec.model import ComparisonSpec

MAX_TRIED = 3
"""Anchors that are tried: the best one may need columns that are gone."""
EXCLUDED_STATES = (State.ROLLED_BACK, State.STAGED)


def anchor_versions(
    lines: Sequence[LedgerEntry], champion: str | None, declared: ComparisonSpec, now: datetime
) -> list[str]:
    """Anchors in the order in which they are tried, from the ledger lines of one model, oldest first.

    Of the versions released within the declared days, or among the declared number of newest ones, the anchor is the
    first, unless a later one was shown to be better than it (the low end of its interval lay above zero). Estimates
    alone never move it: versions that passed a gate were lucky there on average. Nothing if the champion is the anchor.
    Gate and monitor ask the same function.
    """
    if declared.anchor is None or champion is None:
        return []
    certified = _certified(lines)
    recent = [version for version, at in certified if at >= now - timedelta(days=declared.anchor.days)]
    newest = [version for version, _ in certified][-declared.anchor.versions :]
    window = [version for version, _ in certified if version in recent or version in newest]
    place = 0
    for number, version in enumerate(window):
        if number > place and _is_shown_better(lines, version, window[place], declared.metric):
            place = number
    anchors = window[place:]
    if champion in anchors:
        anchors = anchors[: anchors.index(champion)]
    return anchors[:MAX_TRIED]


def _certified(lines: Sequence[LedgerEntry]) -> list[tuple[str, datetime]]:
    """Each version that went live and was not taken back, with the time of its first release, in that order."""
    states = read_versions(lines)
    first: dict[str, datetime] = {}
    for line in lines:
        if line.kind == "release" and line.version is not None:
            first.setdefault(line.version, line.at)
    return [(version, at) for version, at in first.items() if states[version].state not in EXCLUDED_STATES]


def _is_shown_better(lines: Sequence[LedgerEntry], version: str, anchor: str, metric: str) -> bool:
    """Whether the last comparison of ``version`` with ``anchor``, as champion or as anchor, lay above zero."""
    for line in reversed(lines):
        if line.kind != "gate" or line.version != version or line.details.get("gate") != "champion_comparison_gate":
            continue
        facts: Mapping[str, Any] = line.details.get("facts") or {}
        beside: Mapping[str, Any] = facts.get("anchor") or {}
        for other, compared in ((line.details.get("champion"), facts), (beside.get("version"), beside)):
            low = compared.get("low")
            if other == anchor and compared.get("metric") == metric and isinstance(low, int | float):
                return line.details.get("outcome") == "pass" and compared.get("units") is not None and low > 0
        return False
    return False

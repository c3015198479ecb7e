"""Renders what `airworthy status` tells of a feature view: the days that are stale, refused, or not built yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines import store_paths
from pipelines.cli.dataset_page import span_text
from pipelines.cli.terminal_text import markup
from pipelines.ports import Ports
from pipelines.spec.features import FeatureView

MAX_REFUSED = 2
"""Refused days on the screen with their first reason, newest first; the others are counted."""


def view_facts(view: FeatureView, ports: Ports) -> dict[str, Any]:
    """``days`` (their number), ``first``, ``last``, ``stale`` (day to replaced tables), ``refused`` (day to reasons),
    ``not_built`` (validated days without features)."""
    from pipelines.steps.features.staleness import feature_records, stale_days, unbuilt_days

    store, table = ports.store, store_paths.features(view.view)
    days = store.days(table)
    refused = {day: record.refused for day, record in feature_records(store, table).items() if record.refused}
    stale = stale_days(store, view, ports.catalog.dataset(view.dataset))
    return {
        "days": len(days),
        "first": f"{days[0]}" if days else None,
        "last": f"{days[-1]}" if days else None,
        "stale": {view.partition_key(day): tables for day, tables in stale.items()},
        "refused": {view.partition_key(day): reasons for day, reasons in sorted(refused.items())},
        "not_built": [view.partition_key(day) for day in unbuilt_days(store, view) if day not in refused],
    }


def render_view(name: str, facts: dict[str, Any]) -> Iterator[str]:
    """A line for what is not as it should be; nothing of a view whose days are all there and up to date."""
    if facts.get("stale"):
        tables = sorted({table for tables in facts["stale"].values() for table in tables})
        text = f"{span_text([*facts['stale']])}, built before {', '.join(tables)} changed; the next build takes them up"
        yield f"  features {markup(name)} [yellow]stale:[/yellow] {markup(text)}"
    refused = list(reversed((facts.get("refused") or {}).items()))
    for day, reasons in refused[:MAX_REFUSED]:
        yield f"  features {markup(name)} [red]refused:[/red] {markup(f'{day}: {reasons[0]}')}"
    if len(refused) > MAX_REFUSED:
        yield f"  features {markup(name)} [red]refused:[/red] and {len(refused) - MAX_REFUSED} earlier days"
    if facts.get("not_built"):
        text = span_text(facts["not_built"])
        yield f"  features {markup(name)} [yellow]validated, not built:[/yellow] {markup(text)}"

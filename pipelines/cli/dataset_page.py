"""Renders what `airworthy status` tells of a dataset: a row per source, and what waits, was refused or quarantined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipelines.cli.terminal_text import markup

MAX_SHOWN_COUNTS = 6
"""Most lines of a list; the rest is counted."""


def render_dataset(name: str, sources: dict[str, Any], *, in_full: bool = False) -> Iterator[Any]:
    """The table of the sources, then a line for what is not as it should be; ``in_full``: with every partition."""
    yield _dataset_table(name, sources)
    for source, facts in sources.items():
        yield from (f"  {markup(source)} {text}" for text in _waiting_texts(facts, in_full=in_full))
        if facts["reasons"]:
            most = len(facts["reasons"]) if in_full else MAX_SHOWN_COUNTS
            yield f"  {markup(source)} quarantined: {counts_text(facts['reasons'], most)}"


def _dataset_table(name: str, sources: dict[str, Any]) -> Table:
    table = plain_table(f"Data: {name}")
    for heading, justify in (("source", "left"), ("partitions", "right"), ("first", "left"), ("last", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for heading in ("accepted", "quarantined"):
        table.add_column(heading, justify="right")
    for source, facts in sources.items():
        counts = [f"{facts['accepted']:,}", f"{facts['quarantined']:,}"]
        table.add_row(markup(source), str(facts["partitions"]), facts["first"] or "-", facts["last"] or "-", *counts)
    return table


def _waiting_texts(facts: dict[str, Any], *, in_full: bool) -> Iterator[str]:
    """What landed and is not in the validated table, with why."""
    new = [key for key in facts["not_ingested"] if key not in facts["refused"]]
    for keys, text in (
        (new, "[yellow]landed, not ingested:[/yellow]"),
        (facts["refused"], "[red]landed, and refused:[/red]"),
        (facts["not_validated"], "[yellow]ingested, not validated:[/yellow]"),
        (facts["outside"], "[yellow]landed outside the declared partitions, so that nothing reads them:[/yellow]"),
    ):
        if keys:
            yield f"{text} {markup(', '.join(keys) if in_full else span_text(keys))}"


def span_text(keys: Sequence[str]) -> str:
    """``3 partitions, 2013-01-01 to 2013-01-05``."""
    return keys[0] if len(keys) == 1 else f"{len(keys)} partitions, {keys[0]} to {keys[-1]}"


def plain_table(title: str) -> Table:
    return Table(title=markup(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)


def counts_text(counts: dict[str, int], most: int = MAX_SHOWN_COUNTS) -> str:
    shown = [f"{markup(name)} {count:,}" for name, count in list(counts.items())[:most]]
    rest = len(counts) - len(shown)
    return ", ".join([*shown, f"and {rest} more"] if rest else shown) or "-"

"""`airworthy restore <table> <version>` makes an earlier content of a table its newest one and says what changed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from pipelines import store_paths
from pipelines.cli import arguments
from pipelines.cli.dataset_page import span_text
from pipelines.cli.names import check_table
from pipelines.cli.terminal_text import print_line
from pipelines.ports import Ports, Store
from pipelines.spec.features import FeatureView


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("restore", help="put a table back to an earlier version", description=__doc__)
    parser.add_argument("table", help="for example validated/city.trips")
    parser.add_argument(
        "version", type=arguments.table_version, nargs="?", help="version to go back to; none: only print the newest"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would change and change nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Compare, restore, record in the ledger. ``Refused`` for a table or a version that does not exist."""
    store, table = ports.store, options.table
    check_table(table, ports)
    newest = store.version(table)
    if options.version is None:
        print_line(f"{table} is at version {newest}, with {len(store.partitions(table))} partitions")
        return 0
    if options.version == newest:
        print_line(f"{table} is at version {newest} already; nothing changed")
        return 0
    changes = describe_changes(store, table, options.version)
    for line in changes:
        print_line(f"  {line}")
    if not changes:
        print_line(f"  the content of version {options.version} is that of version {newest}")
    if options.dry_run:
        print_line(f"{table} stays at version {newest}")
        return 0
    details = {"table": table, "from": newest, "to": options.version, "changes": changes}
    ports.ledger.append("restore", table, None, details, actor=ports.settings.actor)  # no change without a record
    restored = store.restore(table, options.version)
    print_line(f"{table}: version {options.version} is the newest content again, as version {restored} (was {newest})")
    for view in ports.catalog.views.values():
        for line in _stale_text(view, table, ports):
            print_line(line)
    return 0


def _stale_text(view: FeatureView, table: str, ports: Ports) -> Iterator[str]:
    """Which days of a view were built from a former content of the table, and what builds them again."""
    from pipelines.steps.features.staleness import stale_days

    stale = stale_days(ports.store, view, ports.catalog.dataset(view.dataset))
    days = [f"{day}" for day, tables in stale.items() if table in tables]
    if days:
        yield f"{store_paths.features(view.view)}: {span_text(days)} built from other rows; no training starts on them"
        yield f"the next build_features_{view.view} builds them again; clear the newest one for it to be now"


def describe_changes(store: Store, table: str, version: int) -> list[str]:
    """One line per partition that a return to ``version`` would change: rows now and rows then."""
    now, then = (rows_by_partition(store, table, at) for at in (None, version))
    touched = store.changed_partitions(table, version)
    lines = []
    for key in sorted(set(now) | set(then)):
        if key not in then:
            lines.append(f"{key}: {now[key]} rows go")
        elif key not in now:
            lines.append(f"{key}: {then[key]} rows come back")
        elif now[key] != then[key]:
            lines.append(f"{key}: {now[key]} rows become {then[key]}")
        elif key in touched and not same_rows(store, table, key, version):
            lines.append(f"{key}: {now[key]} rows, other values")
    return lines


def rows_by_partition(store: Store, table: str, version: int | None) -> dict[str, int]:
    rows = store.read(table, columns=[], version=version)
    [column] = rows.columns
    counted = rows.group_by(column).len()
    return {f"{key}": count for key, count in counted.iter_rows()}


def same_rows(store: Store, table: str, key: str, version: int) -> bool:
    """True if the partition holds the same rows in both versions, whatever their order."""
    now, then = store.read(table, partitions=[key]), store.read(table, partitions=[key], version=version)
    if now.columns != then.columns:
        return False
    return sorted(map(repr, now.iter_rows())) == sorted(map(repr, then.iter_rows()))

"""`airworthy quarantine <dataset> <source>` shows the rows that are kept out of a table: key, value and reasons."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from pipelines import store_paths
from pipelines.cli import arguments
from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.names import check_order, dataset_of, source_of
from pipelines.cli.progress import open_console
from pipelines.cli.terminal_text import print_line, print_text
from pipelines.ports import Ports
from pipelines.spec.catalog import read_declaration
from pipelines.spec.suite import DeclaredSuite

if TYPE_CHECKING:
    from pipelines.tables.quarantined_rows import QuarantinedRow

SHOWN_ROWS = 50


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("quarantine", help="show quarantined rows and why", description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("source", help="for example trips")
    parser.add_argument(
        "--since", type=arguments.day, metavar="DAY", help="first day; partitions that end before it are left out"
    )
    parser.add_argument(
        "--until",
        type=arguments.day,
        metavar="DAY",
        help="last day, included; partitions that begin after it are left out",
    )
    parser.add_argument("--reason", metavar="TEXT", help="only rows with a reason that contains this text")
    parser.add_argument(
        "--last", type=arguments.count, default=SHOWN_ROWS, metavar="N", help="the newest N (default: %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="every row")
    parser.add_argument("--json", action="store_true", help="a JSON object per row, for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print the rows, oldest partition first. Columns that are declared as personal data show no value."""
    rows = quarantined_rows(options.dataset, options.source, ports, since=options.since, until=options.until)
    matching = [row for row in rows if _has_reason(row, options.reason)]
    shown = matching if options.all else matching[-options.last :]
    if options.json:
        for row in shown:
            print(row.model_dump_json())
        return 0
    width = open_console().width
    for row in shown:
        for line in row_lines(row, width):
            print_text(line)
    left_out = len(matching) - len(shown)
    earlier = f"; {left_out} earlier ones are left out (--all)" if left_out else ""
    print_line(f"{len(shown)} of {len(matching)} quarantined rows of {options.source}{earlier}")
    return 0


def quarantined_rows(
    dataset: str, source: str, ports: Ports, *, since: date | None = None, until: date | None = None
) -> Sequence[QuarantinedRow]:
    """The rows of the partitions that touch these days, oldest first. ``Refused`` for an unknown dataset or source."""
    check_order(since, until)
    spec = dataset_of(dataset, ports)
    declared = source_of(spec, source)
    from pipelines.tables.quarantined_rows import describe_rows

    table, calendar = store_paths.quarantine(dataset, source), spec.partition_calendar
    keys = [key for key in ports.store.partitions(table) if calendar.touches(key, since, until)]
    if not keys:
        return []
    columns: dict[str, list[str]] = {}
    if declared.suite is not None:
        suite = ports.settings.include / "expectations" / f"{declared.suite}.yaml"
        columns = read_declaration(suite, DeclaredSuite).columns_by_reason()
    return describe_rows(ports.store.read(table, partitions=keys), declared, columns)


def row_lines(row: QuarantinedRow, width: int) -> list[str]:
    """The key beside the partition, and below it the judged values and the reasons."""
    label = f"{row.partition}  "
    values = _pairs(row.values)
    reasons = "; ".join(row.reasons)
    below = f"{values}: {reasons}" if values else reasons
    return [hanging_lines(label, _pairs(row.key), width), hanging_lines(" " * len(label), below, width)]


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _has_reason(row: QuarantinedRow, text: str | None) -> bool:
    return text is None or any(text.lower() in reason.lower() for reason in row.reasons)

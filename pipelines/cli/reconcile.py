"""`airworthy reconcile` shows where ledger and registry differ from what the targets serve, and puts it right."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pipelines.cli.names import check_model
from pipelines.cli.progress import open_console
from pipelines.cli.terminal_text import markup, print_line
from pipelines.errors import EXIT_REFUSED, EXIT_UNAVAILABLE
from pipelines.ports import Ports
from pipelines.versions.reading import read_standing
from pipelines.versions.records import put_right
from pipelines.versions.standing import Difference, differences


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser(
        "reconcile", help="compare tags and aliases with the ledger and the targets", description=__doc__
    )
    command.add_argument("model", nargs="*", help="only these models (default: every declared one)")
    command.add_argument("--apply", action="store_true", help="put the registry right; the ledger gets a line of it")
    command.add_argument("--by", metavar="NAME", help="who you are (default: AIRWORTHY_ACTOR)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print what differs, by model. 0: nothing does any more; 65: something does; 75: not everything was compared."""
    for model in options.model:
        check_model(model, ports)
    statuses = [_reconcile(model, options, ports) for model in options.model or sorted(ports.catalog.models)]
    return next((status for status in (EXIT_UNAVAILABLE, EXIT_REFUSED) if status in statuses), 0)


def _reconcile(model: str, options: argparse.Namespace, ports: Ports) -> int:
    standing = read_standing(ports, model)
    for text in standing.unreachable:
        print_line(f"{model}: {text}")
    remaining = differences(standing)
    if remaining:
        open_console().print(_table(model, remaining))
    elif not standing.unreachable:
        print_line(f"{model}: ledger and registry agree with the target")
    if remaining and options.apply:
        count = len(remaining)
        put_right(ports, standing, by=options.by or ports.settings.actor)
        remaining = differences(read_standing(ports, model))
        print_line(f"{model}: {max(count - len(remaining), 0)} of {count} put right")
        for difference in remaining:
            hint = "" if difference.repairable else f": {difference.right}"
            print_line(f"{model}: {difference.text}{hint}")
    elif any(difference.repairable for difference in remaining):
        print_line(f"nothing was changed; airworthy reconcile {model} --apply puts it right")
    return EXIT_UNAVAILABLE if standing.unreachable else EXIT_REFUSED if remaining else 0


def _table(model: str, rows: Sequence[Difference]) -> Any:
    from rich.table import Table

    table = Table(title=f"{markup(model)}: what is recorded otherwise than it is", title_justify="left")
    for heading in ("what", "recorded", "right", "because"):
        table.add_column(heading)
    for each in rows:
        table.add_row(*(markup(text) for text in (each.what, each.recorded or "-", each.right or "-", each.because)))
    return table

"""`airworthy ledger` lists the lines of the ledger, checks it, and seals a broken stretch in the name of a person."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from pipelines.cli import arguments
from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.names import check_order, person_named
from pipelines.cli.progress import open_console
from pipelines.cli.terminal_text import print_line, print_text, visible
from pipelines.errors import EXIT_REFUSED, unknown_name
from pipelines.ledger.seals import SEAL_KIND, read_seals
from pipelines.ledger.summary import summary
from pipelines.ledger.version_state import subjects
from pipelines.ports import LedgerEntry, Ports

SHOWN_LINES = 50


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("ledger", help="list, check or repair the ledger", description=__doc__)
    parser.add_argument("--model", help="only lines about this model, dataset or table")
    parser.add_argument("--version", help="only lines about this version (the registry's number)")
    parser.add_argument("--kind", action="append", help="only this kind, for example gate; may be repeated")
    parser.add_argument("--actor", help="only lines of this person or program")
    parser.add_argument("--since", type=arguments.first_moment, metavar="TIME", help="a day or an ISO time, UTC")
    parser.add_argument(
        "--until", type=arguments.last_moment, metavar="TIME", help="a day (included) or an ISO time, UTC"
    )
    parser.add_argument(
        "--last", type=arguments.count, default=SHOWN_LINES, metavar="N", help="the newest N (default: %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="every line")
    parser.add_argument("--json", action="store_true", help="whole lines as JSON, for a program to read")
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(metavar="<command>")
    check = commands.add_parser("check", help="name every fault of the chain and every sealed stretch")
    check.set_defaults(run=run_check)
    repair = commands.add_parser("repair", help="seal what is broken, so that it proves nothing and blocks nothing")
    repair.add_argument(
        "--because",
        type=arguments.sentence,
        required=True,
        metavar="REASON",
        help="what happened; it is written in the ledger",
    )
    repair.add_argument("--by", metavar="NAME", help="who you are (default: AIRWORTHY_ACTOR)")
    repair.set_defaults(run=run_repair)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print the lines that match all filters, oldest first."""
    entries = ports.ledger.entries()
    _check_filters(options, entries, ports)
    about = subjects(entries)
    matching = [entry for entry in entries if _matches(options, entry, about[entry.number])]
    shown = matching if options.all else matching[-options.last :]
    if options.json:
        for entry in shown:
            print(entry.model_dump_json())
        return 0
    print_lines(shown)
    left_out = len(matching) - len(shown)
    earlier = f", {left_out} earlier ones are left out (--all)" if left_out else ""
    print_line(f"{len(shown)} of {len(entries)} lines{earlier}; times are UTC")
    return 0


def print_lines(entries: Sequence[LedgerEntry]) -> None:
    """Two rows a line: its columns, and below them what it says."""
    width, digits = open_console().width, len(str(entries[-1].number)) if entries else 0
    kinds = max((len(entry.kind) for entry in entries), default=0)
    for entry in entries:
        subject = f"{entry.model} {entry.version}" if entry.version else entry.model
        at = entry.at.astimezone(UTC)
        row = visible(
            f"{entry.number:>{digits}}  {at:%Y-%m-%d %H:%M:%S}  {entry.kind:<{kinds}}  {subject}  {entry.actor}"
        )
        print_text(row if len(row) <= width else hanging_lines(row[: digits + 2], row[digits + 2 :], width))
        if text := summary(entry):
            print_text(hanging_lines(" " * (digits + 2), text, width))


def run_check(_: argparse.Namespace, ports: Ports) -> int:
    """Print every fault and every seal. 0: the ledger is whole; 65: it is not."""
    faults, width = ports.ledger.faults(), open_console().width
    for fault in faults:
        print_text(hanging_lines("FAIL  ", fault, width))
    for seal in read_seals(ports.ledger.entries(kind=SEAL_KIND)):
        print_text(hanging_lines("-     ", f"nothing is proven by {seal}", width))
    if faults:
        cure = "restore the ledger from a backup, or seal what is broken: airworthy ledger repair --because …"
        print_text(hanging_lines("", cure, width))
        return EXIT_REFUSED
    print_line("the ledger is whole")
    return 0


def run_repair(options: argparse.Namespace, ports: Ports) -> int:
    """Seal every broken stretch and say which versions it takes the proof from."""
    person = person_named(options.by, ports.settings, "a repair bears")
    seals = read_seals(ports.ledger.repair(options.because, person=person))
    if not seals:
        print_line("the ledger is whole; nothing was sealed")
        return 0
    width = open_console().width
    for seal in seals:
        what = [f"line {seal.number} seals {seal.stretch_text}, so that nothing is proven by it any more"]
        if seal.heads:
            what.append(f"{len(seal.heads)} heads of lost or rewritten lines are declared void")
        if seal.triggers:
            what.append(f"guards put back: {', '.join(seal.triggers)}")
        print_text(hanging_lines("", "; ".join(what), width))
    versions = {f"{line.model} {line.version}" for seal in seals for line in seal.lines if line.version}
    if versions:
        text = f"these may have to be trained anew, see `airworthy verify`: {', '.join(sorted(versions))}"
        print_text(hanging_lines("", text, width))
    return 0


def _matches(options: argparse.Namespace, entry: LedgerEntry, version: str | None) -> bool:
    """``version`` is the one that the line is about."""
    return (
        options.model in (None, entry.model)
        and options.version in (None, version)
        and entry.kind in (options.kind or [entry.kind])
        and options.actor in (None, entry.actor)
        and (options.since is None or entry.at >= options.since)
        and (options.until is None or entry.at <= options.until)
    )


def _check_filters(options: argparse.Namespace, entries: Sequence[LedgerEntry], ports: Ports) -> None:
    """``Refused`` for a name that no line has, with the names that there are."""
    check_order(options.since, options.until)
    models = {entry.model for entry in entries} | set(ports.catalog.models)
    if options.model is not None and options.model not in models:
        raise unknown_name(f"there is no model {options.model}", sorted(models))
    if options.version is not None:
        of = [entry for entry in entries if options.model in (None, entry.model)]
        versions = {version for version in subjects(of).values() if version}
        if options.version not in versions:
            whose = f"{options.model} has" if options.model else "no model has"
            article = "no " if options.model else "a "
            raise unknown_name(f"{whose} {article}version {options.version}", sorted(versions))
    kinds = {entry.kind for entry in entries}
    for kind in options.kind or []:
        if kind not in kinds:
            raise unknown_name(f"the ledger has no kind {kind}", sorted(kinds))
    actors = {entry.actor for entry in entries}
    if options.actor is not None and options.actor not in actors:
        raise unknown_name(f"the ledger has no actor {options.actor}", sorted(actors))

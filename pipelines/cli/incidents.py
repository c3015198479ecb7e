"""`airworthy incidents` lists incidents; `airworthy incidents ack` takes one, in the name of a person."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pipelines.cli import arguments
from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.names import person_named
from pipelines.cli.progress import open_console
from pipelines.cli.terminal_text import print_line, print_text, visible
from pipelines.errors import unknown_name
from pipelines.incidents.record import take_over
from pipelines.messages.incident import Incident
from pipelines.ports import Ports
from pipelines.rules.incident_text import full_text, since
from pipelines.spec.alerts import INCIDENT_KINDS
from pipelines.verdict import SEVERITIES


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("incidents", help="list incidents, or take one", description=__doc__)
    parser.add_argument("--model", help="only those of this model, dataset or view")
    parser.add_argument("--kind", choices=sorted(INCIDENT_KINDS), metavar="KIND", help="only this kind")
    parser.add_argument("--severity", choices=SEVERITIES, help="only this severity and worse ones")
    parser.add_argument("--all", action="store_true", help="those that are over, too")
    parser.add_argument("--number", type=arguments.count, metavar="N", help="everything about this one")
    parser.add_argument("--json", action="store_true", help="one line of JSON each, for a program to read")
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(metavar="<command>")
    ack = commands.add_parser("ack", help="take an incident, so that it escalates no more")
    ack.add_argument("number", type=arguments.count, help="its number")
    ack.add_argument("--why", type=arguments.sentence, required=True, metavar="REASON", help="what you do about it")
    ack.add_argument("--by", metavar="NAME", help="who you are (default: AIRWORTHY_ACTOR)")
    ack.set_defaults(run=run_ack)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print the incidents that match all filters, oldest first."""
    incidents = ports.incidents.read(active_only=not options.all and options.number is None)
    if options.number is not None:
        return _print_one(options, incidents, ports)
    names = {incident.model for incident in incidents} | set(ports.catalog.models) | set(ports.catalog.datasets)
    if options.model is not None and options.model not in names:
        raise unknown_name(f"there is no model {options.model}", sorted(names))
    shown = [incident for incident in incidents if _matches(options, incident)]
    if options.json:
        _print_json(shown)
        return 0
    print_incidents(shown)
    others = len(incidents) - len(shown)
    print_line(f"{len(shown)} incident(s)" + (f", {others} others do not match" if others else "") + "; times are UTC")
    for channel, count in ports.incidents.waiting().items():
        print_line(f"{count} message(s) wait for the channel {channel}")
    return 0


def print_incidents(incidents: Sequence[Incident]) -> None:
    """Two rows or more each: its columns, and below them what happened."""
    width, digits = open_console().width, max((len(str(incident.number)) for incident in incidents), default=0)
    for incident in incidents:
        about = f"{incident.model} {incident.kind}"
        row = visible(f"{incident.number:>{digits}}  {incident.severity:<8}  {incident.status:<12}  {about}")
        print_text(row if len(row) <= width else hanging_lines(row[: digits + 2], row[digits + 2 :], width))
        taken = f"; taken by {incident.acknowledged_by}: {incident.acknowledged_because}"
        text = f"{incident.what}; since {since(incident)}{taken if incident.acknowledged_by else ''}"
        print_text(hanging_lines(" " * (digits + 2), text, width))


def run_ack(options: argparse.Namespace, ports: Ports) -> int:
    """Take an incident; it escalates no more, and those who were told hear who has it."""
    name = person_named(options.by, ports.settings, "an acknowledgement bears")
    incident = take_over(ports, options.number, person=name, because=options.why)
    text = f"incident {incident.number} of {incident.model} is taken by {name}: {incident.what}"
    print_text(hanging_lines("", text, open_console().width))
    return 0


def _print_one(options: argparse.Namespace, incidents: Sequence[Incident], ports: Ports) -> int:
    known = {incident.number: incident for incident in incidents}
    if options.number not in known:
        raise unknown_name(f"there is no incident {options.number}", [str(number) for number in known])
    incident = known[options.number]
    if options.json:
        _print_json([incident])
        return 0
    print_incidents([incident])
    for line in full_text(incident, ports.catalog.alerts, "").splitlines():
        name, _, text = line.partition(": ")
        print_text(hanging_lines(f"{name + ':':<14}", text, open_console().width))
    return 0


def _print_json(incidents: Sequence[Incident]) -> None:
    for incident in incidents:
        print(incident.model_dump_json())


def _matches(options: argparse.Namespace, incident: Incident) -> bool:
    least = SEVERITIES.index(options.severity) if options.severity else 0
    return (
        options.model in (None, incident.model)
        and options.kind in (None, incident.kind)
        and SEVERITIES.index(incident.severity) >= least
        and (options.all or not incident.is_history)
    )

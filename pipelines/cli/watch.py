"""`airworthy watch` looks at incidents outside of Airflow, so that people are told when Airflow itself is dead."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.cli import arguments
from pipelines.cli.airflow_connections import read_connection
from pipelines.cli.terminal_text import print_line
from pipelines.errors import EXIT_UNAVAILABLE, AirworthyError
from pipelines.incidents.conditions import seen_by_the_watch
from pipelines.incidents.look import last_look, look
from pipelines.logs.output import configure
from pipelines.ports import Ports
from pipelines.wiring import open_ports

log = logging.getLogger(__name__)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "watch", help="tell people of incidents, also when Airflow is dead", description=__doc__
    )
    parser.add_argument(
        "--every",
        type=arguments.positive,
        default=15.0,
        metavar="SECONDS",
        help="time between looks (default: %(default)g)",
    )
    parser.add_argument("--once", action="store_true", help="look once and end")
    parser.add_argument("--check", action="store_true", help="say whether a watch looks; exit code 75 if none does")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Look until it is killed; what does not answer is logged, and the next look tries again."""
    if options.check:
        return check(ports)
    configure("watch")
    started = ports.clock()
    while True:
        # Opened anew, so that a declaration that was changed counts.
        counts = look_once(lambda: open_ports(ports.settings, connections=read_connection), started)
        if options.once:
            return print_look(counts, ports)
        time.sleep(options.every)


def check(ports: Ports) -> int:
    """Print when the watch looked last. 0: just now; 75: never, or longer ago than ``silent_minutes``."""
    last = last_look(ports, "watch")
    print_line(f"the watch looked last at {last:%Y-%m-%d %H:%M:%S} UTC" if last else "no watch has looked yet")
    is_silent = last is None or ports.clock() - last > timedelta(minutes=ports.catalog.alerts.silent_minutes)
    return EXIT_UNAVAILABLE if is_silent else 0


def print_look(counts: Mapping[str, int] | None, ports: Ports) -> int:
    """Print what one look did and how many incidents there are. 0; 75 if it failed, as the log says."""
    if counts is None:
        return EXIT_UNAVAILABLE
    incidents = len(ports.incidents.read(active_only=True))
    print_line(
        f"looked: {counts['lines']} new ledger line(s) read, {counts['messages']} message(s) sent, "
        f"{incidents} incident(s) open{' (`airworthy incidents` lists them)' if incidents else ''}"
    )
    return 0


def look_once(opened: Callable[[], Ports], started: datetime) -> Mapping[str, int] | None:
    """One look, with what it counted; whatever fails ends this one and no later one, and None is returned."""
    try:
        ports = opened()
        counts = look(
            ports,
            observer="watch",
            findings=seen_by_the_watch(ports, started),
            airflow=os.environ.get("AIRFLOW__API__BASE_URL", "").rstrip("/"),
        )
    except AirworthyError as error:
        log.warning("the look failed and is tried again: %s", error)
        return None
    except Exception:  # a fault of one look must not leave everybody unwatched
        log.exception("the look failed and is tried again")
        return None
    if any(counts.values()):
        log.info("%(lines)d ledger line(s) read, %(messages)d message(s) sent", counts)
    return counts

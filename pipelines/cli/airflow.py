"""`airworthy airflow …` is the command line of the embedded Airflow, with the environment that the stack runs in."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pipelines.cli.airflow_database import database_file
from pipelines.cli.components import environment, program_path
from pipelines.errors import Refused
from pipelines.ports import Ports


def add_parser(subparsers: Any) -> None:
    own = subparsers.add_parser("airflow", help="run Airflow's own command line on the embedded stack", add_help=False)
    own.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="what follows `airflow`")
    own.set_defaults(run=_run)


def _run(options: argparse.Namespace, ports: Ports) -> int:
    """Never returns: Airflow's program takes the place of this process, with its output and exit status."""
    database = database_file(ports.settings)
    if not database.exists():
        raise Refused(f"there is no embedded Airflow at {database}; start the stack once with `airworthy up`")
    os.execve(program_path("airflow"), ["airflow", *options.arguments], environment(ports.settings))  # noqa: S606 - no shell

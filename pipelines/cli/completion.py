"""`airworthy completion <shell>` prints a script by which the shell completes commands and options."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.ports import Ports


def add_parser(subparsers: Any) -> None:
    import shtab

    own = subparsers.add_parser("completion", help="print the script that completes commands in a shell")
    own.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)
    own.set_defaults(run=_run)


def _run(options: argparse.Namespace, _: Ports) -> int:
    import shtab

    from pipelines.cli.main import parser

    print(shtab.complete(parser(), shell=options.shell))
    return 0

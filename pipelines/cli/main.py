"""`airworthy <command>` imports the module of every command and runs the one that was named."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper
from typing import Any

from pipelines.cli.airflow_connections import read_connection
from pipelines.cli.terminal_text import print_line, print_text
from pipelines.errors import EXIT_UNAVAILABLE, AirworthyError
from pipelines.settings import git_revision, let_waiting_threads_sleep
from pipelines.wiring import open_ports

COMMAND_GROUPS = {
    "the embedded stack": {
        "up": "pipelines.cli.stack",
        "stop": "pipelines.cli.stack",
        "status": "pipelines.cli.status",
        "watch": "pipelines.cli.watch",
        "airflow": "pipelines.cli.airflow",
        "reader": "pipelines.cli.reader",
    },
    "models and data": {
        "adopt": "pipelines.cli.adopt",
        "check": "pipelines.cli.check",
        "try": "pipelines.cli.try_model",
        "ask": "pipelines.cli.ask",
        "deliver": "pipelines.cli.deliver",
        "verify": "pipelines.cli.verify",
        "lineage": "pipelines.cli.lineage",
        "features": "pipelines.cli.features",
        "ledger": "pipelines.cli.ledger",
        "incidents": "pipelines.cli.incidents",
        "reproduce": "pipelines.cli.reproduce",
        "rollback": "pipelines.cli.rollback",
        "reconcile": "pipelines.cli.reconcile",
        "restore": "pipelines.cli.restore",
        "quarantine": "pipelines.cli.quarantine",
        "prove": "pipelines.cli.prove",
    },
    "serving": {
        "gateway": "pipelines.cli.gateway",
        "exporter": "pipelines.cli.exporter",
        "alert-rules": "pipelines.cli.alert_rules",
    },
    "the demonstration": {
        "demo": "pipelines.demo.story",
        "land": "pipelines.demo.land",
        "replay": "pipelines.demo.replay",
        "traffic": "pipelines.demo.traffic",
    },
    "the shell": {"completion": "pipelines.cli.completion"},
}
"""Heading to commands, each with the module that has its ``add_parser(subparsers)``."""


class GroupedParser(argparse.ArgumentParser):
    """Lists the commands by group."""

    def format_help(self) -> str:
        [commands] = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        named = {action.dest: action for action in commands._choices_actions}
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        sections = {heading: [named[name] for name in group] for heading, group in COMMAND_GROUPS.items()}
        for heading, actions in {**sections, "options": self._optionals._group_actions}.items():
            formatter.start_section(heading)
            formatter.add_arguments(actions)
            formatter.end_section()
        return formatter.format_help()


class ShowVersion(argparse.Action):
    """Asks git for the revision only when somebody wants to know."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print_line(f"airworthy {version('airworthy')} ({git_revision()})")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    root = GroupedParser(prog="airworthy", description="Keeps machine-learning models airworthy on Apache Airflow.")
    root.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and the revision of the code")
    subparsers = root.add_subparsers(
        dest="command", required=True, metavar="<command>", parser_class=argparse.ArgumentParser
    )
    for module in dict.fromkeys(module for group in COMMAND_GROUPS.values() for module in group.values()):
        import_module(module).add_parser(subparsers)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status is 0, or the error's own (65 refused, 75 unavailable)."""
    let_waiting_threads_sleep()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a sign that the terminal cannot show costs no output
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options, open_ports(connections=read_connection))
        sys.stdout.flush()
        return status
    except AirworthyError as error:
        print_text(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print_line("interrupted; background processes keep running (`airworthy stop` ends them)", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads the output has enough of it
        _discard_output()
        return 0
    except OSError as error:  # a full disk, a folder that belongs to somebody else
        print_text(error, file=sys.stderr)
        _discard_output()
        return EXIT_UNAVAILABLE


def _discard_output() -> None:
    """Python flushes once more at its end, and would print a second error."""
    with suppress(OSError):  # there is no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())

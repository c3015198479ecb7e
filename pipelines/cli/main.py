"""`airworthy <command>` imports the module of every command and runs the one that was named."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from pipelines.errors import AirworthyError
from pipelines.settings import let_waiting_threads_sleep
from pipelines.wiring import open_ports

COMMANDS = {
    "up": "pipelines.cli.stack",
    "stop": "pipelines.cli.stack",
    "demo": "pipelines.demo.story",
    "status": "pipelines.cli.status",
    "land": "pipelines.demo.land",
    "replay": "pipelines.demo.replay",
    "traffic": "pipelines.demo.traffic",
    "gateway": "pipelines.cli.gateway",
    "rollback": "pipelines.cli.rollback",
    "restore": "pipelines.cli.restore",
    "verify": "pipelines.cli.verify",
    "reproduce": "pipelines.cli.reproduce",
}
"""Command to the module that has its ``add_parser(subparsers)``."""


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="airworthy", description="Keeps machine-learning models airworthy.")
    subparsers = root.add_subparsers(dest="command", required=True, metavar="<command>")
    for module in dict.fromkeys(COMMANDS.values()):
        import_module(module).add_parser(subparsers)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status is 0, or the error's own (65 refused, 75 unavailable)."""
    let_waiting_threads_sleep()
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options, open_ports())
        return status
    except AirworthyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; background processes keep running (`airworthy stop` ends them)", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())

"""`airworthy <command>`: each command lives in the module that is named after it and is imported when asked for."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from pipelines.errors import AirworthyError
from pipelines.wiring import open_ports

COMMANDS = {
    "up": "stack",
    "stop": "stack",
    "demo": "demo",
    "status": "status",
    "land": "land",
    "replay": "replay",
    "traffic": "traffic",
    "gateway": "gateway",
    "rollback": "rollback",
    "restore": "restore",
    "verify": "verify",
    "reproduce": "reproduce",
}
"""Command to the module of this package that has ``add_parser(subparsers)``."""


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="airworthy", description="Keeps machine-learning models airworthy.")
    subparsers = root.add_subparsers(dest="command", required=True, metavar="<command>")
    for module in dict.fromkeys(COMMANDS.values()):
        import_module(f"pipelines.cli.{module}").add_parser(subparsers)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status is 0, or the error's own (65 refused, 75 unavailable)."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options, open_ports())
        return status
    except AirworthyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped by hand; what runs in the background goes on (`airworthy stop` ends it)", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())

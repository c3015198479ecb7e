"""`airworthy alert-rules` writes Prometheus' recording and alert rules for the declared models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from pipelines.cli import arguments
from pipelines.cli.terminal_text import print_line
from pipelines.observability.alert_rules import rule_groups
from pipelines.ports import Ports

HEAD = "# Written by `airworthy alert-rules` from `monitoring.serving` of the models; write it again after a change.\n"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("alert-rules", help="write Prometheus' rules for the models", description=__doc__)
    parser.add_argument("--into", type=arguments.new_file, help="file to write; none: print the rules")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, ports: Ports) -> int:
    text = rules_text(ports)
    if options.into is None:
        print(text, end="")
    else:
        path: Path = options.into
        path.write_text(text)
        print_line(f"wrote the rules of {len(ports.catalog.models)} model(s) into {path}")
    return 0


def rules_text(ports: Ports) -> str:
    """The rules file as YAML."""
    objectives = {name: spec.monitoring.serving for name, spec in ports.catalog.models.items()}
    return HEAD + yaml.safe_dump(rule_groups(objectives), sort_keys=False, width=120, allow_unicode=True)

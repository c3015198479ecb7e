"""`airworthy try MODEL FILE…` takes files from landing to the gates in seconds, without Airflow, and writes nothing.

Without a file it takes every complete delivery of the installation's sources, and what is held of removed ones.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from pipelines.cli.arguments import last_moment
from pipelines.cli.progress import TEXT_WIDTH, open_console
from pipelines.cli.scratch_deliveries import copy_deliveries, deliver_files
from pipelines.cli.terminal_text import print_text
from pipelines.cli.trial import run_trial, scratch_ports
from pipelines.cli.trial_page import trial_lines
from pipelines.errors import EXIT_REFUSED, Refused
from pipelines.ports import Ports
from pipelines.spec.plain_yaml import load

END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
"""By then every label is known that the files tell."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "try", help="take files to the gates in seconds, without Airflow", description=__doc__
    )
    parser.add_argument("model")
    parser.add_argument("files", nargs="*", metavar="FILE", help="of its sources; SOURCE=FILE says of which")
    parser.add_argument("--as-of", type=last_moment, help="train on the labels known then; else on all of the files")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the model for this trial, as in training.estimator.rounds=50",
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON, for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print what happened; 0 if nothing would be refused, else 65."""
    changes = dict(_change(text) for text in options.set)
    with scratch_ports(ports, options.model, changes) as scratch:
        dataset = scratch.catalog.dataset_of(options.model)
        if options.files:
            deliveries = deliver_files(dataset, options.files, scratch.store)
        else:
            deliveries = copy_deliveries(dataset, ports.store, scratch.store, ports.clock())
        trial = run_trial(options.model, deliveries, scratch, as_of=options.as_of or END_OF_TIME)
        spec, view = scratch.catalog.model(options.model), scratch.catalog.view_of(options.model)
        if options.json:
            print(json.dumps(trial.facts()))
        else:
            width = open_console(TEXT_WIDTH).width
            for line in trial_lines(trial, spec, view, width):
                print_text(line)
    return EXIT_REFUSED if trial.refused else 0


def _change(text: str) -> tuple[str, Any]:
    place, sign, value = text.partition("=")
    if not sign or not place.strip():
        raise Refused(f"--set {text} sets nothing; write a field and its value, as in training.seed=7")
    return place.strip(), load(value)

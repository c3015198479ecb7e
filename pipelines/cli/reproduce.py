"""`airworthy reproduce <model> <version>` trains a registered version again and compares the digests of both models."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.names import check_model
from pipelines.cli.terminal_text import print_line
from pipelines.errors import EXIT_REFUSED
from pipelines.messages.training import ReproduceRequest
from pipelines.ports import Ports
from pipelines.rules.reproducible_training import judge_reproduction


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("reproduce", help="retrain a version and compare digests", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("version", help="the registry's number")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print both digests and whatever differed around the training. 0: bit-identical; 65: another model."""
    check_model(options.model, ports)
    from pipelines.steps import reproduce_model

    result = reproduce_model.run(ReproduceRequest(model=options.model, version=options.version), ports)
    print_line(f"{result.model} version {result.version}, trained again on snapshot {result.snapshot}")
    print_line(f"  registered  {result.registered_digest}")
    print_line(f"  reproduced  {result.reproduced_digest}")
    if result.registered_judged_digest or result.reproduced_judged_digest:
        print_line("these were trained again on all rows after the models that were judged:")
        print_line(f"  registered  {result.registered_judged_digest or '(none)'}")
        print_line(f"  reproduced  {result.reproduced_judged_digest or '(none)'}")
    for difference in result.differences:
        print_line(f"  differs     {difference}")
    same = judge_reproduction(result).passed
    print_line("bit-identical" if same else "NOT the same model")
    return 0 if same else EXIT_REFUSED

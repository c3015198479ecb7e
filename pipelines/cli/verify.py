"""`airworthy verify <model> <version>` checks a model version's certificate item by item and prints every fault."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli import arguments
from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.names import check_version
from pipelines.cli.progress import open_console
from pipelines.cli.terminal_text import print_line, print_text
from pipelines.errors import EXIT_REFUSED, Refused
from pipelines.ledger.version_state import read_versions
from pipelines.ports import Ports
from pipelines.versions.reading import read_standing


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("verify", help="check the certificate of a model version", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("version", help="the registry's number")
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="NUMBER:DIGEST",
        help="a head of the ledger that was kept elsewhere; the ledger must still hold it (may be repeated)",
    )
    parser.add_argument("--offline", action="store_true", help="do not ask the registry; ledger and store suffice")
    parser.add_argument("--write", type=arguments.new_file, metavar="FILE", help="write the certificate as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print each check. 0: all hold; 65: one does not."""
    check_version(options.model, options.version, ports, ask_registry=not options.offline)
    from pipelines.steps.certificate.verification import verify

    certificate, checks = verify(
        options.model, options.version, ports, heads=options.head, ask_registry=not options.offline
    )
    columns = open_console().width
    named = f" ({certificate.semantic_version})" if certificate.semantic_version else ""
    print_line(f"{options.model} version {options.version}{named}")
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = {"ok": "ok  ", "FAIL": "FAIL", "noted": "-   "}[check.state]
        print_text(hanging_lines(f"  {mark}  {check.name:<{width}}  ", check.detail, columns))
    failed = [check for check in checks if check.state == "FAIL"]
    held = "does NOT hold" if failed else "holds"
    print_text(hanging_lines("", f"the certificate {held}; head of the ledger {certificate.head}", columns))
    if known := read_versions(ports.ledger.entries(model=options.model)).get(options.version):
        print_text(hanging_lines("", f"by the ledger, version {options.version} is {known.text}", columns))
    for text in [] if options.offline else _disagreements(options.model, ports):
        print_text(hanging_lines("", f"disagreement: {text}", columns))
    if any(check.name == "ledger" for check in failed):
        print_text(hanging_lines("", "airworthy ledger check names each fault of the ledger and the way out", columns))
    if options.write:
        options.write.write_text(certificate.model_dump_json(indent=2), encoding="utf-8")
    return EXIT_REFUSED if failed else 0


def _disagreements(model: str, ports: Ports) -> list[str]:
    """What the target serves otherwise than ledger and registry say; none of a model that is declared no more."""
    try:
        return read_standing(ports, model).disagreements
    except Refused:
        return []

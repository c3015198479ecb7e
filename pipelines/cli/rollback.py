"""`airworthy rollback <model>` puts the previous version back at once, with Airflow and MLflow down if need be."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.errors import AirworthyError
from pipelines.ports import Ports


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("rollback", help="put the previous version of a model back")
    command.add_argument("model")
    command.add_argument("--reason", required=True, help="why; it is written into the ledger")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Traffic first; the ledger and the registry follow, and what of them is down is named, not waited for."""
    before = ports.endpoint.state(options.model)
    key = f"cli/{options.model}/{before.generation}"
    after = ports.endpoint.rollback(options.model, key=key, reason=options.reason)
    print(f"{options.model}: version {after.version} is live again (was {before.version})")
    details = {"from": before.version, "to": after.version, "reason": options.reason, "generation": after.generation}

    def tell_ledger() -> None:
        ports.ledger.append("rollback", options.model, after.version, details, actor=ports.settings.actor, key=key)

    def tell_registry() -> None:
        ports.registry.move_alias(options.model, "previous", after.previous)
        ports.registry.move_alias(options.model, "champion", after.version)

    for what, tell in (("ledger", tell_ledger), ("registry", tell_registry)):
        try:
            tell()
        except AirworthyError as error:
            print(f"the {what} does not know yet, run the {options.model}__rollback DAG to tell it: {error}")
    return 0

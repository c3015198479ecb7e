"""`airworthy rollback <model>` ends a rollout or restores the previous version, also with Airflow and MLflow down."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any

from pipelines.cli import arguments
from pipelines.cli.names import check_model
from pipelines.cli.terminal_text import print_line, print_text
from pipelines.errors import AirworthyError, Refused, Unavailable
from pipelines.ports import DeploymentTarget, Ports
from pipelines.rollout.rollback_plan import PlannedRollback, rollback_reason
from pipelines.rules.release_rollback import judge_rollback, plan_rollback
from pipelines.versions.reading import earlier_rollbacks, serving_target
from pipelines.versions.records import append_rollback, update_aliases, update_status


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("rollback", help="end a model's rollout, or else restore its previous version")
    command.add_argument("model")
    command.add_argument("--reason", type=arguments.sentence, required=True, help="why; it is written into the ledger")
    command.add_argument("--version", help="roll back this version or nothing (default: the newest one)")
    command.add_argument("--dry-run", action="store_true", help="say which version would answer next; change nothing")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Traffic first; ledger and registry follow, and one that is down is named, not waited for."""
    model, target = options.model, open_target(options.model, ports)
    before = target.rollout(model)
    verdict, rollback = judge_rollback(before, options.version), plan_rollback(before)
    if rollback is None or not verdict.passed:
        with suppress(Unavailable):  # the ledger knows models that are declared no more
            check_model(model, ports)
        raise Refused(f"nothing of {model} is rolled back", verdict.reasons)
    print_line(f"{model}: {rollback}")
    for warning in earlier_rollbacks(ports, model, rollback.to):
        print_line(f"warning: {warning}")
    if options.dry_run:
        print_line("this was a dry run: nothing has changed")
        return 0
    key, actor = f"cli/{model}/{before.generation}", ports.settings.actor
    roll_back(target, model, rollback, options.reason, key, actor)
    after = target.state(model)
    lost = (
        f"version {rollback.takes} has lost its traffic" if rollback.takes else f"rollout {rollback.rollout_id} is over"
    )
    print_line(f"{model}: {lost}, version {after.version} gets all traffic")
    later = f"run the {model}__rollback DAG to update it"
    if rollback.takes != before.champion:
        later = f"the run of {model}__deploy that it belongs to updates it"
    try:
        line = append_rollback(
            ports,
            model,
            taken_back=rollback.takes,
            put_back=after.version,
            reason=options.reason,
            traffic=before.split.get(rollback.takes or "", 0),
            actor=actor,
            key=key,
            generation=after.generation,
            rollout_id=rollback.rollout_id,
        )
    except AirworthyError as error:
        line = None
        print_text(f"the ledger is not updated yet, {later}: {error}")
    try:
        update_aliases(ports, after)
        if line is not None:
            update_status(ports, line)
    except AirworthyError as error:
        print_text(f"the registry is not updated yet, `airworthy reconcile {model} --apply` updates it: {error}")
    return 0


def open_target(model: str, ports: Ports) -> DeploymentTarget:
    """The declared target; the gateway, if the declaration has faults or is gone, which is printed."""
    try:
        return ports.target(model)
    except Refused as error:
        print_text(f"using the gateway, since {model} has no valid declaration: {error}")
        return serving_target(ports, model)


def roll_back(
    target: DeploymentTarget, model: str, rollback: PlannedRollback, reason: str, key: str, actor: str
) -> None:
    """One call. ``Refused`` if the rollout was promoted and finished in between."""
    signed_reason = rollback_reason(reason, rollback.takes, actor)
    if rollback.rollout_id is None:
        target.restore_previous(model, key=key, reason=signed_reason)
        return
    ended = target.roll_back(model, rollback.rollout_id, signed_reason, key=f"{key}/{rollback.rollout_id}")
    if ended.phase != "ROLLED_BACK":
        raise Refused(
            f"rollout {rollback.rollout_id} of {model} is {ended.phase}, not rolled back; run the command again"
        )

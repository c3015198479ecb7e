"""`airworthy status` prints what was ingested, trained, decided, released and drifting, and what did not answer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from pipelines.cli.dataset_status import dataset_facts
from pipelines.cli.hanging_lines import print_hanging
from pipelines.cli.model_status import (
    incident_facts,
    monitoring_facts,
    next_rollback,
    rollout_facts,
    version_facts,
    worth_facts,
)
from pipelines.cli.names import check_model, dataset_of
from pipelines.cli.view_page import view_facts
from pipelines.errors import AirworthyError, Unavailable
from pipelines.ledger.required_evidence import is_gate
from pipelines.ledger.version_state import live_version
from pipelines.messages.incident import Incident
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutState
from pipelines.ports import LedgerEntry, Ports, VersionInfo
from pipelines.spec.model import ModelSpec
from pipelines.versions.reading import compare, observation, serving_target

Answer = TypeVar("Answer")


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("status", help="print what is ingested, trained, live and drifting")
    command.add_argument(
        "name", nargs="?", help="everything about this model or dataset; none: one screen about all of them"
    )
    command.add_argument("--json", action="store_true", help="for a program to read")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print the summary; 0 also if a part is down, which the summary says."""
    from pipelines.cli.dataset_page import render_dataset
    from pipelines.cli.progress import open_console

    if options.name and _names_dataset(options.name, ports):
        facts = dataset_facts(dataset_of(options.name, ports), ports)
        if options.json:
            print(json.dumps({"datasets": {options.name: facts}}, indent=2))
        else:
            _print_parts(render_dataset(options.name, facts, in_full=True), open_console())
    elif options.json:
        print(json.dumps(summary(ports, options.name), indent=2, default=str))
    elif options.name:
        print_model(options.name, ports, open_console())
    else:
        print_summary(ports, open_console())
    return 0


def _names_dataset(name: str, ports: Ports) -> bool:
    """Whether a dataset is meant. ``Refused`` for a name that neither a dataset nor a model has."""
    datasets = ports.catalog.declared("datasets")
    if name in datasets and name not in ports.catalog.declared("models"):
        return True
    check_model(name, ports, beside=datasets)
    return False


def summary(ports: Ports, model: str | None = None) -> dict[str, Any]:
    """The state of all data, views and models as plain JSON, with ``refused`` and ``unreachable``.

    ``model``: of the models only this one. A model whose file is gone or has faults (``declared`` false) is there if
    the gateway serves it, or if it is the one.

    ``datasets``: name to ``dataset_facts``. ``views``: name to ``view_facts``.
    ``models``: name to ``versions`` (newest first, each with its
    ``status`` and since when, by whom and why it has it), ``gates``, ``live``, ``recorded`` (the live version by the
    ledger), ``rollout`` (the newest one, if
    any), ``next_rollback``, ``disagreements`` (of ledger and registry with the target), ``outdated_tags``,
    ``incidents``, ``worth`` (``ModelWorth``; None where ledger or incidents did not answer), ``monitoring`` (last
    verdict per check on the live version), ``history`` (on other versions),
    ``broken`` and ``drifted`` (column to number of days, of the live version) and ``retrain_requests``.
    ``refused``: declarations left out, with why. ``unreachable``: what did not answer; its part is then empty.
    """
    unreachable: dict[str, str] = {}

    def ask(what: str, question: Callable[..., Answer], *arguments: Any, default: Answer) -> Answer:
        try:
            return question(*arguments)
        except AirworthyError as error:
            unreachable[what] = str(error)
            return default

    nothing: dict[str, Any] = {}
    datasets = {
        name: ask(f"store ({name})", dataset_facts, dataset, ports, default=nothing)
        for name, dataset in ports.catalog.datasets.items()
    }
    views = {
        name: ask(f"store ({name})", view_facts, view, ports, default=nothing)
        for name, view in ports.catalog.views.items()
    }
    no_entries: list[LedgerEntry] = []
    entries = ask("ledger", lambda: ports.ledger.entries(), default=no_entries)
    no_incidents: list[Incident] = []
    incidents = ask("incidents", ports.incidents.read, default=no_incidents)
    is_recorded = not {"ledger", "incidents"} & set(unreachable)
    models: dict[str, dict[str, Any]] = {}
    undeclared = {} if model else _undeclared_live(entries, ports)
    for name in [model] if model else [*ports.catalog.models, *undeclared]:
        spec = ports.catalog.models.get(name)
        no_versions: list[VersionInfo] | None = None
        no_live: LiveState | None = None
        no_rollout: RolloutState | None = None
        live = undeclared.get(name) or ask(f"endpoint ({name})", _ask_live, name, ports, default=no_live)
        rollout = ask(f"endpoint ({name})", _ask_rollout, name, live, ports, default=no_rollout)
        registered = ask("registry", ports.registry.versions, name, default=no_versions)
        own = [entry for entry in entries if entry.model == name]
        target = None if live is None or (live.version and rollout is None) else observation(live, rollout)
        if "ledger" in unreachable:  # with nothing to compare it with
            target = None
        standing = compare(name, own, target, registered)
        models[name] = {
            "declared": spec is not None,
            "versions": version_facts(standing, registered or []),
            "live": None if live is None else live.model_dump(mode="json", by_alias=True),
            "recorded": live_version(standing.versions),
            "rollout": rollout_facts(rollout, own) if rollout is not None else None,
            "next_rollback": next_rollback(rollout, standing) if rollout is not None else None,
            "disagreements": standing.disagreements,
            "outdated_tags": standing.outdated_tags,
            "incidents": incident_facts(name, incidents),
            "worth": worth_facts(name, spec, own, incidents, ports.clock()) if is_recorded else None,
            **_ledger_status(spec, own),
            **monitoring_facts(own, standing.live),
        }
    refused = {name: str(error) for name, error in ports.catalog.refused.items()}
    return {"datasets": datasets, "views": views, "models": models, "refused": refused, "unreachable": unreachable}


def _undeclared_live(entries: Sequence[LedgerEntry], ports: Ports) -> dict[str, LiveState]:
    """What the gateway serves of models whose files have faults or are gone; none if it does not answer."""
    known = {*ports.catalog.declared("models"), *(entry.model for entry in entries if entry.version)}
    with suppress(Unavailable):
        states = {name: ports.endpoint.state(name) for name in sorted(known - set(ports.catalog.models))}
        return {name: state for name, state in states.items() if state.version}
    return {}


def _ask_live(model: str, ports: Ports) -> LiveState:
    return serving_target(ports, model).state(model)


def _ask_rollout(model: str, live: LiveState | None, ports: Ports) -> RolloutState | None:
    """What the target serves, with its newest rollout, running or ended; None if nothing is live."""
    return serving_target(ports, model).rollout(model) if live is not None and live.version else None


def _ledger_status(spec: ModelSpec | None, entries: list[LedgerEntry]) -> dict[str, Any]:
    """The gates and retrain requests of one model; of several lines on one gate the last one counts."""
    gates = {(entry.version, entry.details.get("gate")): entry for entry in entries if is_gate(entry)}
    retrains = [entry.details for entry in entries if entry.kind == "retrain_request"]
    retrain_requests = [{"day": str(entry.get("day")), "reasons": entry.get("reasons", [])} for entry in retrains]
    return {
        "gates": [
            {
                "version": version,
                "gate": gate,
                "outcome": entry.details.get("outcome"),
                "reasons": entry.details.get("reasons", []),
            }
            for (version, gate), entry in gates.items()
        ],
        "metric": spec.monitoring.performance.metric if spec else None,
        "retrain_requests": retrain_requests,
    }


def print_summary(ports: Ports, console: Any) -> None:
    """Write the summary as tables that a person can read onto a ``rich`` console."""
    from pipelines.cli.status_page import render_summary

    _print_parts(render_summary(summary(ports)), console)


def print_model(model: str, ports: Ports, console: Any) -> None:
    """Write all that is known of one model onto a ``rich`` console."""
    from pipelines.cli.status_page import render_model

    _print_parts(render_model(model, summary(ports, model)), console)


def _print_parts(parts: Iterable[Any], console: Any) -> None:
    """Lines and tables, one below the other."""
    for part in parts:
        if isinstance(part, str):
            print_hanging(part, console)
        else:
            console.print(part)

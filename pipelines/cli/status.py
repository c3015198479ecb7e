"""`airworthy status` prints what was ingested, trained, decided, released and drifting, and what did not answer."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from pipelines import store_paths
from pipelines.errors import AirworthyError
from pipelines.ports import LedgerEntry, Ports
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.model import ModelSpec

Answer = TypeVar("Answer")


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("status", help="print what is ingested, trained, live and drifting")
    command.add_argument("--json", action="store_true", help="for a program to read")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print the summary; 0 also if a part is down, which the summary says."""
    if options.json:
        print(json.dumps(summary(ports), indent=2, default=str))
        return 0
    from pipelines.cli.progress import open_console

    print_summary(ports, open_console())
    return 0


def summary(ports: Ports) -> dict[str, Any]:
    """The state of all data and models as plain JSON: ``datasets``, ``models``, ``refused`` and ``unreachable``.

    ``datasets``: name to source to ``days``, ``first``, ``last``, ``accepted``, ``quarantined`` (rows of the tables)
    and ``reasons`` (rows per reason; a row with two reasons counts under both). ``models``: name to ``versions``
    (newest first), ``gates``, ``live``, ``rollout`` (the newest one, if any), ``monitoring`` (last verdict per check),
    ``drifted`` (column to number of days) and ``retrain_requests``. ``refused``: declarations left out, with why.
    ``unreachable``: what did not answer; its part of the summary is then empty.
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
        name: ask(f"store ({name})", _dataset_status, dataset, ports, default=nothing)
        for name, dataset in ports.catalog.datasets.items()
    }
    no_entries: list[LedgerEntry] = []
    entries = ask("ledger", lambda: ports.ledger.entries(), default=no_entries)
    models: dict[str, dict[str, Any]] = {}
    for name, spec in ports.catalog.models.items():
        no_versions: list[dict[str, Any]] = []
        live = ask(f"endpoint ({name})", _live_status, name, ports, default=nothing)
        models[name] = {
            "versions": ask("registry", _version_status, name, ports, default=no_versions),
            "live": live or None,
            "rollout": ask(f"endpoint ({name})", _rollout_status, name, live, ports, default=None),
            **_ledger_status(spec, [entry for entry in entries if entry.model == name]),
        }
    refused = {name: str(error) for name, error in ports.catalog.refused.items()}
    return {"datasets": datasets, "models": models, "refused": refused, "unreachable": unreachable}


def _dataset_status(dataset: DatasetSpec, ports: Ports) -> dict[str, Any]:
    return {source: _source_status(source, ports) for source in dataset.sources}


def _source_status(source: str, ports: Ports) -> dict[str, Any]:
    table, bad = store_paths.validated(source), store_paths.quarantine(source)
    days = ports.store.days(table)
    accepted = ports.store.read(table, columns=["day"]).height if days else 0
    reasons: Counter[str] = Counter()
    quarantined = 0
    if ports.store.days(bad):
        rows = ports.store.read(bad, columns=["reasons"])["reasons"]
        quarantined = len(rows)
        for row_reasons in rows.to_list():
            reasons.update(set(row_reasons or ["no reason given"]))
    return {
        "days": len(days),
        "first": str(days[0]) if days else None,
        "last": str(days[-1]) if days else None,
        "accepted": accepted,
        "quarantined": quarantined,
        "reasons": dict(reasons.most_common()),
    }


def _version_status(model: str, ports: Ports) -> list[dict[str, Any]]:
    return [
        {
            "version": info.version,
            "semantic": info.semantic,
            "status": info.tags.get("airworthy.status"),
            "aliases": sorted(info.aliases),
            "metrics": info.metrics,
        }
        for info in ports.registry.versions(model)
    ]


def _live_status(model: str, ports: Ports) -> dict[str, Any]:
    return ports.target(model).state(model).model_dump(mode="json", by_alias=True)


def _rollout_status(model: str, live: dict[str, Any], ports: Ports) -> dict[str, Any] | None:
    """The newest rollout, running or ended; None where there was none, or nothing is live."""
    if not live.get("version"):
        return None
    state = ports.target(model).rollout(model)
    return state.model_dump(mode="json", exclude={"probe"}) if state.rollout_id else None


def _ledger_status(spec: ModelSpec, entries: list[LedgerEntry]) -> dict[str, Any]:
    """The ledger's facts on one model; of several lines on one gate, or on one check and day, the last one counts."""
    gates = {(entry.version, entry.details.get("gate")): entry for entry in entries if entry.kind == "gate"}
    checks = [entry.details for entry in entries if entry.kind == "monitoring_verdict"]
    per_day = {(check.get("check"), str(check.get("day"))): check for check in checks}
    latest: dict[str, Any] = {}
    drifted: Counter[str] = Counter()
    for (name, day), check in sorted(per_day.items(), key=lambda item: item[0][1]):
        facts = check.get("facts") or {}
        drifted.update(_drifting_columns(facts))
        latest[str(name)] = {"day": day, "outcome": check.get("outcome"), "reasons": check.get("reasons", [])}
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
        "metric": spec.monitoring.performance.metric,
        "checked_days": len({day for _, day in per_day}),
        "monitoring": latest,
        "drifted": dict(drifted.most_common()),
        "retrain_requests": retrain_requests,
    }


def _drifting_columns(facts: dict[str, Any]) -> list[str]:
    predictions = ["(predictions)"] if facts.get("prediction_drift") == "fail" else []
    return [*facts.get("drifting", []), *predictions]


def print_summary(ports: Ports, console: Any) -> None:
    """Write the summary as tables that a person can read onto a ``rich`` console."""
    from pipelines.cli.status_page import render_summary

    for part in render_summary(summary(ports)):
        console.print(part)

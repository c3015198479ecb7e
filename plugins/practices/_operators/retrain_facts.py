"""Asks the rule of retrainings with what the ledger says of detections, requests and trainings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from pipelines.ledger.training_history import read_training_history
from pipelines.ports import Ports
from pipelines.rules.detections import read_detections, read_requests
from pipelines.rules.retrain_request import judge_retraining
from pipelines.verdict import Outcome, Verdict
from practices._operators import run_context


def judge_day(ports: Ports, model: str, day: date, versions: Mapping[str, str]) -> Verdict:
    """Judge by the verdicts of each check on its version, the earlier requests and the trainings."""
    lines = ports.ledger.entries(model=model)
    checks = [line for line in lines if line.kind == "monitoring_verdict"]
    history = read_detections(line.details for line in checks if line.version == versions.get(line.details["check"]))
    return _judge(ports, model, day, lines, history)


def check_posted_request(ports: Ports, model: str, as_of: date, context: Any) -> None:
    """A training that another system asked for by an event: recorded if it is due, else the run is skipped."""
    name, run = f"{model}:retrain_requested", run_context.run_key(context)
    if not run_context.is_posted(context, name):
        return
    if not ports.catalog.model(model).monitoring.retraining.has_trigger("event"):
        raise AirflowSkipException(f"an event of {name} asked for this training, but {model} declares no trigger event")
    key = f"{run}/event"
    lines = [line for line in ports.ledger.entries(model=model) if line.key != key]
    verdict = _judge(ports, model, as_of, lines, [], event=f"another system posted an event of {name}")
    if verdict.outcome is not Outcome.FAIL:
        raise AirflowSkipException(f"the training that an event asked for is held back: {verdict.facts['holds']}")
    details = {"day": as_of.isoformat(), "reasons": list(verdict.reasons), "facts": verdict.facts, "trigger": "event"}
    ports.ledger.append("retrain_request", model, None, details, actor=ports.settings.actor, key=key)


def _judge(ports: Ports, model: str, day: date, lines: Any, history: Any, event: str | None = None) -> Verdict:
    earlier = [line for line in lines if line.kind == "retrain_request"]
    requests = read_requests((line.details for line in earlier), [line.at for line in earlier])
    spec, view = ports.catalog.model(model), ports.catalog.view_of(model)
    built = ports.ledger.entries(model=view.view, kind="data_verdict")
    timezone = ports.catalog.dataset_of(model).partition.timezone
    known = read_training_history(lines, built, timezone, ports.clock())
    return judge_retraining(history, requests, spec, day, known, event)

"""Starts a model's training, once per incident, after enough consecutive monitored days with the same detection."""

from __future__ import annotations

from datetime import date
from inspect import getdoc
from typing import Any, NoReturn

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.ports import Ports
from pipelines.rules.retrain_request import judge_retraining, read_detections
from pipelines.verdict import Outcome, Verdict
from practices._connections import installation
from practices._operators import links, run_context
from practices._operators.defaults import asset
from practices._operators.record_verdict import push_verdict


class RetrainRequest(TriggerDagRunOperator):
    """Start ``<model>__train`` after enough consecutive monitored days with the same detection; else skip.

    The run's id is ``retrain_request__<day>``, so a repeated task does not start a second one; it uses labels up to the
    end of that day. It is started by name because Airflow starts no unpartitioned DAG from the event of a partitioned
    run. The event of ``<model>:retrain_requested`` records it with ``day`` and ``reasons``.
    """

    template_fields = ("model",)
    ui_color = "#fce5cd"
    operator_extra_links = [links.STARTED_RUN]

    def __init__(self, *, model: str, **arguments: Any) -> None:
        started = {"trigger_dag_id": f"{model}__train", "logical_date": None, "skip_when_already_exists": True}
        super().__init__(**{"doc_md": getdoc(type(self)), **started, **arguments})
        self.model = model

    def execute(self, context: Context) -> None:
        ports, day = installation.open_ports(), run_context.day(context)
        verdict = judge(ports, self.model, day)
        push_verdict(verdict, context)
        if verdict.outcome is not Outcome.FAIL:
            skip_request(verdict, self.model, day)
        reasons = list(verdict.reasons)
        extra: dict[str, Any] = {"day": day.isoformat(), "reasons": reasons}
        actor, live = run_context.actor(context, ports.settings.actor), _live_version(ports, self.model)
        ports.ledger.append(
            "retrain_request",
            self.model,
            live,
            extra | {"facts": verdict.facts},
            actor=actor,
            key=f"{self.model}/{day}",
        )
        self.log.info("A retraining of %s is due:\n%s", self.model, "\n".join(reasons))
        event = context["outlet_events"][asset(self.model, "retrain_requested")]
        event.extra = extra
        event.add_partitions(day.isoformat())
        self.trigger_run_id = f"retrain_request__{day}"
        links.STARTED_RUN.show(self, links.run_page(f"{self.model}__train", self.trigger_run_id))
        self.conf = {"as_of": day.isoformat(), "hypothesis": f"A retraining cures this: {'; '.join(reasons)}"}
        self.note = "\n".join(reasons)
        super().execute(context)


def skip_request(verdict: Verdict, model: str, day: date) -> NoReturn:
    """No retraining is due: skip with the reason, without an event.

    Also where nothing was measured that day: the checks themselves fail if that is a fault or lasts too long.
    """
    if verdict.outcome is Outcome.UNKNOWN:
        raise AirflowSkipException(f"no retraining of {model} is requested on {day}; {'; '.join(verdict.reasons)}")
    detail = f"consecutive detections: {verdict.facts['streaks']}"
    if verdict.facts["held_back"]:
        detail = f"requested already on {verdict.facts['recent_requests']}, held back: {verdict.facts['held_back']}"
    raise AirflowSkipException(f"no retraining of {model} is requested on {day}; {detail}")


def judge(ports: Ports, model: str, day: date) -> Verdict:
    """Judge by the monitoring verdicts on the live version and the earlier requests, from the ledger."""
    lines = ports.ledger.entries(model=model, version=_live_version(ports, model), kind="monitoring_verdict")
    history = read_detections(line.details for line in lines)
    earlier = ports.ledger.entries(model=model, kind="retrain_request")
    requests = [date.fromisoformat(line.details["day"]) for line in earlier]
    return judge_retraining(history, requests, ports.catalog.model(model), day)


def _live_version(ports: Ports, model: str) -> str | None:
    champion = ports.registry.by_alias(model, "champion")
    return champion.version if champion else None

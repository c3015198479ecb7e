"""Starts a model's training when a detection asks for it, once per incident, and again as new rows come in."""

from __future__ import annotations

from datetime import date
from inspect import getdoc
from typing import Any, NoReturn

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.ports import Ports
from pipelines.verdict import Outcome, Verdict
from practices._connections import installation
from practices._operators import links, run_context
from practices._operators.defaults import asset
from practices._operators.record_verdict import push_verdict
from practices._operators.retrain_facts import judge_day


class RetrainRequest(TriggerDagRunOperator):
    """Start ``<model>__train`` when a declared trigger is due, once per incident and within its budget; else skip.

    A loss of performance is the one trigger by default; it is followed by further trainings as new rows come in. Each
    of these tries the newest rows alone beside all of them.

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
        versions = measured_versions(ports, self.model, day, run_context.run_key(context))
        verdict = judge_day(ports, self.model, day, versions)
        push_verdict(verdict, context)
        record_unmended(ports, self.model, day, verdict, versions)
        if verdict.outcome is not Outcome.FAIL:
            skip_request(verdict, self.model, day)
        reasons = list(verdict.reasons)
        extra: dict[str, Any] = {"day": day.isoformat(), "reasons": reasons}
        self._record(ports, day, context, {**extra, "facts": verdict.facts, "measured": versions})
        self.log.info("A retraining of %s is due:\n%s", self.model, "\n".join(reasons))
        self._announce(context, extra)
        self.trigger_run_id = f"retrain_request__{day}"
        links.STARTED_RUN.show(self, links.run_page(f"{self.model}__train", self.trigger_run_id))
        self.conf = training_form(verdict, day)
        self.note = "\n".join(reasons)
        super().execute(context)

    def _announce(self, context: Context, extra: dict[str, Any]) -> None:
        event = context["outlet_events"][asset(self.model, "retrain_requested")]
        event.extra = extra
        event.add_partitions(extra["day"])

    def _record(self, ports: Ports, day: date, context: Context, details: dict[str, Any]) -> None:
        """One line per day, about the version whose days led to it."""
        actor, version = (
            run_context.actor(context, ports.settings.actor),
            next(iter(details["measured"].values()), None),
        )
        ports.ledger.append("retrain_request", self.model, version, details, actor=actor, key=f"{self.model}/{day}")


def training_form(verdict: Verdict, day: date) -> dict[str, Any]:
    """The fields of the training's form; after a loss of performance also the days to try alone."""
    hypothesis = f"A retraining cures this: {'; '.join(verdict.reasons)}"
    recent_days = verdict.facts["recent_days"]
    return {"as_of": day.isoformat(), "hypothesis": hypothesis, **({"recent_days": recent_days} if recent_days else {})}


def skip_request(verdict: Verdict, model: str, day: date) -> NoReturn:
    """No retraining is due: skip with the reason, without an event.

    Also where nothing was measured that day: the checks themselves fail if that is a fault or lasts too long.
    """
    if verdict.outcome is Outcome.UNKNOWN:
        raise AirflowSkipException(f"no retraining of {model} is requested on {day}; {'; '.join(verdict.reasons)}")
    detail = f"consecutive detections: {verdict.facts['streaks']}"
    if verdict.facts["held_back"]:
        detail = f"{verdict.facts['holds']}, held back: {verdict.facts['held_back']}"
    raise AirflowSkipException(f"no retraining of {model} is requested on {day}; {detail}")


def record_unmended(ports: Ports, model: str, day: date, verdict: Verdict, versions: dict[str, str]) -> None:
    """A loss that several trainings did not mend: one line a day, of which an incident is made for a person."""
    losses = verdict.facts["unmended"]
    if not isinstance(losses, list) or not losses:
        return
    after = ports.catalog.model(model).monitoring.retraining.give_up_after
    reasons = [f"{after} trainings or more did not mend it", *losses]
    details = {"day": day.isoformat(), "reasons": reasons}
    version = versions.get("performance_check")
    ports.ledger.append(
        "retraining_unmended", model, version, details, actor=ports.settings.actor, key=f"{model}/{day}/unmended"
    )


def measured_versions(ports: Ports, model: str, day: date, run: str) -> dict[str, str]:
    """The version that was live when each check of this run measured the day, by check.

    The run's own checks hand it on by their lines, so that a release between them and this task changes nothing. A task
    that runs alone takes the newest checks of the day.
    """
    lines = ports.ledger.entries(model=model, kind="monitoring_verdict")
    of_day = [line for line in lines if line.details.get("day") == day.isoformat()]
    own = [line for line in of_day if (line.key or "").startswith(f"{run}/")] or of_day
    live = {str(line.details["check"]): line.details.get("live") or line.version for line in own}
    return {check: str(version) for check, version in sorted(live.items()) if version is not None}

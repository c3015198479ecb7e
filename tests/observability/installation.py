"""A ledger with a model's life and the answers of an Airflow, for tests of what Prometheus gets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pipelines.errors import Unavailable
from pipelines.messages.incident import Incident, IncidentStatus, Severity
from pipelines.ports import Ledger
from pipelines.testing.ports import NoIncidents


class StandingAirflow:
    """Answers like Airflow's API at one moment; ``answers`` False: it is down."""

    def __init__(self, at: datetime, *, answers: bool = True) -> None:
        self._at, self._answers = at, answers

    def _ago(self, **time: float) -> str:
        if not self._answers:
            raise Unavailable("Airflow does not answer")
        return (self._at - timedelta(**time)).isoformat()

    def health(self) -> dict[str, Any]:
        return {
            "metadatabase": {"status": "healthy"},
            "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": self._ago(seconds=4)},
            "triggerer": {"status": "healthy", "latest_triggerer_heartbeat": self._ago(seconds=9)},
            "dag_processor": {"status": None, "latest_dag_processor_heartbeat": None},
        }

    def runs(self, dag_id: str, **_: Any) -> list[dict[str, Any]]:
        assert dag_id == "~"
        ended = {"start_date": self._ago(minutes=20), "end_date": self._ago(minutes=10)}
        earlier = {"start_date": self._ago(hours=2), "end_date": self._ago(hours=1)}
        return [
            {"dag_id": "m__train", "state": "success", **ended},
            {"dag_id": "m__train", "state": "failed", **earlier},
            {"dag_id": "m__deploy", "state": "running", "start_date": self._ago(minutes=5), "end_date": None},
            {"dag_id": "m__deploy", "state": "queued", "start_date": None, "end_date": None},
        ]

    def unanswered_requests(self, dag_id: str) -> list[dict[str, Any]]:
        assert dag_id == "~"
        task = {"task_instance": {"dag_id": "m__deploy"}}
        return [{**task, "created_at": self._ago(minutes=50)}, {**task, "created_at": self._ago(minutes=5)}]

    def import_errors(self) -> list[dict[str, Any]]:
        self._ago()
        return []


class StandingIncidents(NoIncidents):
    """Two incidents that nobody has taken, one that somebody has, one that is over, and three messages that wait."""

    def __init__(self, at: datetime, model: str = "m") -> None:
        self._at, self._model = at, model

    def read(self, *, active_only: bool = False) -> list[Incident]:
        taken = self._incident("drift", "acknowledged", "warning", hours=3)
        over = self._incident("drift_fault", "resolved", "warning", hours=4)
        past = [] if active_only else [over.model_copy(update={"resolved": self._at - timedelta(hours=1)})]
        active = [
            self._incident(kind, "open", "critical", hours=hours)
            for kind, hours in (("performance", 2), ("drift_fault", 1))
        ]
        return [*active, taken, *past]

    def waiting(self) -> dict[str, int]:
        return {"pager": 3}

    def _incident(self, kind: str, status: IncidentStatus, severity: Severity, *, hours: float) -> Incident:
        began = self._at - timedelta(hours=hours)
        times = {"first_seen": began, "opened": began, "last_seen": self._at}
        return Incident(
            model=self._model, kind=kind, subject="1", status=status, severity=severity, what="it is worse", **times
        )


def lines_of_a_model(ledger: Ledger, model: str) -> None:
    """Two versions were trained and released, one was taken back, and the live one is a fifth worse than promised."""

    def add(kind: str, version: str, details: dict[str, Any]) -> None:
        ledger.append(kind, model, version, details, actor="airworthy")

    for version in ("1", "2"):
        add("training", version, {"seconds": 90.0})
        add("gate", version, {"gate": "minimum_metrics_gate", "outcome": "PASS"})
        add("release", version, {"previous": "1"} if version == "2" else {})
    add("rollback", "2", {"from": "2", "to": "1", "reason": "it is slow", "traffic": 10_000})
    worse = {"metric": "roc_auc", "value": 0.6, "reference": 0.75, "drop": 0.15}
    checked = {"check": "performance_check", "day": "2013-03-01", "window": ["2013-02-28", "2013-03-01"]}
    counted = {"right": 700, "labelled": 1000}
    add("monitoring_verdict", "1", {**checked, "outcome": "FAIL", "facts": worse | counted})
    drift = {"faults": ["hour"], "drifting": ["hour", "distance"]}
    add("monitoring_verdict", "1", {"check": "drift_check", "day": "2013-03-01", "outcome": "FAIL", "facts": drift})
    add("retrain_request", "1", {"day": "2013-03-01", "reasons": ["roc_auc is worse"]})

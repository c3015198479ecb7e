"""What each kind of incident is worth, what it causes, when it ends by itself, and what a person does about it."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from pipelines.verdict import Severity

INSTALLATION = "airworthy"
"""The ``model`` of an incident of the whole installation."""


class Kind(NamedTuple):
    """``ends_after``: silence after which it is over, where nothing says that it is well again."""

    severity: Severity
    affects: str
    to_do: str
    causes: tuple[str, ...] = ()
    ends_after: timedelta | None = None


WEEK = timedelta(days=7)
_OF_DATA = (
    "drift_fault",
    "drift",
    "live_input_fault",
    "performance",
    "estimated_performance",
    "monitoring_gap",
    "retrain_requested",
)
KINDS: dict[str, Kind] = {
    "data_refused": Kind(
        "warning",
        "this part of the data is not used, by training and monitoring neither",
        "have the source deliver it again, or correct the contract",
        causes=_OF_DATA,
    ),
    "gate_no": Kind("info", "the candidate; what is live stays", "read the reasons; train again", ends_after=WEEK),
    "gate_unmeasured": Kind(
        "warning", "the candidate; what is live stays", "supply what was not measured, then clear the task"
    ),
    "rollout_undecided": Kind(
        "warning",
        "the candidate keeps its share of the traffic until its lease ends",
        "clear the task to continue, or roll back",
    ),
    "rollout_failed": Kind(
        "warning",
        "the candidate; the champion answers all callers",
        "read the reasons; to try it again, trigger its deployment with this version",
        ends_after=WEEK,
    ),
    "approval_waiting": Kind("info", "the candidate waits", "approve or reject it in Airflow"),
    "approval_no": Kind("info", "the candidate; what is live stays", "train again, or ask again", ends_after=WEEK),
    "rollback": Kind(
        "warning", "callers are answered by the version before", "find out why before the next release", ends_after=WEEK
    ),
    "lease_expired": Kind(
        "warning", "the rollout ended or is held", "look why its run went away; deploy again", ends_after=WEEK
    ),
    "drift_fault": Kind(
        "warning",
        "the live version is asked with a broken column",
        "look at the source of the column; have it corrected and delivered again",
        causes=("performance", "estimated_performance", "drift", "live_input_fault", "retrain_requested"),
    ),
    "live_input_fault": Kind(
        "warning",
        "the live version is sent other values than it was trained for",
        "ask the caller what changed; compare how the value is computed online and offline",
        causes=("performance", "estimated_performance"),
    ),
    "drift": Kind("info", "the live version meets other data than it was trained on", "watch; train if it gets worse"),
    "performance": Kind(
        "critical",
        "the live version answers worse than its certificate promises",
        "roll back if a former version is better, else train again",
        causes=("estimated_performance", "retrain_requested"),
    ),
    "estimated_performance": Kind(
        "info",
        "the live version may answer worse than its certificate promises; its labels have not arrived",
        "look at the columns that moved; wait for the labels",
    ),
    "monitoring_gap": Kind(
        "warning", "nobody knows how well the live version answers", "look which labels or rows are missing"
    ),
    "registry_disagreement": Kind("warning", "what the registry shows is not what callers meet", "airworthy reconcile"),
    "retraining_unmended": Kind(
        "critical",
        "the live version stays worse than its certificate",
        "look at the source, the labels and the features; the loss asks for no other training",
        ends_after=WEEK,
    ),
    "retrain_requested": Kind("info", "a training was started", "nothing, unless it fails", ends_after=WEEK),
    "training_failed": Kind("warning", "there is no new candidate", "read the reasons; correct and train again"),
    "drill_failed": Kind(
        "critical", "a rollback may not work when it is needed", "correct what the drill's log names, then drill again"
    ),
    "drill_overdue": Kind(
        "warning", "nobody knows whether a rollback works", "unpause or trigger the drill's DAG", ends_after=None
    ),
    "orphaned_pod": Kind("info", "nothing; the pod is deleted", "nothing, unless there are many", ends_after=WEEK),
    "ledger_fault": Kind(
        "critical", "no version is deployed until it is whole", "airworthy ledger check, then restore or repair"
    ),
    "log_behind": Kind(
        "warning",
        "monitoring does not see the newest answers",
        "look at the gateway's disk and log",
        causes=("monitoring_gap",),
    ),
    "gateway_silent": Kind(
        "critical",
        "callers may get no answer",
        "look at the gateway's process and log",
        causes=("log_behind", "monitoring_gap", "registry_disagreement"),
    ),
    "airflow_silent": Kind(
        "critical",
        "nothing is ingested, trained, deployed or monitored",
        "look at the scheduler and its log",
        causes=("monitoring_gap", "drill_overdue", "approval_waiting"),
    ),
    "watch_silent": Kind("warning", "nobody would notice if Airflow died", "start `airworthy watch` again"),
    "task_failed": Kind(
        "warning", "what follows the task did not run", "read the task's log, then clear the task", ends_after=WEEK
    ),
    "channel_silent": Kind("warning", "people on this channel hear nothing", "look at its connection"),
}
"""Kinds of ``pipelines.spec.alerts.INCIDENT_KINDS``, each with what is said about it."""


CAUSES_OF: dict[str, tuple[str, ...]] = {
    kind: tuple(cause for cause, about in KINDS.items() if kind in about.causes) for kind in KINDS
}
"""Kind to the kinds that explain it."""

"""`alerts.yaml` declares the channels of an installation; `alerts` of a model or dataset says who hears of what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.fault_text import FieldFaults
from pipelines.spec.relative_limit import PATTERN, limit_faults
from pipelines.verdict import Severity

INCIDENT_KINDS: Mapping[str, str] = {
    "data_refused": "a delivery, a day or a snapshot did not pass a check, or was not measured",
    "gate_no": "a gate said no to a candidate",
    "gate_unmeasured": "a gate lacked a number that it needs",
    "rollout_undecided": "a rollout is held until a person decides",
    "rollout_failed": "a rollout ended because its candidate was shown to be worse, or could not serve",
    "approval_waiting": "a person is asked to approve a version",
    "approval_no": "a version was not approved in time, or was rejected",
    "rollback": "a version was taken back from callers",
    "lease_expired": "a rollout was left without its run, and its lease ended",
    "drift_fault": "a column broke",
    "live_input_fault": "callers send other values of a column than the features that the version was trained on",
    "drift": "the share of features that differ from training reached a declared limit",
    "performance": "the live version is worse than its certificate",
    "estimated_performance": "before labels arrive, the live version is estimated to be worse than its certificate",
    "monitoring_gap": "a check of the live version was not measured for longer than declared",
    "registry_disagreement": "the registry says something else than the target serves",
    "retrain_requested": "monitoring asked for a training",
    "retraining_unmended": "several trainings did not mend a loss of performance",
    "training_failed": "a training did not pass",
    "drill_failed": "a rollback drill did not pass",
    "drill_overdue": "no rollback drill passed for longer than declared",
    "orphaned_pod": "a pod for which no task waited was deleted",
    "ledger_fault": "the ledger is not whole",
    "log_behind": "the prediction log is behind the answers",
    "gateway_silent": "the gateway does not answer",
    "airflow_silent": "Airflow's incident run did not come",
    "watch_silent": "the watch outside of Airflow did not look",
    "task_failed": "a task failed without a verdict",
    "channel_silent": "a channel does not take messages",
}
"""Kind of incident to what it is about. Stored: a name is kept or migrated."""
MEASURES: Mapping[str, tuple[str, ...]] = {
    "drift": ("at", "above"),
    "performance": ("drop", "below"),
    "estimated_performance": ("drop",),
}
"""Kinds that may have a limit of their own, with the ways in which it can be declared."""
LimitText = Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=PATTERN)]


class AlertRule(DeclarationBlock):
    """Who hears of one kind of incident, how loudly, and from which limit on.

    ``at`` (reached), ``above``, ``below`` and ``drop`` are limits of ``drift`` (the share of features that differ from
    training) and ``performance`` (the metric's value, or its loss against the certificate). ``below: 0.9x baseline``
    is 0.9 times the certificate's value.
    """

    when: str
    at: float | None = Field(default=None, ge=0, le=1)
    above: float | None = Field(default=None, ge=0, le=1)
    below: LimitText | None = None
    drop: float | None = Field(default=None, gt=0)
    severity: Severity | None = None
    """None: the kind's own."""
    channels: list[Identifier] | None = Field(default=None, min_length=1)
    """Names from ``alerts.yaml``; none: its ``default_channels``."""

    @field_validator("when")
    @classmethod
    def check_is_a_kind(cls, kind: str) -> str:
        if kind not in INCIDENT_KINDS:
            raise ValueError(f"when is {kind!r}; there are {', '.join(INCIDENT_KINDS)}")
        return kind

    @model_validator(mode="after")
    def check_limits_fit(self) -> Self:
        named = self.limits
        faults = limit_faults(self.when, named, MEASURES.get(self.when, ()), "write two rules")
        if self.when == "drift" and not named:
            faults.append("drift needs a limit, such as at: 0.3")
        if not named and self.severity is None and self.channels is None:
            faults.append("the rule says nothing; give it a severity or channels")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def limits(self) -> list[str]:
        """Names of the limits that are declared."""
        return [name for name in ("at", "above", "below", "drop") if getattr(self, name) is not None]


class Channel(DeclarationBlock):
    """One way to reach people.

    ``file``: lines of ``alerts.jsonl`` below ``AIRWORTHY_HOME``, and the log. ``slack``, ``pagerduty``, ``email`` and
    ``webhook``: by apprise, with the address and secrets of an Airflow connection. ``alertmanager``: a Prometheus
    Alertmanager at ``url``, which groups and routes by itself.
    """

    kind: Literal["file", "slack", "pagerduty", "email", "webhook", "alertmanager"]
    connection: str | None = None
    """Id of an Airflow connection."""
    url: str | None = None
    """Address of the Alertmanager."""
    least_severity: Severity = "info"
    """What is less severe is not sent to this channel."""

    @property
    def forgets(self) -> bool:
        """Whether the service loses what it was sent when it restarts."""
        return self.kind == "alertmanager"

    @model_validator(mode="after")
    def check_address(self) -> Self:
        faults = []
        needs_connection, needs_url = self.kind not in ("file", "alertmanager"), self.kind == "alertmanager"
        if needs_connection != (self.connection is not None):
            faults.append(f"connection is needed for apprise's kinds and for nothing else; kind is {self.kind}")
        if needs_url != (self.url is not None):
            faults.append(f"url is needed for an alertmanager and for nothing else; kind is {self.kind}")
        if self.url is not None and not (
            urlsplit(self.url).scheme in ("http", "https") and urlsplit(self.url).hostname
        ):
            faults.append(f"url is {self.url!r}; write http:// or https:// and a host")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class Escalation(DeclarationBlock):
    """When an incident that nobody acknowledged is told again; after each time the wait doubles."""

    critical_minutes: float = Field(default=15, gt=0)
    warning_hours: float = Field(default=24, gt=0)
    channels: list[Identifier] = []
    """Further channels that hear of it then."""


class Flapping(DeclarationBlock):
    """An incident that came back ``times`` times within ``minutes`` is told no more until it stays quiet."""

    times: int = Field(default=3, ge=1)
    minutes: float = Field(default=60, gt=0)


class AlertsSpec(DeclarationBlock):
    """``include/alerts.yaml``. Without the file messages go to the log and to ``alerts.jsonl``."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    channels: dict[Identifier, Channel] = {"log": Channel(kind="file")}
    default_channels: list[Identifier] = Field(default=["log"], min_length=1)
    """Who hears of what no rule names."""
    escalation: Escalation = Escalation()
    flapping: Flapping = Flapping()
    digest_seconds: float = Field(default=60, ge=0)
    """A channel gets at most one message about a model in this time; what comes meanwhile is put into the next one."""
    history_days: int = Field(default=14, ge=1)
    """A finding about older data is history and told nobody, unless it is about the newest day that there is."""
    settle_seconds: float = Field(default=60, ge=0)
    """How long the newest day must stay the newest before such a finding is told: a backfill is no storm."""
    drill_days: int = Field(default=35, ge=1)
    """For how many days a model that declares rollback drills may be without one that passed."""
    log_lag_seconds: float = Field(default=300, gt=0)
    """How far the prediction log may be behind the answers."""
    silent_minutes: float = Field(default=5, gt=0)
    """After how long Airflow, the watch or the gateway is silent."""
    runbooks: str = "docs/incidents.md"
    """Address or path of the page that says what to do; ``#<kind>`` is added."""

    @model_validator(mode="after")
    def check_channels_are_declared(self) -> Self:
        named = {"default_channels": self.default_channels, "escalation.channels": self.escalation.channels}
        faults = [
            (where, f"{where} names {name!r}; channels has {', '.join(self.channels) or 'none'}")
            for where, names in named.items()
            for name in names
            if name not in self.channels
        ]
        if faults:
            raise FieldFaults(faults)
        return self


def alert_faults(rules: list[AlertRule], spec: AlertsSpec, kinds_of: str) -> list[str]:
    """Channels of a model's or dataset's rules that the installation does not declare, and rules that say it twice.

    ``kinds_of`` is ``model`` or ``dataset``: a dataset has no numbers of a model.
    """
    faults = [
        f"alerts.{number}.channels: {name!r} is not declared in alerts.yaml; it has {', '.join(spec.channels)}"
        for number, rule in enumerate(rules)
        for name in rule.channels or ()
        if name not in spec.channels
    ]
    faults += [
        f"alerts.{number}.when: {rule.when} is about a model; declare it there"
        for number, rule in enumerate(rules)
        if kinds_of == "dataset" and rule.when not in DATASET_KINDS
    ]
    plain = [rule.when for rule in rules if not rule.limits]
    twice = sorted({kind for kind in plain if plain.count(kind) > 1})
    return faults + [f"alerts: two rules are about {kind}; write one" for kind in twice]


DATASET_KINDS = ("data_refused", "task_failed")

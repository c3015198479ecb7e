"""What the ledger's lines say of each model as metrics: releases, recovery, verdicts, performance; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeGuard

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from pipelines.ledger.required_evidence import is_gate
from pipelines.ledger.version_state import live_version, read_versions
from pipelines.ports import LedgerEntry
from pipelines.rules.live_state import judge_live_state

COUNTED = {
    "training": ("airworthy_trainings", "Versions that were trained."),
    "release": ("airworthy_releases", "Versions that were made live."),
    "rollback": ("airworthy_rollbacks", "Versions that were taken back from callers."),
    "retrain_request": ("airworthy_retrain_requests", "Trainings that monitoring asked for."),
}
"""Kind of line to the metric that counts its lines, and what it counts."""


def ledger_metrics(lines: Sequence[LedgerEntry], now: datetime) -> Iterator[Metric]:
    """Metrics of all models. ``lines``: oldest first; ``now``: aware, for ages."""
    yield from _counts(lines)
    yield from _times(lines, now)
    yield from _verdicts(lines, now)


def _counts(lines: Sequence[LedgerEntry]) -> Iterator[Metric]:
    for kind, (name, help_text) in COUNTED.items():
        family = CounterMetricFamily(name, help_text, labels=["model"])
        for model, count in sorted(Counter(line.model for line in lines if line.kind == kind).items()):
            family.add_metric([model], count)
        yield family
    family = CounterMetricFamily(
        "airworthy_gates", "Gates that were asked, by what they said.", labels=["model", "outcome"]
    )
    outcomes = Counter((line.model, str(line.details.get("outcome"))) for line in lines if is_gate(line))
    for (model, outcome), count in sorted(outcomes.items()):
        family.add_metric([model, outcome], count)
    yield family


def _times(lines: Sequence[LedgerEntry], now: datetime) -> Iterator[Metric]:
    to_deploy = GaugeMetricFamily(
        "airworthy_time_to_deploy_seconds", "From the training of the newest release to its release.", labels=["model"]
    )
    between = GaugeMetricFamily(
        "airworthy_time_between_releases_seconds", "Between the two newest releases.", labels=["model"]
    )
    age = GaugeMetricFamily("airworthy_release_age_seconds", "Since the newest release.", labels=["model"])
    trained = {(line.model, line.version): line.at for line in reversed(lines) if line.kind == "training"}
    releases: dict[str, list[LedgerEntry]] = {}
    for line in lines:
        if line.kind == "release":
            releases.setdefault(line.model, []).append(line)
    for model, released in sorted(releases.items()):
        newest = released[-1]
        began = trained.get((model, newest.version))
        if began is not None:
            to_deploy.add_metric([model], (newest.at - began).total_seconds())
        if len(released) > 1:
            between.add_metric([model], (newest.at - released[-2].at).total_seconds())
        age.add_metric([model], (now - newest.at).total_seconds())
    yield from (to_deploy, between, age)


def _verdicts(lines: Sequence[LedgerEntry], now: datetime) -> Iterator[Metric]:
    """The newest verdict of each check on the version that is live by the ledger; those on others are history."""
    checks = [line for line in lines if line.kind == "monitoring_verdict"]
    own: dict[str, list[LedgerEntry]] = {line.model: [] for line in checks}
    for line in lines:
        if line.model in own:
            own[line.model].append(line)
    live = {model: live_version(read_versions(of_model)) for model, of_model in own.items()}
    judged_at = {(line.model, str(line.details.get("check"))): line.at for line in checks}
    newest: dict[tuple[str, str], LedgerEntry] = {}
    for line in sorted(checks, key=lambda line: str(line.details.get("day"))):
        if line.version == live[line.model]:
            newest[line.model, str(line.details.get("check"))] = line
    outcome = GaugeMetricFamily(
        "airworthy_monitoring_outcome",
        "1 for what the newest verdict of a check says: pass, fail or unknown.",
        labels=["model", "version", "check", "outcome"],
    )
    age = GaugeMetricFamily(
        "airworthy_monitoring_age_seconds", "Since a check was last judged.", labels=["model", "check"]
    )
    columns = GaugeMetricFamily(
        "airworthy_drift_columns",
        "Columns that broke, that callers send wrong, and that differ from the training rows, by the newest verdict.",
        labels=["model", "version", "kind"],
    )
    performance = GaugeMetricFamily(
        "airworthy_performance",
        "The declared metric over the newest window, and of the certificate.",
        labels=["model", "version", "metric", "of"],
    )
    loss = GaugeMetricFamily(
        "airworthy_performance_loss_share",
        "How much worse the newest window is than the certificate, as a share of its value.",
        labels=["model", "version", "metric"],
    )
    state = GaugeMetricFamily(
        "airworthy_live_state",
        "1 for what to do about the live version: fine, watch, act or not measured.",
        labels=["model", "version", "state"],
    )
    for model, version in sorted(live.items()):
        judged = {
            check: (str(line.details.get("outcome")), line.details.get("facts") or {})
            for (name, check), line in newest.items()
            if name == model
        }
        if version is not None:
            state.add_metric([model, version, judge_live_state(judged).name], 1)
    for (model, check), at in sorted(judged_at.items()):
        age.add_metric([model, check], (now - at).total_seconds())
    for (model, check), line in sorted(newest.items()):
        version, facts = line.version or "", line.details.get("facts") or {}
        outcome.add_metric([model, version, check, str(line.details.get("outcome"))], 1)
        faults = "sent_wrong" if check == "live_input_check" else "broken"
        for kind, field in ((faults, "faults"), ("differs", "drifting")):
            if field in facts:
                columns.add_metric([model, version, kind], len(facts[field]))
        if facts.get("metric"):
            labels = [model, version, str(facts["metric"])]
            for of, value in (("live", facts.get("value")), ("certificate", facts.get("reference"))):
                if _is_number(value):
                    performance.add_metric([*labels, of], value)
            drop, reference = facts.get("drop"), facts.get("reference")
            if _is_number(drop) and _is_number(reference) and reference:
                loss.add_metric(labels, drop / abs(reference))
    yield from (state, outcome, age, columns, performance, loss)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

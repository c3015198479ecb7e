"""A retraining is due after enough detections in a row, once per incident, and not again within the cooldown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome, Verdict

RULE = "retrain_request"

Kind = Literal["data_drift", "prediction_drift", "performance"]
KINDS: dict[str, tuple[Kind, ...]] = {
    "drift_check": ("data_drift", "prediction_drift"),
    "performance_check": ("performance",),
}
"""The kinds of trouble that each monitoring check can detect."""


class Detection(BaseModel):
    """The outcome of one check of one data day for one kind of trouble: FAIL is a detection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    kind: Kind
    outcome: Outcome


def read_detections(records: Iterable[Mapping[str, Any]]) -> list[Detection]:
    """Read the details of ``monitoring_verdict`` ledger lines (``check``, ``day``, ``outcome``, ``facts``), in order.

    The outcome per kind is taken from the verdict's facts; without them the verdict's outcome counts for every kind
    that the check can detect. Lines of other checks are ignored.
    """
    return [
        Detection(
            day=date.fromisoformat(str(record["day"])),
            kind=kind,
            outcome=Outcome((record.get("facts") or {}).get(kind, record["outcome"])),
        )
        for record in records
        for kind in KINDS.get(str(record["check"]), ())
    ]


def judge_retraining(history: Sequence[Detection], requests: Sequence[date], spec: ModelSpec, day: date) -> Verdict:
    """PASS: no retraining is needed. FAIL: a retraining is due, and the reasons say why. UNKNOWN: ``day`` was not
    measured for any declared trigger.

    A trigger is due when its last ``consecutive_detections`` measured days up to ``day`` are all detections and ``day``
    itself is one of them. A day whose outcome is UNKNOWN, or that was never checked, neither extends nor ends the
    streak. Of several checks of one day the last in ``history`` counts.

    A request on another day less than ``cooldown_days`` + 1 days before ``day``, or on a later day (in a backfill),
    belongs to the same incident: no further retraining is due, and ``facts["held_back"]`` lists the reasons. A request
    of ``day`` itself is ignored, so that a repeated task gives the same answer.
    """
    retraining = spec.monitoring.retraining
    failures: list[str] = []
    streaks: dict[str, int] = {}
    measured_today = False
    for kind in retraining.triggers:
        outcomes = {d.day: d.outcome for d in history if d.kind == kind and d.day <= day}
        measured = sorted(on for on, outcome in outcomes.items() if outcome is not Outcome.UNKNOWN)
        measured_today = measured_today or day in measured
        row = _detection_streak(measured, outcomes)
        streaks[kind] = len(row)
        if len(row) >= retraining.consecutive_detections and row[-1] == day:
            detected = f"{kind} detected on {len(row)} checked days in a row ({row[0]} to {row[-1]})"
            failures.append(f"{detected} >= {retraining.consecutive_detections}")

    cooled_from = day - timedelta(days=retraining.cooldown_days)
    recent = sorted(on for on in requests if on >= cooled_from and on != day)
    facts: dict[str, object] = {
        "streaks": streaks,
        "recent_requests": [on.isoformat() for on in recent],
        "held_back": failures if recent else [],
    }
    unknowns = [] if measured_today or not retraining.triggers else [f"no declared trigger was measured on {day}"]
    return Verdict.of(RULE, failures=[] if recent else failures, unknowns=unknowns, facts=facts)


def _detection_streak(measured: list[date], outcomes: Mapping[date, Outcome]) -> list[date]:
    """The consecutive detections at the end of ``measured``, ascending."""
    row: list[date] = []
    for on in reversed(measured):
        if outcomes[on] is not Outcome.FAIL:
            break
        row.append(on)
    return row[::-1]

"""What the ledger says of detections and of the retrainings that they asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from itertools import repeat
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipelines.verdict import Outcome

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
    facts: dict[str, Any] = {}
    """What the check measured."""


class Request(BaseModel):
    """A retraining that was asked for. ``alarm``: by a loss of performance, which calls for further ones.

    ``at``: when; None: the line is read without its time. ``recent_days``: of a loss, or of a catch-up after one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    alarm: bool = False
    at: datetime | None = None
    recent_days: int = 0


def read_requests(records: Iterable[Mapping[str, Any]], times: Iterable[datetime] | None = None) -> list[Request]:
    """Read the details of ``retrain_request`` ledger lines; one from before 0.2.0 does not say what asked for it.

    ``times``: when each line was written.
    """
    requests = []
    for record, at in zip(records, times if times is not None else repeat(None)):  # noqa: B905 - repeat has no end
        facts = record.get("facts") or {}
        day, recent_days = date.fromisoformat(str(record["day"])), int(facts.get("recent_days") or 0)
        requests.append(Request(day=day, alarm=bool(facts.get("alarm")), at=at, recent_days=recent_days))
    return requests


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
            facts=dict(record.get("facts") or {}),
        )
        for record in records
        for kind in KINDS.get(str(record["check"]), ())
    ]

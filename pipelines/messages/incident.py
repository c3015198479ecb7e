"""What was found wrong or well again, the incident that it belongs to, and the message that is due about it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.verdict import Severity

IncidentStatus = Literal["open", "acknowledged", "resolved"]
Event = Literal["opened", "updated", "worse", "escalated", "acknowledged", "resolved"]


class Circumstances(BaseModel):
    """What is known of a thing that is wrong, by a finding and by the incident that it belongs to.

    ``day``: the day of the data that it is about. ``run`` is ``<dag_id>/<run_id>``, ``report`` a path of the store.
    ``line`` is the ledger line that it was read from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    affects: str = ""
    done: str = ""
    numbers: dict[str, float | str] = {}
    day: date | None = None
    deadline: datetime | None = None
    """When it is too late, for example for an approval."""
    run: str | None = None
    report: str | None = None
    line: int | None = None


class Finding(Circumstances):
    """One thing that is wrong (``firing``) or well again, about ``model``, which may be a dataset or the installation.

    ``subject`` tells several incidents of one kind apart (a column, a day, a version); None, of a finding that does
    not fire: all of this kind.
    """

    model: str
    kind: str
    subject: str | None
    firing: bool
    except_for: tuple[str, ...] = ()
    """Subjects that a finding about all of a kind leaves out."""
    at: datetime
    severity: Severity = "info"
    what: str = ""


class Incident(Circumstances):
    """One row of the table of incidents. Times are aware; ``number`` is given when the row is first written.

    ``opened`` is when the present episode began, ``first_seen`` when the key was first seen; ``count`` counts findings.
    ``reopened`` holds the times at which it came back after it was resolved. ``told``: whether a channel was to hear of
    this episode. ``is_history``: found late on old data, so that nobody is told.
    """

    number: int | None = None
    model: str
    kind: str
    subject: str
    status: IncidentStatus
    severity: Severity
    what: str
    first_seen: datetime
    opened: datetime
    announced: datetime | None = None
    """When it was told, if that was later than it began: escalation counts from then."""
    last_seen: datetime
    resolved: datetime | None = None
    count: int = 1
    acknowledged_by: str | None = None
    acknowledged_because: str | None = None
    escalations: int = 0
    reopened: tuple[datetime, ...] = ()
    inhibited_by: int | None = None
    told: bool = False
    is_history: bool = False
    quiet_until: datetime | None = None
    """A replayed day speaks only if it is still the newest one then."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.model, self.kind, self.subject

    @property
    def is_active(self) -> bool:
        return self.status != "resolved"


class OutboxMessage(BaseModel):
    """One event of an incident for one channel, kept until the channel has taken it.

    ``batch`` is the number of the first message that was sent together with it: what was begun is sent again unchanged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    channel: str
    model: str
    incident: int
    event: Event
    created: datetime
    due: datetime
    batch: int | None = None


class Notice(BaseModel):
    """What a channel is given: one message about one or several incidents of a model.

    ``id`` is the same when it is sent again after a crash, so that whoever receives it can tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    channel: str
    severity: Severity
    title: str
    body: str
    incidents: tuple[Incident, ...]
    events: tuple[Event, ...]
    links: dict[str, str] = {}

"""Takes findings into the table of incidents, each once, and puts the messages that are due into the outbox."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta

from pipelines.errors import unknown_name
from pipelines.ledger.line_findings import day_of, findings
from pipelines.messages.incident import Finding, Incident
from pipelines.ports import IncidentChanges, LedgerEntry, Ports
from pipelines.rules.alert_routing import limit_findings, route, with_declared_severity
from pipelines.rules.incident_kinds import CAUSES_OF, INSTALLATION
from pipelines.rules.incident_timing import find_cause, judge_time
from pipelines.rules.incidents import IncidentChange, acknowledge, judge_finding
from pipelines.spec.alerts import AlertRule, AlertsSpec
from pipelines.spec.catalog import Catalog

LINES_AT_ONCE = 500
"""Ledger lines that one transaction takes, so that those who add lines wait for a moment only."""
FIRST_LOOK = timedelta(days=1)
"""Where nothing was read yet, lines older than this open no incident."""
CURSOR = "ledger_line"
log = logging.getLogger(__name__)


def read_ledger(ports: Ports) -> int:
    """Take what the ledger's new lines find, oldest first; returns how many lines there were.

    How far it was read is written in the same transaction as the incidents, so that a line counts once, whoever reads
    and whenever it is killed.
    """
    count = 0
    while True:
        cursor = ports.incidents.note(CURSOR)
        # Before the transaction: on SQLite it holds the lock that the ledger needs to create its table.
        lines = ports.ledger.entries(after=int(cursor or 0))[: None if cursor is None else LINES_AT_ONCE]
        if not lines and cursor is not None:
            return count
        with ports.incidents.change() as changes:
            if changes.note(CURSOR) != cursor:
                continue  # another reader has taken them meanwhile
            earliest = ports.clock() - FIRST_LOOK if cursor is None else None
            book = IncidentBook(changes, ports.catalog, ports.clock())
            book.take_lines([line for line in lines if earliest is None or line.at >= earliest])
            changes.set_note(CURSOR, str(lines[-1].number if lines else 0))
        count += len(lines)


def take(ports: Ports, findings: Sequence[Finding]) -> None:
    """Take findings that no ledger line holds."""
    if not findings:
        return
    with ports.incidents.change() as changes:
        IncidentBook(changes, ports.catalog, ports.clock()).take(findings)


def pass_time(ports: Ports) -> None:
    """Escalate, end and speak about what is due by now."""
    now = ports.clock()
    with ports.incidents.change() as changes:
        book = IncidentBook(changes, ports.catalog, now)
        book.pass_time()


def take_over(ports: Ports, number: int, *, person: str, because: str) -> Incident:
    """Acknowledge an incident for a person. ``Refused`` for an unknown number or one that is over."""
    with ports.incidents.change() as changes:
        incident = changes.get(number)
        if incident is None:
            active = [str(other.number) for other in changes.active()]
            raise unknown_name(f"there is no incident {number}", active)
        book = IncidentBook(changes, ports.catalog, ports.clock())
        return book.write(acknowledge(incident, person, because))


class IncidentBook:
    """The incidents within one transaction."""

    def __init__(self, changes: IncidentChanges, catalog: Catalog, now: datetime) -> None:
        self._changes, self._catalog, self._now = changes, catalog, now
        self._policy: AlertsSpec = catalog.alerts
        self._active: dict[tuple[str, str], dict[str, Incident]] = {}
        for incident in changes.active():
            self._of_kind(incident.model, incident.kind)[incident.subject] = incident
        self._upstream = {name: catalog.view_of(name).dataset for name in catalog.models}
        self._newest_days: dict[str, date | None] = {}

    def take_lines(self, lines: Sequence[LedgerEntry]) -> None:
        """Newest days first, so that of a year that is judged at once only its last day speaks."""
        for line in lines:
            if day := day_of(line):
                self._see_day(line.model, day)
        self.take([finding for line in lines for finding in [*findings(line), *self._declared_limits(line)]])

    def take(self, findings: Iterable[Finding]) -> None:
        """Judge each finding in turn; who is told is decided once all are taken."""
        steps: list[IncidentChange] = []
        for finding in findings:
            for single in self._single(with_declared_severity(finding, self._rules(finding.model))):
                known = self._of_kind(single.model, single.kind).get(single.subject or "")
                incident = known or self._changes.newest(single.model, single.kind, single.subject or "")
                step = judge_finding(single, incident, self._policy, self._newest_day(single.model))
                if step is not None:
                    steps.append(step.model_copy(update={"incident": self._save(step.incident)}))
        for step in steps:
            self._tell(step)

    def pass_time(self) -> None:
        """What is due by the clock."""
        incidents = [incident for by_subject in self._active.values() for incident in by_subject.values()]
        active = {incident.number for incident in incidents if incident.number is not None}
        for incident in incidents:
            newest = self._newest_day(incident.model)
            step = judge_time(incident, self._policy, self._now, active=active, newest_day=newest)
            if step is not None and not self.write(step).is_active:
                active.discard(incident.number or 0)

    def write(self, step: IncidentChange) -> Incident:
        saved = self._save(step.incident)
        self._tell(step.model_copy(update={"incident": saved}))
        return saved

    def _tell(self, step: IncidentChange) -> None:
        """Post the event to its channels, unless another incident explains it."""
        if step.event is None:
            return
        incident = step.incident
        if step.event == "opened" and (cause := find_cause(incident, self._near(incident), self._upstream)):
            if current := self._of_kind(incident.model, incident.kind).get(incident.subject):
                self._save(current.model_copy(update={"inhibited_by": cause, "told": False}))
            return
        for channel in route(incident, step.event, self._rules(incident.model), self._policy):
            if (incident.kind, incident.subject) == ("channel_silent", channel):
                continue  # it would hear of its own silence after everything else that waits for it
            self._changes.post(channel, incident, step.event, created=self._now, due=self._now)

    def _near(self, incident: Incident) -> list[Incident]:
        """The active incidents that could explain it."""
        about = dict.fromkeys((incident.model, self._upstream.get(incident.model, ""), INSTALLATION))
        kinds = CAUSES_OF[incident.kind]
        return [other for model in about for kind in kinds for other in self._of_kind(model, kind).values()]

    def _of_kind(self, model: str, kind: str) -> dict[str, Incident]:
        """The active incidents of a model and kind, by subject."""
        return self._active.setdefault((model, kind), {})

    def _save(self, incident: Incident) -> Incident:
        saved = self._changes.save(incident)
        by_subject = self._of_kind(saved.model, saved.kind)
        if saved.is_active:
            by_subject[saved.subject] = saved
        else:
            by_subject.pop(saved.subject, None)
        return saved

    def _single(self, finding: Finding) -> Iterator[Finding]:
        """A finding about all of a kind, one for each active incident."""
        if finding.subject is not None:
            yield finding
            return
        for subject in list(self._of_kind(finding.model, finding.kind)):
            if subject not in finding.except_for:
                yield finding.model_copy(update={"subject": subject})

    def _declared_limits(self, line: LedgerEntry) -> list[Finding]:
        """What a monitoring verdict's numbers mean by the limits that the model declares under ``alerts``."""
        facts = line.details.get("facts") if line.kind == "monitoring_verdict" else None
        if not isinstance(facts, dict) or line.model not in self._catalog.models:
            return []
        known = {"day": day_of(line), "line": line.number, "at": line.at, "model": line.model}
        template = Finding(kind="drift", subject="", firing=False, **known)
        by_check = {
            "drift_check": ("drift", {"value": facts.get("drifting_share")}),
            "performance_check": (
                "performance",
                {"value": facts.get("value"), "baseline": facts.get("reference"), "drop": facts.get("drop")},
            ),
            "estimated_performance": ("estimated_performance", {"drop": facts.get("drop")}),
        }
        kind, numbers = by_check.get(str(line.details.get("check")), ("", {}))
        measured = {name: float(number) for name, number in numbers.items() if number is not None}
        return limit_findings(kind, measured, self._rules(line.model), template)

    def _rules(self, name: str) -> Sequence[AlertRule]:
        """The rules of a model, a dataset, or a view's or table's dataset."""
        if spec := self._catalog.models.get(name):
            return spec.alerts
        view = self._catalog.views.get(name)
        dataset = self._catalog.datasets.get(view.dataset if view else name)
        return dataset.alerts if dataset else []

    def _see_day(self, name: str, day: date) -> None:
        newest = self._newest_day(name)
        if newest is None or day > newest:
            self._newest_days[name] = day
            self._changes.set_note(f"newest_day/{name}", day.isoformat())

    def _newest_day(self, name: str) -> date | None:
        if name not in self._newest_days:
            note = self._changes.note(f"newest_day/{name}")
            self._newest_days[name] = date.fromisoformat(note) if note else None
        return self._newest_days[name]

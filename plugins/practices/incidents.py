"""Takes what is wrong into the table of incidents, tells people, and takes an incident for a person."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context

from pipelines.errors import Refused
from pipelines.incidents.conditions import seen_by_airflow
from pipelines.incidents.look import look
from pipelines.incidents.record import take_over
from pipelines.messages.incident import Finding
from pipelines.ports import Ports
from practices._connections import installation
from practices._operators import links, run_context


class Incidents(BaseOperator):
    """Look at the ledger's new lines and at what no line says; open, repeat, worsen, escalate and resolve incidents.

    A message is in the outbox as soon as its incident is in the table, and is sent to the declared channels; `airworthy
    watch` does the same outside of Airflow, and either notices when the other is silent. With ``number`` and ``why``
    the person who started the run takes that incident. Returns how many ``lines`` were read and ``messages`` sent.
    """

    template_fields = ("number", "why")
    ui_color = "#f4cccc"

    def __init__(self, *, number: Any = None, why: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.number, self.why = number, why

    def execute(self, context: Context) -> dict[str, int]:
        ports = installation.open_ports()
        if str(self.number or "").strip():
            self._take_over(ports, context)
        findings = [*seen_by_airflow(ports), *self._tasks_well_again(ports, context)]
        return look(ports, observer="airflow", findings=findings, airflow=links.airflow_address())

    def _take_over(self, ports: Ports, context: Context) -> None:
        """``Refused`` for a run that no person started, or without a reason."""
        person, why = run_context.actor(context, ""), " ".join(str(self.why or "").split())
        faults = [] if person else ["no user started this run; trigger it by hand"]
        faults += [] if why else ["the field why is empty; say what you do about it"]
        if faults:
            raise Refused(f"incident {self.number} is not acknowledged", faults)
        incident = take_over(ports, int(self.number), person=person, because=why)
        self.log.info("incident %s of %s is taken by %s: %s", incident.number, incident.model, person, incident.what)

    def _tasks_well_again(self, ports: Ports, context: Context) -> list[Finding]:
        """An end for each failed task whose run was cleared and has succeeded."""
        ends = []
        for incident in ports.incidents.read(active_only=True):
            dag_id, _, run_id = (incident.run or "").partition("/")
            if incident.kind != "task_failed" or not run_id:
                continue
            if context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["success"]):
                key = incident.model_dump(include={"model", "kind", "subject"})
                ends.append(Finding(**key, firing=False, at=ports.clock()))
        return ends

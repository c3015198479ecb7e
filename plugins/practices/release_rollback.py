"""Rolls back a model's rollout, or else restores its previous version: traffic first, then ledger and registry."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutState
from pipelines.ports import LedgerEntry, Ports
from pipelines.rules.release_rollback import judge_rollback
from pipelines.verdict import Verdict
from pipelines.versions.records import append_rollback, update_registry
from practices._connections import installation
from practices._operators import run_context
from practices._operators.defaults import asset
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._rollouts import rollback
from practices._rollouts.rollback import MadeRollback

log = logging.getLogger(__name__)


class ReleaseRollback(ModelPractice):
    """Roll back an active rollout; without one restore the version before the live one.

    Needs nothing but the target until the traffic has moved. ``version``: roll back only this version (empty: the
    newest). The log says before and after which version answers next, with a warning if that one was itself taken back
    from callers. ``Refused`` if there is no version to go back to. If the traffic was moved already (``airworthy
    rollback``, a call of the gateway, a killed try), only ledger and registry are updated. ``report_only`` says what
    would happen and is skipped. Returns the target's ``LiveState``.
    """

    template_fields = ("model", "reason", "version", "report_only")
    ui_color = "#ea9999"

    def __init__(
        self, *, model: str, reason: str, version: str = "", report_only: Any = False, **arguments: Any
    ) -> None:
        super().__init__(model=model, **arguments)
        self.reason = reason
        self.version = version
        self.report_only = report_only

    def execute(self, context: Context) -> dict[str, Any]:
        ports, key = installation.open_ports(), run_context.action_key(context)
        target = ports.target(self.model)
        before = target.rollout(self.model)
        verdict = judge_rollback(before, self.version or None)
        if str(self.report_only).lower() == "true":
            self._report(verdict, before, ports)
        done = rollback.rollback_by_earlier_try(target, before, key)
        if done is None and verdict.passed:
            rollback.announce(before, ports)
            done = rollback.move_traffic_back(target, before, self.reason, key)
            self._record_verdict(verdict, before, ports, context)
        done = done or rollback.rollback_made_elsewhere(before, ports, context)
        if done is None:
            self._record_verdict(verdict, before, ports, context)
            raise Refused(f"no version of {self.model} was rolled back")
        return self._record(done, target.state(self.model), ports, context)

    def _report(self, verdict: Verdict, before: RolloutState, ports: Ports) -> None:
        """Say what would happen: skip the task, or raise ``Refused`` if nothing can be rolled back."""
        if not verdict.passed:
            raise Refused(f"nothing of {self.model} would be rolled back", verdict.reasons)
        raise AirflowSkipException("; ".join(["a dry run, nothing has changed", *rollback.announce(before, ports)]))

    def _record(self, done: MadeRollback, state: LiveState, ports: Ports, context: Context) -> dict[str, Any]:
        """Update ledger and registry; returns the live state."""
        line = done.line or self._append_line(done, state, ports, context)
        update_registry(ports, line, state)
        taken = done.planned.takes or "none"
        log.info("version %s was taken back, version %s of %s answers", taken, state.version, self.model)
        extra = {"version": state.version, **line.details}
        context["outlet_events"][asset(self.model, "released")].extra = extra
        return state.model_dump(mode="json", by_alias=True)

    def _append_line(self, done: MadeRollback, state: LiveState, ports: Ports, context: Context) -> LedgerEntry:
        key = run_context.action_key(context)
        return append_rollback(
            ports,
            self.model,
            taken_back=done.planned.takes,
            put_back=state.version,
            reason=self.reason,
            traffic=done.traffic,
            actor=run_context.actor(context, ports.settings.actor),
            key=key,
            generation=state.generation,
            rollout_id=done.planned.rollout_id,
            run=key,
        )

    def _record_verdict(self, verdict: Verdict, state: RolloutState, ports: Ports, context: Context) -> None:
        version = str(verdict.facts.get("takes") or state.champion)
        record_verdict(
            verdict,
            subject=f"the rollback of {self.model} from version {version}",
            ledger_kind="gate",
            model=self.model,
            version=version,
            ports=ports,
            context=context,
            details={"gate": "release_rollback", "reason": self.reason},
        )

"""One click puts the version before back, traffic first; a rollback cut off half-way is finished, not repeated."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages import LiveState
from pipelines.ports import Ports
from pipelines.rules.release_rollback import judge_rollback
from practices import _asked, _hooks
from practices._aliases import follow_traffic
from practices._model_practice import ModelPractice
from practices._settle import settle
from practices.defaults import asset


class ReleaseRollback(ModelPractice):
    """Put the previous version of a model back, record it, and let the aliases follow.

    Refuses when there is no previous version. Where traffic was rolled back already (``airworthy rollback``, or a
    try that was killed), the records alone are brought up to date. Returns the endpoint's ``LiveState``.
    """

    template_fields = ("model", "reason")
    ui_color = "#ea9999"

    def __init__(self, *, model: str, reason: str, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        ports, key = _hooks.open_ports(), _asked.act_key(context)
        former = ports.registry.by_alias(self.model, "champion")
        state, taken_back = ports.endpoint.state(self.model), former.version if former else None
        if not rolled_back(ports, state, taken_back, key):
            self._judge(state, ports, context)
            taken_back = state.version
            ports.endpoint.rollback(self.model, key=key, reason=self.reason)
            state = ports.endpoint.state(self.model)
        details = {"from": taken_back, "to": state.version, "reason": self.reason, "generation": state.generation}
        who = _asked.actor(context, ports.settings.actor)
        ports.ledger.append("rollback", self.model, state.version, {**details, "run": key}, actor=who, key=key)
        follow_traffic(ports.registry, state)
        context["outlet_events"][asset(self.model, "released")].extra = {"version": state.version, **details}
        return state.model_dump(mode="json", by_alias=True)

    def _judge(self, state: LiveState, ports: Ports, context: Context) -> None:
        settle(
            judge_rollback(state, None),
            subject=f"the rollback of {self.model} from version {state.version}",
            ledger_kind="gate",
            model=self.model,
            version=state.version,
            ports=ports,
            context=context,
            on_fail="fail",
            details={"gate": "release_rollback", "reason": self.reason},
        )


def rolled_back(ports: Ports, state: LiveState, champion: str | None, run: str) -> bool:
    """True if traffic went back already: this run recorded it, or the registry still names what was taken back.

    After a rollback the endpoint holds no previous version; after a release it does.
    """
    recorded = any(line.details.get("run") == run for line in ports.ledger.entries(state.model, kind="rollback"))
    return recorded or (state.previous is None and champion not in (None, state.version))

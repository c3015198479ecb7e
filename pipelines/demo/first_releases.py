"""The demonstration's models go live one by one: trained as of a day, judged, approved by people, deployed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli.progress import Progress
from pipelines.demo.people import DemoUsers
from pipelines.errors import Refused
from pipelines.ledger.run_verdicts import refusal_text
from pipelines.ledger.version_state import State, known_as, read_versions, versions_in
from pipelines.ports import Ports

ENDED_RUN_STATES = {"success", "failed"}
STAGES = ("train", "evaluate", "deploy")


class FirstReleases:
    """Trains and releases those of the ``models`` that are not live, on all that was known by the end of ``as_of``."""

    def __init__(
        self,
        models: Sequence[str],
        as_of: date,
        hypothesis: str,
        ports: Ports,
        airflow: AirflowApi,
        people: DemoUsers,
        progress: Progress,
    ) -> None:
        self.models, self.as_of, self.hypothesis = models, as_of, hypothesis
        self.ports, self.airflow, self.people, self.progress = ports, airflow, people, progress

    def run(self) -> None:
        """Start what each model lacks, and wait until it is live or a gate has refused it.

        ``Refused``, with the reasons, if a run fails; a second call tries what failed again.
        """
        waiting = [model for model in self.models if not self.ports.endpoint.state(model).version]
        failed_before = {run["dag_run_id"] for model in waiting for run in self._failed_runs(model).values()}
        for model in waiting:
            self._train_or_deploy(model)
        if waiting:

            def released() -> tuple[bool, str]:
                for model in waiting:
                    self.people.answer(f"{model}__deploy")
                return self._release_progress(waiting, failed_before)

            self.progress.wait(released, timeout=900, what="training and releasing")
        else:
            self.progress.print_note("live already")

    def _train_or_deploy(self, model: str) -> None:
        """Start what a model that is not live lacks; nothing while one of its runs is active."""
        runs = [run for stage in STAGES for run in self.airflow.runs(f"{model}__{stage}")]
        if any(run["state"] not in ENDED_RUN_STATES for run in runs):
            return
        known = read_versions(self.ports.ledger.entries(model))
        if approved := versions_in(known, State.APPROVED, State.FAILED_BEFORE_TRAFFIC):
            self.progress.print_note(f"version {approved[0]} of {model} is approved and not live; it is deployed again")
            self.airflow.trigger(f"{model}__deploy", {"version": approved[0]})
        else:
            self.people.train(model, {"hypothesis": self.hypothesis, "as_of": self.as_of.isoformat()})

    def _failed_runs(self, model: str) -> dict[str, dict[str, Any]]:
        """DAG to its newest run, of the stages whose newest run has failed."""
        newest = {f"{model}__{stage}": self.airflow.runs(f"{model}__{stage}")[:1] for stage in STAGES}
        return {dag_id: run for dag_id, runs in newest.items() for run in runs if run["state"] == "failed"}

    def _release_progress(self, models: list[str], failed_before: set[str]) -> tuple[bool, str]:
        live = {model: self.ports.endpoint.state(model).version for model in models}
        stages = {model: self._stage_status(model) for model in models}
        failed = [
            f"{dag_id}: {self._refusal(model, dag_id, run) or 'its log says why'}"
            for model in models
            for dag_id, run in self._failed_runs(model).items()
            if run["dag_run_id"] not in failed_before
        ]
        if failed:
            raise Refused("the first models were not deployed; `make demo` tries what failed again", failed)
        rejected = {model for model in models if not live[model] and self._is_rejected(model)}
        statuses = {
            model: "live" if live[model] else "refused by a gate" if model in rejected else stages[model]
            for model in models
        }
        ended = all(live[model] or model in rejected for model in models)
        return ended, ", ".join(f"{model}: {what}" for model, what in statuses.items())

    def _refusal(self, model: str, dag_id: str, run: Mapping[str, Any]) -> str:
        return refusal_text(self.ports.ledger.entries(model), f"{dag_id}/{run['dag_run_id']}")

    def _is_rejected(self, model: str) -> bool:
        """Whether a gate rejected the newest candidate, after which no DAG follows."""
        newest = self.ports.registry.versions(model)[:1]
        runs = self.airflow.runs(f"{model}__evaluate")[:1]
        ended = bool(runs) and runs[0]["state"] in ENDED_RUN_STATES
        known = read_versions(self.ports.ledger.entries(model))
        return ended and bool(newest) and known_as(known.get(newest[0].version), State.REJECTED)

    def _stage_status(self, model: str) -> str:
        for stage in reversed(STAGES):
            if runs := self.airflow.runs(f"{model}__{stage}"):
                return f"{stage} {runs[0]['state']}"
        return "waiting"

"""Trains a candidate and records the digests of data, environment, request and model, so that it can be reproduced."""

from __future__ import annotations

from functools import partial
from typing import Any

from airflow.sdk import Context

from pipelines.messages.training import SnapshotResult, TrainRequest, TrainResult
from pipelines.ports import Ports
from pipelines.rules.reproducible_training import judge_training
from pipelines.rules.semantic_versioning import version_facts
from pipelines.settings import git_revision
from pipelines.versions.records import update_status
from practices._connections import installation
from practices._operators import links, run_context, step_runner
from practices._operators.defaults import asset
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._operators.recorded_results import checked_snapshot


class ReproducibleTraining(ModelPractice):
    """Train on a snapshot and register the result as a candidate; a retry continues from the last checkpoint.

    ``snapshot`` is the ``SnapshotResult`` of the previous task; where the newest rows alone were tried beside all of
    them, it says which of the two it holds, and so does the ledger. Hypothesis and seed come from the run's form. The
    ledger gets the digests of data, environment, request and model (of the judged one, too, where the deployed one was
    trained again on all rows: this line ties them), and what was declared at the time. The event of
    ``<model>:candidate`` carries ``version``, ``run_id`` and ``model_digest``. Returns the ``TrainResult``.
    """

    template_fields = ("model", "snapshot")
    ui_color = "#b6d7a8"
    operator_extra_links = (links.MLFLOW_RUN, links.MLFLOW_VERSION)

    def __init__(self, *, model: str, snapshot: Any, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.snapshot = snapshot

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec = ports.catalog.model(self.model)
        snapshot = checked_snapshot(self.snapshot, self.model, ports, context)
        request = self._request(snapshot, ports, context)
        declared = version_facts(spec, ports.catalog.view_of(self.model))
        result = step_runner.run_step("train_model", request, TrainResult, runner=spec.stage_runner("train"))
        tracking = ports.settings.tracking
        links.MLFLOW_RUN.show(self, links.mlflow_page(tracking, "runs", result.run_id))
        links.MLFLOW_VERSION.show(self, links.mlflow_page(tracking, "models", self.model, "versions", result.version))
        record_verdict(
            judge_training(result, spec),
            subject=f"the training of {self.model} version {result.version}",
            ledger_kind="training",
            model=self.model,
            version=result.version,
            ports=ports,
            context=context,
            details={
                **_ledger_details(request, result),
                "declared": declared.model_dump(mode="json"),
                **({} if snapshot.history is None else {"history": snapshot.history.model_dump(mode="json")}),
            },
            on_recorded=partial(update_status, ports),
        )
        extra = result.model_dump(mode="json", include={"version", "run_id", "model_digest"})
        context["outlet_events"][asset(self.model, "candidate")].extra = extra
        return result.model_dump(mode="json", by_alias=True)

    def _request(self, snapshot: SnapshotResult, ports: Ports, context: Context) -> TrainRequest:
        run, params = context["dag_run"], context["params"]
        return TrainRequest(
            model=self.model,
            snapshot=snapshot.digest,
            history_days=snapshot.history.history_days if snapshot.history else None,
            hypothesis=params.get("hypothesis") or "",
            seed=params.get("seed"),
            run_key=run_context.run_key(context),
            git_revision=git_revision(),
            requested_by=run_context.actor(context, ports.settings.actor),
            trigger="retrain_request" if run.run_id.startswith("retrain_request__") else str(run.run_type.value),
        )


def _ledger_details(request: TrainRequest, result: TrainResult) -> dict[str, Any]:
    """Ledger details of a training: enough to reproduce it and to compare the reproduction."""
    origin = request.model_dump(mode="json", include={"hypothesis", "seed", "git_revision", "requested_by", "trigger"})
    digests = {"run_id", "model_digest", "folder_digest", "snapshot", "request_digest", "environment_digest"}
    facts = {
        *digests,
        "rounds",
        "best_round",
        "metrics",
        "device",
        "seconds",
        *([] if result.seed is None else ["seed"]),
    }
    facts |= {"test_days"} if result.test_days else set()
    facts |= {"judged_digest", "refit"} if result.judged_digest is not None else set()
    return {**origin, **result.model_dump(mode="json", include=facts)}

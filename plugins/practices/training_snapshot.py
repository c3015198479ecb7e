"""Writes the training table of a model as of one time under its digest, and refuses one too small to train on."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.training import SnapshotRequest, SnapshotResult
from pipelines.rules.training_snapshot import judge_snapshot
from practices._connections import installation
from practices._operators import run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict


class TrainingSnapshot(ModelPractice):
    """Write the training table of a model as of one time, named by its digest.

    The time is the end of the requested day (``as_of`` in the form, or the day of the retrain request), else the run's
    own date. ``Refused`` with every reason if the table is not sufficient: too few rows, an empty part, only one class.
    Returns the ``SnapshotResult``.
    """

    ui_color = "#d9ead3"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec = ports.catalog.model(self.model)
        as_of = run_context.as_of(context, ports.catalog.dataset_of(self.model).partition.timezone)
        request = SnapshotRequest(model=self.model, as_of=as_of)
        result = step_runner.run_step(
            "take_snapshot", request, SnapshotResult, runner=spec.stage_runner("train").without_gpus()
        )
        record_verdict(
            judge_snapshot(result, spec),
            subject=f"the training snapshot of {self.model} as of {as_of:%Y-%m-%d %H:%M} UTC",
            ledger_kind="data_verdict",
            model=self.model,
            version=None,
            ports=ports,
            context=context,
            details={"snapshot": result.digest, "as_of": as_of.isoformat(), "table_versions": result.table_versions},
            result=result.digest,
        )
        return result.model_dump(mode="json", by_alias=True)

"""Writes the training table of a model as of one time under its digest, and refuses one too small to train on.

After a loss of performance it is the better of two: all rows, or the newest alone.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.ledger.training_history import last_day
from pipelines.messages.evaluation import HistoryComparison, HistoryRequest
from pipelines.messages.training import HistoryChoice, SnapshotRequest, SnapshotResult
from pipelines.rules.training_snapshot import RECENT_RULE, judge_recent_history, judge_snapshot
from pipelines.spec.model import ModelSpec
from pipelines.spec.runner import StageRunner
from pipelines.verdict import Verdict
from practices._connections import installation
from practices._operators import run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import log_verdict, record_verdict
from practices._operators.retrain_facts import check_posted_request


class TrainingSnapshot(ModelPractice):
    """Write the training table of a model as of one time, named by its digest.

    The time is the end of the requested day (``as_of`` in the form, or the day of the retrain request), else the run's
    own date. With ``recent_days`` (a retraining after a loss of performance has it) the table of these days alone is
    written, too; the recipe is trained on both, and the table that predicted the newest days better is taken. The
    ledger says which, and why. A run that another system's event started is skipped where the rule of retrainings holds
    it back. ``Refused`` with every reason if the table is not sufficient: too few rows, an empty
    part, only one class. Returns the ``SnapshotResult``.
    """

    ui_color = "#d9ead3"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec = ports.catalog.model(self.model)
        timezone = ports.catalog.dataset_of(self.model).partition.timezone
        as_of = run_context.as_of(context, timezone)
        check_posted_request(ports, self.model, last_day(as_of, timezone), context)
        result = take_snapshot(SnapshotRequest(model=self.model, as_of=as_of), spec)
        recent_days = context["params"].get("recent_days")
        if recent_days and judge_snapshot(result, spec).passed:
            result = choose_history(result, spec, int(recent_days))
        history = {} if result.history is None else {"history": result.history.model_dump(mode="json")}
        record_verdict(
            judge_snapshot(result, spec),
            subject=f"the training snapshot of {self.model} as of {as_of:%Y-%m-%d %H:%M} UTC",
            ledger_kind="data_verdict",
            model=self.model,
            version=None,
            ports=ports,
            context=context,
            details={
                "snapshot": result.digest,
                "as_of": as_of.isoformat(),
                "table_versions": result.table_versions,
                **history,
            },
            result=result.digest,
        )
        return result.model_dump(mode="json", by_alias=True)


def take_snapshot(request: SnapshotRequest, spec: ModelSpec) -> SnapshotResult:
    return step_runner.run_step("take_snapshot", request, SnapshotResult, runner=_runner(spec))


def choose_history(declared: SnapshotResult, spec: ModelSpec, recent_days: int) -> SnapshotResult:
    """The snapshot of the newest days alone if it is sufficient and was the better one, else the declared one."""
    request = SnapshotRequest(model=spec.model, as_of=declared.as_of, recent_days=recent_days)
    recent = take_snapshot(request, spec)
    snapshots: dict[str, str] = {}
    if recent.digest == declared.digest:
        verdict = Verdict.of(RECENT_RULE, failures=[f"all rows are of the last {recent_days} days"])
    elif (verdict := judge_snapshot(recent, spec)).passed:
        histories = HistoryRequest(
            model=spec.model, declared=declared.digest, recent=recent.digest, recent_days=recent_days
        )
        comparison = step_runner.run_step("compare_histories", histories, HistoryComparison, runner=_runner(spec))
        verdict = judge_recent_history(comparison)
        if comparison.gain is not None:
            snapshots = {"declared": declared.digest, "recent": recent.digest}
    log_verdict(verdict, f"training {spec.model} on the last {recent_days} days alone")
    history = HistoryChoice(
        recent_days=recent_days,
        chosen="recent" if verdict.passed else "declared",
        snapshots=snapshots,
        reasons=[*verdict.reasons, *verdict.findings],
    )
    return (recent if verdict.passed else declared).model_copy(update={"history": history})


def _runner(spec: ModelSpec) -> StageRunner:
    return spec.stage_runner("train").without_gpus()

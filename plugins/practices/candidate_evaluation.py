"""Measures candidate and champion on the candidate's test part; all gates judge these numbers."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines import store_paths
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult
from pipelines.ports import Ports
from pipelines.rules.candidate_evaluation import judge_evaluation
from practices._connections import installation
from practices._operators import links, run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._operators.recorded_digests import recorded_digests


class CandidateEvaluation(ModelPractice):
    """Measure a candidate and the champion on the candidate's test data.

    The version comes from the form, else it is the newest undecided candidate. ``Refused`` if a declared metric or the
    comparison was not measured, if the compared rows are not later than the champion's training data, or (with a
    ``time_ordered`` split) the test part is not later than the candidate's. Skipped for the version that is champion.
    Returns the ``EvaluateResult``, which the gates read.
    """

    ui_color = "#cfe2f3"
    operator_extra_links = (links.EVALUATION_PICTURES, links.MLFLOW_VERSION)

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec = ports.catalog.model(self.model)
        version = run_context.version(context, f"{self.model}:candidate", undecided_versions(ports, self.model))
        champion = ports.registry.by_alias(self.model, "champion")
        if champion is not None and champion.version == version:
            raise AirflowSkipException(f"version {version} of {self.model} is the champion; nothing to evaluate")
        digests = {version: recorded_digests(self.model, version, ports)}
        if champion is not None:
            digests[champion.version] = recorded_digests(self.model, champion.version, ports)
        request = EvaluateRequest(
            model=self.model, version=version, champion=champion and champion.version, digests=digests
        )
        result = step_runner.run_step("evaluate_model", request, EvaluateResult, runner=spec.stage_runner("evaluate"))
        page = links.mlflow_page(ports.settings.tracking, "models", self.model, "versions", result.version)
        links.MLFLOW_VERSION.show(self, page)
        if result.plots:
            pictures = store_paths.plot(self.model, result.version, "roc").rpartition("/")[0]
            links.EVALUATION_PICTURES.show(self, links.stored_page(f"{pictures}/"))
        record_verdict(
            judge_evaluation(result, spec),
            subject=f"the evaluation of {self.model} version {result.version}",
            ledger_kind="gate",
            model=self.model,
            version=result.version,
            ports=ports,
            context=context,
            details={
                "gate": "candidate_evaluation",
                "model_digest": digests[version].model_digest,
                "champion": result.champion,
                "snapshot": result.snapshot,
            },
        )
        return result.model_dump(mode="json", by_alias=True)


def undecided_versions(ports: Ports, model: str) -> list[str]:
    """Versions with status candidate: neither approved nor rejected."""
    return [v.version for v in ports.registry.versions(model) if v.tags.get("airworthy.status") == "candidate"]

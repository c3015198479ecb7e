"""Measures candidate and champion on the candidate's test part; all gates judge these numbers."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ledger.anchor_version import anchor_versions
from pipelines.ledger.recorded_facts import compared_histories, compared_versions
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult
from pipelines.ports import Ports
from pipelines.rules.candidate_evaluation import judge_evaluation
from pipelines.versions.reading import find_live_version, versions_to_evaluate
from pipelines.versions.recorded_digests import judged_model, recorded_digests
from pipelines.versions.records import update_status
from practices._connections import installation
from practices._operators import links, run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._operators.recorded_results import result_digest

log = logging.getLogger(__name__)


class CandidateEvaluation(ModelPractice):
    """Measure a candidate and the champion on the candidate's test data.

    The version comes from the form, else it is the newest undecided candidate; the champion is the version that the
    target serves. ``Refused`` if a declared metric or the comparison was not measured, if the compared rows are not
    later than both trainings, or (with a ``time_ordered`` split) the test part is not later than the candidate's. The
    anchor, and how many candidates were compared on the same test part before, come from the ledger. Skipped for the
    version that is champion. Returns the ``EvaluateResult``, which the gates read.
    """

    ui_color = "#cfe2f3"
    operator_extra_links = (links.EVALUATION_PICTURES, links.MLFLOW_VERSION)

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec = ports.catalog.model(self.model)
        version = run_context.version(context, f"{self.model}:candidate", versions_to_evaluate(ports, self.model))
        champion = find_live_version(ports, self.model)
        if champion == version:
            raise AirflowSkipException(f"version {version} of {self.model} is the champion; nothing to evaluate")
        request = evaluation_request(ports, self.model, version, champion)
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
                **judged_model(request.digests[version]),
                "champion": result.champion,
                "snapshot": result.snapshot,
                "evaluation": result_digest(result),
                "test_part": result.test_part,
            },
            result=result_digest(result),
            on_recorded=partial(update_status, ports),
        )
        return result.model_dump(mode="json", by_alias=True)


def evaluation_request(ports: Ports, model: str, version: str, champion: str | None) -> EvaluateRequest:
    """What the ledger knows of a comparison: digests, anchors, and the candidates compared on each test part before."""
    lines = ports.ledger.entries(model=model)
    declared = ports.catalog.model(model).evaluation.comparison
    needed = dict.fromkeys([version, *([champion] if champion else [])])
    digests = {each: recorded_digests(model, each, ports) for each in needed}
    anchors = []
    for anchor in anchor_versions(lines, champion, declared, ports.clock()):
        try:
            digests.setdefault(anchor, recorded_digests(model, anchor, ports))
        except Refused as refusal:  # the next anchor is taken; a sealed line must not stop every candidate
            log.warning("version %s of %s is no anchor: %s", anchor, model, refusal)
            continue
        anchors += [anchor] * (anchor != version)
    return EvaluateRequest(
        model=model,
        version=version,
        champion=champion,
        anchors=anchors,
        digests=digests,
        attempts=compared_versions(lines),
        chosen_of=compared_histories(lines),
    )

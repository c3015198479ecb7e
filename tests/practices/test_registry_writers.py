"""Whoever can write to the registry and nowhere else changes no decision: the ledger says what a version is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.messages.evaluation import EvaluateRequest, Interval
from pipelines.messages.monitoring import DayComparison, MonitorRequest, PerformanceResult
from pipelines.messages.release import InspectionRequest
from pipelines.ports import VersionInfo
from pipelines.spec.deployment import Deployment
from pipelines.testing.rollout_target import FakeTarget
from practices.candidate_evaluation import CandidateEvaluation
from practices.candidate_preparation import CandidatePreparation
from practices.champion_comparison_gate import ChampionComparisonGate
from practices.champion_release import ChampionRelease
from practices.minimum_metrics_gate import MinimumMetricsGate
from practices.performance_check import PerformanceCheck
from practices.preflight_checklist import PreflightChecklist
from practices.semantic_versioning import SemanticVersioning
from practices.slice_gate import SliceGate
from tests.practices.practice_harness import MODEL, Endpoint, PracticeHarness, Registry
from tests.practices.test_candidate_evaluation import evaluated
from tests.practices.test_champion_release import approve
from tests.practices.test_preflight_checklist import built, inspected

Edit = Callable[[Registry], None]
DECIDED = ("gate", "practice", "outcome", "model_digest", "sha256", "semantic_version", "champion", "from", "check")
"""Details of a ledger line that say what was decided about what."""


def versions_of(registry: Registry) -> dict[str, VersionInfo]:
    return registry._versions[MODEL]


def edited(**fields: Any) -> Edit:
    def edit(registry: Registry) -> None:
        for version, info in versions_of(registry).items():
            versions_of(registry)[version] = info.model_copy(update=fields)

    return edit


def tagged(name: str, value: str) -> Edit:
    def edit(registry: Registry) -> None:
        for version in versions_of(registry):
            registry.set_tags(MODEL, version, {f"airworthy.{name}": value})

    return edit


def forge(registry: Registry) -> None:
    """A version 99 that claims to have passed everything."""
    gates = ("candidate_evaluation", "minimum_metrics_gate", "champion_comparison_gate", "slice_gate")
    passed = {f"airworthy.gate.{gate}": "pass" for gate in gates}
    named = {"airworthy.status": "approved", "airworthy.semantic_version": "9.0.0", "airworthy.model_digest": "d99"}
    made = VersionInfo(model=MODEL, version="99", run_id="r", source="s", semantic="9.0.0", tags=named | passed)
    versions_of(registry)["99"] = made


def point(registry: Registry) -> None:
    registry.name(champion="5", previous="3")


EDITS: dict[str, Edit] = {
    **{f"status {value}": tagged("status", value) for value in ("candidate", "approved", "rejected", "live", "odd")},
    **{
        name: tagged(name, value)
        for name, value in {
            "model_digest": "d9",
            "inputs_digest": "i9",
            "snapshot": "s9",
            "semantic_version": "9.9.9",
            "requested_by": "mallory",
            "hypothesis": "trust me",
            "run_key": "other",
            "request_digest": "r9",
            "environment_digest": "e9",
            "git_revision": "g9",
            "gate.slice_gate": "fail",
        }.items()
    },
    "source": edited(source="models:/evil"),
    "run": edited(run_id="other"),
    "metrics": edited(metrics={"test_roc_auc": 0.01, "validation_roc_auc": 0.01}),
    "semantic": edited(semantic="9.9.9"),
    "a forged version": forge,
    "aliases": point,
}


class Life:
    """Version 5 from its evaluation to its first monitored day, while somebody edits the registry before each step."""

    def __init__(self, harness: PracticeHarness, edit: Edit | None) -> None:
        self.harness, self.edit = harness, edit
        harness.declare(deployment=Deployment())
        harness.rollouts = FakeTarget("4")
        approve(harness, "4")
        harness.ledger.append("release", MODEL, "4", {"sha256": "s4"}, actor="test")
        harness.registry.name(champion="4")
        harness.registry.add("5", status="candidate", model_digest="d5")
        harness.store.put(f"predictions/{MODEL}/date=2013-03-06/a.parquet", b"")
        harness.answers |= {"build_bundle": built, "inspect_release": self.inspect, "evaluate_model": self.measure}
        harness.answers["measure_performance"] = self.perform
        self.contracts: list[Any] = []

    @staticmethod
    def measure(request: EvaluateRequest) -> Any:
        gain = {"metric": "roc_auc", "candidate": 0.7, "champion": 0.69, "gain": 0.01, "low": 0.005, "high": 0.05}
        drawn = {"confidence": 0.95, "rows": 3000, "unit": "day", "units": 40}
        times = {"champion_trained_until": "2013-02-01T00:00:00Z", "compared_from": "2013-02-20T00:00:00Z"}
        alike = {
            "rows": 500,
            "metric": "roc_auc",
            "candidate": 0.7,
            "champion": 0.7,
            "gain": 0.0,
            "units": 30,
            "loss_p": 0.5,
        }
        slices = [{"column": column, "value": "a", **alike} for column in ("carrier", "origin")]
        comparison = Interval.model_validate(gain | drawn)
        return evaluated(request, champion=request.champion, comparison=comparison, slices=slices, **times)

    def inspect(self, request: InspectionRequest) -> Any:
        self.contracts.append(request.semantic_versions)
        return inspected(request)

    @staticmethod
    def perform(request: MonitorRequest) -> PerformanceResult:
        reference = request.test_metrics[str(request.version)]
        measured = {"window_metrics": dict(reference), "window_predictions": 5000, "window_labelled": 5000}
        window = {"window": [request.day], "version": request.version, "reference": reference}
        comparison = DayComparison(
            metric="roc_auc",
            certificate_days=40,
            window_days=7,
            difference=0.0,
            half_width=0.03,
            limit_half_width=0.05,
            autocorrelation=0.1,
            watched_days=7,
        )
        return PerformanceResult(model=MODEL, day=request.day, days=[], **window, **measured, comparison=comparison)

    def do(self, operator: Any, stage: str, *, day: str | None = None, **arguments: Any) -> Any:
        if self.edit is not None:
            self.edit(self.harness.registry)
        task = operator(task_id=operator.__name__, model=MODEL, **arguments)
        return task.execute(self.harness.context(stage, task.task_id, day=day))

    def live(self) -> PracticeHarness:
        evaluation = self.do(CandidateEvaluation, "evaluate")
        for gate in (MinimumMetricsGate, ChampionComparisonGate, SliceGate, SemanticVersioning):
            self.do(gate, "evaluate", evaluation=evaluation)
        ticket = self.do(PreflightChecklist, "deploy")
        for act in (CandidatePreparation, ChampionRelease):
            self.do(act, "deploy", ticket=ticket)
        self.do(PerformanceCheck, "monitor", day="2013-03-06")
        return self.harness


def decisions(harness: PracticeHarness) -> list[tuple[Any, ...]]:
    return [
        (line.kind, line.version, *(line.details.get(name) for name in DECIDED)) for line in harness.ledger.entries()
    ]


def lived(folder: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit | None) -> Life:
    life = Life(PracticeHarness.open(folder, monkeypatch), edit)
    life.live()
    return life


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_the_registry_changes_no_request_no_decision_and_no_traffic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plain = lived(tmp_path / "plain", monkeypatch, None)
    attacked = lived(tmp_path / "attacked", monkeypatch, EDITS[name])
    assert attacked.harness.asked == plain.harness.asked
    assert attacked.contracts == plain.contracts
    assert decisions(attacked.harness) == decisions(plain.harness)
    assert attacked.harness.rollouts is not None
    assert attacked.harness.target(MODEL).state(MODEL).version == "5"


def test_the_life_without_an_edit_comes_to_a_monitored_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = lived(tmp_path, monkeypatch, None).harness
    assert isinstance(harness.endpoint, Endpoint)
    kinds = [line.kind for line in harness.ledger.entries(MODEL, "5")]
    assert (kinds.count("approval"), kinds.count("release"), kinds.count("monitoring_verdict")) == (1, 1, 1)
    assert harness.lines("release")[-1][1]["semantic_version"] == harness.lines("approval")[-1][1]["semantic_version"]

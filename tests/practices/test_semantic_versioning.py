from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Refused, Unavailable
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.evaluation import EvaluateRequest
from pipelines.rules.semantic_versioning import version_facts
from pipelines.spec.model import ModelSpec
from practices.semantic_versioning import SemanticVersioning
from tests.practices.practice_harness import MODEL, PracticeHarness, emitted
from tests.practices.test_candidate_evaluation import evaluated


def trained(harness: PracticeHarness, version: str, spec: ModelSpec | None = None) -> None:
    """A version trained under a declaration (None: the one now)."""
    declared = version_facts(spec or harness.catalog.model(MODEL), harness.catalog.view_of(MODEL))
    details = {"declared": declared.model_dump(mode="json"), "model_digest": f"d{version}"}
    harness.ledger.append("training", MODEL, version, details, actor="test")
    harness.registry.add(version, status="candidate", model_digest=f"d{version}")
    for gate in REQUIRED_GATES:
        judged(harness, version, gate, "pass")


def judged(harness: PracticeHarness, version: str, gate: str, outcome: str) -> None:
    """A verdict of one gate about the version's model file."""
    details = {"gate": gate, "outcome": outcome, "model_digest": f"d{version}"}
    harness.ledger.append("gate", MODEL, version, details, actor="test")


def approve(harness: PracticeHarness, version: str, run: str = "asset__1") -> Any:
    context = harness.context("evaluate", "approve_candidate", run=run)
    result = harness.record_evaluation(evaluated(EvaluateRequest(model=MODEL, version=version)), run=run)
    SemanticVersioning(task_id="approve_candidate", model=MODEL, evaluation=result).execute(context)
    return context


def test_the_first_approved_version_is_1_0_0_and_is_announced(harness: PracticeHarness) -> None:
    trained(harness, "4")
    extra = emitted(approve(harness, "4"), "approved")
    assert (extra["version"], extra["semantic_version"], extra["model_digest"]) == ("4", "1.0.0", "d4")
    assert harness.registry.get(MODEL, "4").semantic == "1.0.0"
    assert harness.registry.tags["4"]["airworthy.status"] == "approved"


def test_a_refit_raises_the_patch_and_says_what_it_follows(harness: PracticeHarness) -> None:
    trained(harness, "4")
    trained(harness, "5")
    approve(harness, "4")
    approve(harness, "5", run="asset__2")
    (_, first), (_, second) = harness.lines("approval")
    assert (first["semantic_version"], second["semantic_version"], second["follows"]) == ("1.0.0", "1.0.1", "1.0.0")


def test_what_was_declared_at_training_counts_not_what_is_declared_now(harness: PracticeHarness) -> None:
    spec = harness.catalog.model(MODEL)
    training = spec.training.model_copy(update={"features": ["carrier", "origin"]})
    trained(harness, "4", spec.model_copy(update={"training": training}))
    trained(harness, "5")
    approve(harness, "4")
    approve(harness, "5", run="asset__2")
    [_, (_, second)] = harness.lines("approval")
    assert second["semantic_version"] == "2.0.0"
    assert any("input dest is new" in change for change in second["changes"])


def test_a_version_approved_again_keeps_its_number(harness: PracticeHarness) -> None:
    for version in ("4", "5"):
        trained(harness, version)
        approve(harness, version, run=f"asset__{version}")
    approve(harness, "4", run="manual__again")
    assert harness.registry.get(MODEL, "4").semantic == "1.0.0"
    trained(harness, "6")
    approve(harness, "6", run="asset__6")
    assert harness.registry.get(MODEL, "6").semantic == "1.0.2"


def test_a_try_cut_off_between_ledger_and_registry_ends_right(
    harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(harness, "4")

    def away(model: str, version: str, tags: Any) -> None:
        raise Unavailable("the registry did not answer")

    with monkeypatch.context() as broken:
        broken.setattr(harness.registry, "set_tags", away)
        with pytest.raises(Unavailable):
            approve(harness, "4")
    approve(harness, "4")
    assert len(harness.lines("approval")) == 1
    assert harness.registry.get(MODEL, "4").semantic == "1.0.0"


@pytest.mark.parametrize("gate", REQUIRED_GATES)
@pytest.mark.parametrize("outcome", ["fail", "unknown"])
def test_a_gate_marked_as_success_by_hand_approves_nothing(harness: PracticeHarness, gate: str, outcome: str) -> None:
    trained(harness, "4")
    judged(harness, "4", gate, outcome)
    with pytest.raises(Refused, match=f"{gate} said {outcome}"):
        approve(harness, "4")
    assert harness.lines("approval") == []
    assert harness.registry.tags["4"]["airworthy.status"] == "candidate"


def test_gates_that_judged_another_model_file_approve_nothing(harness: PracticeHarness) -> None:
    trained(harness, "4")
    harness.ledger.append("training", MODEL, "4", {"model_digest": "another"}, actor="test")
    with pytest.raises(Refused) as refused:
        approve(harness, "4")
    assert [reason.split()[0] for reason in refused.value.reasons[:-1]] == list(REQUIRED_GATES)

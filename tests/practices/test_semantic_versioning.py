from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Unavailable
from pipelines.messages.evaluation import EvaluateRequest
from pipelines.rules.semantic_versioning import version_facts
from pipelines.spec.model import ModelSpec
from practices.semantic_versioning import SemanticVersioning
from tests.practices.airfield import MODEL, Airfield, emitted
from tests.practices.test_candidate_evaluation import evaluated


def trained(field: Airfield, version: str, spec: ModelSpec | None = None) -> None:
    """A version trained under a declaration (None: the one now)."""
    declared = version_facts(spec or field.catalog.model(MODEL), field.catalog.view_of(MODEL))
    details = {"declared": declared.model_dump(mode="json")}
    field.ledger.append("training", MODEL, version, details, actor="test")
    field.registry.add(version, status="candidate", model_digest=f"d{version}")


def approve(field: Airfield, version: str, run: str = "asset__1") -> Any:
    context = field.context("evaluate", "approve_candidate", run=run)
    result = evaluated(EvaluateRequest(model=MODEL, version=version)).model_dump(mode="json", by_alias=True)
    SemanticVersioning(task_id="approve_candidate", model=MODEL, evaluation=result).execute(context)
    return context


def test_the_first_approved_version_is_1_0_0_and_is_announced(field: Airfield) -> None:
    trained(field, "4")
    extra = emitted(approve(field, "4"), "approved")
    assert (extra["version"], extra["semantic_version"], extra["model_digest"]) == ("4", "1.0.0", "d4")
    assert field.registry.get(MODEL, "4").semantic == "1.0.0"
    assert field.registry.tags["4"]["airworthy.status"] == "approved"


def test_a_refit_raises_the_patch_and_says_what_it_follows(field: Airfield) -> None:
    trained(field, "4")
    trained(field, "5")
    approve(field, "4")
    approve(field, "5", run="asset__2")
    (_, first), (_, second) = field.lines("approval")
    assert (first["semantic_version"], second["semantic_version"], second["follows"]) == ("1.0.0", "1.0.1", "1.0.0")


def test_what_was_declared_at_training_counts_not_what_is_declared_now(field: Airfield) -> None:
    spec = field.catalog.model(MODEL)
    training = spec.training.model_copy(update={"features": ["carrier", "origin"]})
    trained(field, "4", spec.model_copy(update={"training": training}))
    trained(field, "5")
    approve(field, "4")
    approve(field, "5", run="asset__2")
    [_, (_, second)] = field.lines("approval")
    assert second["semantic_version"] == "2.0.0"
    assert any("input dest is new" in change for change in second["changes"])


def test_a_version_approved_again_keeps_its_number(field: Airfield) -> None:
    for version in ("4", "5"):
        trained(field, version)
        approve(field, version, run=f"asset__{version}")
    approve(field, "4", run="manual__again")
    assert field.registry.get(MODEL, "4").semantic == "1.0.0"
    trained(field, "6")
    approve(field, "6", run="asset__6")
    assert field.registry.get(MODEL, "6").semantic == "1.0.2"


def test_a_try_cut_off_between_ledger_and_registry_ends_right(field: Airfield, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(field, "4")

    def away(model: str, version: str, tags: Any) -> None:
        raise Unavailable("the registry did not answer")

    with monkeypatch.context() as broken:
        broken.setattr(field.registry, "set_tags", away)
        with pytest.raises(Unavailable):
            approve(field, "4")
    approve(field, "4")
    assert len(field.lines("approval")) == 1
    assert field.registry.get(MODEL, "4").semantic == "1.0.0"

"""What a version needs before its promotion follows from its declaration, in the order of its rollout."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.ledger.required_evidence import REQUIRED_GATES, analysis_stage_name, is_about_model, required_stages
from pipelines.spec.deployment import Deployment
from tests.declared import shipped_model

SPEC = shipped_model()
PEOPLE: dict[str, Any] = {"approval": {"approvers": [{"role": "lead", "users": ["ada"]}]}}
LOAD: dict[str, Any] = {"load_test": {"target_rps": 10, "duration": 60, "assertions": {"p99_latency": {"max": 100}}}}
KEY: dict[str, Any] = {"routing": {"key": "field:ids"}}


def test_four_gates_are_required_of_every_candidate() -> None:
    assert REQUIRED_GATES == ("candidate_evaluation", "minimum_metrics_gate", "champion_comparison_gate", "slice_gate")


@pytest.mark.parametrize(
    ("details", "about"),
    [
        ({"model_digest": "a"}, True),
        ({"model_digest": "b"}, False),
        ({"model_digest": "a", "snapshot": "other"}, True),
        ({"model_digest": "b", "snapshot": "s"}, False),
        ({"snapshot": "s"}, True),
        ({"snapshot": "other"}, False),
        ({}, False),
    ],
)
def test_a_line_is_about_the_model_it_names_and_an_old_one_about_its_snapshot(
    details: dict[str, Any], about: bool
) -> None:
    assert is_about_model(details, "a", "s") is about


@pytest.mark.parametrize(
    ("named", "trained", "about"),
    [("j", "j", True), ("k", "j", False), (None, "j", False), ("j", None, False), (None, None, True)],
)
def test_a_gate_that_judged_another_twin_says_nothing_about_a_refitted_model(
    named: str | None, trained: str | None, about: bool
) -> None:
    details = {"model_digest": "a"} | ({} if named is None else {"judged_digest": named})
    assert is_about_model(details, "a", "s", trained) is about
    assert is_about_model({"snapshot": "s"}, "a", "s", trained) is (trained is None)


@pytest.mark.parametrize(
    ("block", "first", "stages"),
    [
        ({}, False, []),
        (PEOPLE, False, ["approval_quorum"]),
        (LOAD | PEOPLE, False, ["load_test", "approval_quorum"]),
        ({"strategy": "canary"} | LOAD | PEOPLE, True, ["load_test", "approval_quorum"]),
        (LOAD, True, ["load_test"]),
        ({"strategy": "canary"}, True, []),
        ({"strategy": "shadow"}, False, ["shadow_comparison"]),
        ({"shadow": {}} | PEOPLE, False, ["shadow_comparison", "approval_quorum"]),
        ({"strategy": "blue_green"} | LOAD, False, ["load_test", "rollout_analysis at 5 %"]),
        (
            {"strategy": "canary", "canary": {"steps": [2.5, 50]}, "shadow": {}} | LOAD | PEOPLE,
            False,
            [
                "load_test",
                "shadow_comparison",
                "approval_quorum",
                "rollout_analysis at 2.5 %",
                "rollout_analysis at 50 %",
            ],
        ),
        ({"strategy": "ab"} | KEY | LOAD | PEOPLE, False, ["load_test", "approval_quorum", "ab_test"]),
    ],
)
def test_the_required_stages_are_those_of_the_declared_rollout(
    block: dict[str, Any], first: bool, stages: list[str]
) -> None:
    spec = SPEC.model_copy(update={"deployment": Deployment.model_validate(block)})
    assert required_stages(spec, first=first) == stages


@pytest.mark.parametrize(("share", "text"), [(500, "5"), (250, "2.5"), (1, "0.01"), (10_000, "100")])
def test_a_stage_is_named_by_its_percentage(share: int, text: str) -> None:
    assert analysis_stage_name(share) == f"rollout_analysis at {text} %"

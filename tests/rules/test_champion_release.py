"""What may go live, by table."""

from __future__ import annotations

import pytest

from pipelines.messages.rollout import RolloutTicket
from pipelines.rules.champion_release import judge_release
from pipelines.verdict import Outcome

DIGEST, OTHER = "a" * 64, "b" * 64
GATES = ("minimum_metrics_gate", "slice_gate")
PASSED = {"minimum_metrics_gate": "pass", "slice_gate": "pass"}


TICKET = RolloutTicket(
    model="flight_delay",
    version="3",
    rollout_id="r1",
    champion="2",
    bundle="bundles/flight_delay/3",
    sha256="c" * 64,
    model_digest=DIGEST,
)


@pytest.mark.parametrize(
    ("stages", "gates", "approval", "outcome", "reasons"),
    [
        ({}, PASSED, DIGEST, Outcome.PASS, []),
        ({}, {**PASSED, "extra": "fail"}, DIGEST, Outcome.PASS, []),
        ({}, {"minimum_metrics_gate": "pass"}, DIGEST, Outcome.UNKNOWN, ["slice_gate has no verdict"]),
        ({}, {**PASSED, "slice_gate": "unknown"}, DIGEST, Outcome.UNKNOWN, ["slice_gate was not measured"]),
        ({}, {**PASSED, "slice_gate": "fail"}, DIGEST, Outcome.FAIL, ["slice_gate said fail"]),
        ({}, {**PASSED, "slice_gate": "skipped"}, DIGEST, Outcome.FAIL, ["slice_gate said skipped"]),
        ({}, PASSED, None, Outcome.UNKNOWN, ["version 3 has no approval"]),
        ({}, PASSED, OTHER, Outcome.FAIL, ["the approval is of model bbbbbbbbbbbb…, the bundle holds aaaaaaaaaaaa…"]),
        ({"approval_quorum": "pass", "rollout_analysis at 5 %": "pass"}, PASSED, DIGEST, Outcome.PASS, []),
        ({"approval_quorum": None}, PASSED, DIGEST, Outcome.UNKNOWN, ["approval_quorum has no verdict"]),
        ({"approval_quorum": "fail"}, PASSED, DIGEST, Outcome.FAIL, ["approval_quorum said fail"]),
        ({"rollout_analysis at 5 %": "unknown"}, PASSED, DIGEST, Outcome.UNKNOWN, ["at 5 % was not measured"]),
        (
            {"approval_quorum": "fail", "shadow_comparison": None},
            {"slice_gate": "fail"},
            OTHER,
            Outcome.FAIL,
            [
                "slice_gate said",
                "approval_quorum said",
                "the approval is of",
                "minimum_metrics_gate",
                "shadow_comparison",
            ],
        ),
    ],
)
def test_a_release_needs_every_gate_every_stage_and_the_approval_of_these_bytes(
    stages: dict[str, str | None], gates: dict[str, str], approval: str | None, outcome: Outcome, reasons: list[str]
) -> None:
    verdict = judge_release(TICKET, gates, approval, GATES, stages=stages)
    assert verdict.outcome is outcome
    assert len(verdict.reasons) == len(reasons)
    assert [part for part, reason in zip(reasons, verdict.reasons, strict=True) if part not in reason] == []


def test_the_facts_name_the_bytes_that_were_judged() -> None:
    facts = judge_release(TICKET, PASSED, DIGEST, GATES).facts
    assert (facts["model_digest"], facts["bundle_sha256"], facts["gates"]) == (DIGEST, "c" * 64, PASSED)


def test_the_facts_list_the_outcome_of_each_stage() -> None:
    stages = {"approval_quorum": "pass", "ab_test": None}
    assert judge_release(TICKET, PASSED, DIGEST, GATES, stages=stages).facts["stages"] == stages
    assert judge_release(TICKET, PASSED, DIGEST, GATES).facts["stages"] == {}

"""What may go live, by table."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.messages import BundleResult
from pipelines.rules.champion_release import judge_release
from pipelines.verdict import Outcome

DIGEST, OTHER = "a" * 64, "b" * 64
GATES = ("minimum_metrics_gate", "slice_gate")
PASSED = {"minimum_metrics_gate": "pass", "slice_gate": "pass"}


def bundle(**changes: Any) -> BundleResult:
    facts: dict[str, Any] = {
        "model": "flight_delay",
        "version": "3",
        "uri": "bundles/flight_delay/3",
        "predictor": "onnx",
        "sha256": "c" * 64,
        "model_digest": DIGEST,
        "parity_rows": 1000,
        "largest_difference": 1e-5,
    }
    return BundleResult(**(facts | changes))


@pytest.mark.parametrize(
    ("changes", "gates", "approval", "outcome", "reasons"),
    [
        ({}, PASSED, DIGEST, Outcome.PASS, []),
        ({}, {**PASSED, "extra": "fail"}, DIGEST, Outcome.PASS, []),
        ({}, {"minimum_metrics_gate": "pass"}, DIGEST, Outcome.UNKNOWN, ["slice_gate has no verdict"]),
        ({}, {**PASSED, "slice_gate": "unknown"}, DIGEST, Outcome.UNKNOWN, ["slice_gate was not measured"]),
        ({}, {**PASSED, "slice_gate": "fail"}, DIGEST, Outcome.FAIL, ["slice_gate said fail"]),
        ({}, {**PASSED, "slice_gate": "skipped"}, DIGEST, Outcome.FAIL, ["slice_gate said skipped"]),
        ({}, PASSED, None, Outcome.UNKNOWN, ["version 3 has no approval"]),
        ({}, PASSED, OTHER, Outcome.FAIL, ["the approval is of model bbbbbbbbbbbb…, the bundle holds aaaaaaaaaaaa…"]),
        ({"parity_rows": 999}, PASSED, DIGEST, Outcome.UNKNOWN, ["999 rows < 1000"]),
        ({"largest_difference": 2e-5}, PASSED, DIGEST, Outcome.FAIL, ["bundle difference 2e-05 > 1e-05"]),
        ({"largest_difference": float("nan")}, PASSED, DIGEST, Outcome.UNKNOWN, ["bundle difference is nan"]),
        (
            {"largest_difference": 1.0, "parity_rows": 0},
            {"slice_gate": "fail"},
            OTHER,
            Outcome.FAIL,
            ["slice_gate said fail", "the approval is of", "difference 1 >", "minimum_metrics_gate has no", "0 rows"],
        ),
    ],
)
def test_a_release_needs_every_gate_the_approval_of_these_bytes_and_parity(
    changes: dict[str, Any], gates: dict[str, str], approval: str | None, outcome: Outcome, reasons: list[str]
) -> None:
    verdict = judge_release(bundle(**changes), gates, approval, GATES)
    assert verdict.outcome is outcome
    assert len(verdict.reasons) == len(reasons)
    assert [part for part, reason in zip(reasons, verdict.reasons, strict=True) if part not in reason] == []


def test_the_facts_name_the_bytes_that_were_judged() -> None:
    facts = judge_release(bundle(), PASSED, DIGEST, GATES).facts
    assert (facts["model_digest"], facts["bundle_sha256"], facts["gates"]) == (DIGEST, "c" * 64, PASSED)

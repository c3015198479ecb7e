"""A ledger line is said in one sentence: its verdict with subject and reasons, or the fields that its kind has."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.ledger.seals import SEAL_KIND
from pipelines.ledger.summary import summary
from pipelines.testing.ports import MemoryLedger


@pytest.mark.parametrize(
    ("kind", "details", "text"),
    [
        ("release", {}, ""),
        ("release", {"previous": "1", "sha256": "a"}, ""),
        (
            "rollback",
            {"from": "2", "to": "1", "because": "too  slow\nfor all"},
            "from 2; to 1; because too slow for all",
        ),
        ("training", {"semantic_version": "1.0.0", "day": "2013-01-05"}, "semantic version 1.0.0; day 2013-01-05"),
        ("gate", {"gate": "slice_gate", "outcome": "pass"}, "slice_gate PASS"),
        ("gate", {"gate": "slice_gate", "outcome": "fail", "reasons": ["a", "b"]}, "slice_gate FAIL: a; b"),
        ("x", {"check": "drift_check", "practice": "p", "rule": "r", "outcome": "unknown"}, "drift_check UNKNOWN"),
        ("x", {"practice": "canary_step", "rule": "r", "outcome": "pass"}, "canary_step PASS"),
        ("x", {"rule": "r", "outcome": "pass"}, "r PASS"),
        ("x", {"outcome": "pass", "people": ["ada", "bo"], "role": "ml_lead"}, "PASS: ada; bo; role ml_lead"),
        ("approval_answer", {"role": "ml_lead", "choice": "expired"}, "nobody answered as ml_lead in time"),
        (SEAL_KIND, {"first": 3, "last": 5, "newest": 5, "because": "a disk"}, "lines 3 to 5 (lost) sealed: a disk"),
        (SEAL_KIND, {"first": "no number", "because": "a disk"}, "because a disk"),
    ],
)
def test_a_line_is_said_in_one_sentence(kind: str, details: dict[str, Any], text: str) -> None:
    ledger = MemoryLedger()
    ledger.append(kind, "m", "1", details, actor="airworthy")
    assert summary(ledger.entries()[0]) == text

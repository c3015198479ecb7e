"""Lines of the ledger are counted as decisions read them."""

from __future__ import annotations

from typing import Any

from pipelines.ledger.recorded_facts import compared_histories, compared_versions
from pipelines.ledger.recorded_facts import test_metrics as metrics_of_versions
from pipelines.testing.ports import MemoryLedger


def line(version: str, **details: Any) -> tuple[str, dict[str, Any]]:
    return version, {"gate": "candidate_evaluation", "champion": "3", "test_part": "t1", **details}


def test_the_candidates_that_were_compared_on_a_test_part_are_counted_once_each() -> None:
    ledger = MemoryLedger()
    for version, details in (
        line("4"),
        line("5"),
        line("4"),
        line("6", test_part="t2"),
        line("7", champion=None),
        line("8", test_part=None),
        line("9", gate="slice_gate"),
    ):
        ledger.append("gate", "flight_delay", version, details, actor="test")
    assert compared_versions(ledger.entries()) == {"t1": ["4", "5"], "t2": ["6"]}


def test_a_version_that_is_the_better_of_two_histories_counts_as_two_candidates() -> None:
    ledger = MemoryLedger()
    both = {"declared": "d", "recent": "r"}
    for version, details in (("4", {}), ("5", {"history": {"snapshots": both}}), ("6", {"history": {"snapshots": {}}})):
        ledger.append("training", "flight_delay", version, details, actor="test")
    ledger.append("refit", "flight_delay", "7", {"history": {"snapshots": both}}, actor="test")
    assert compared_histories(ledger.entries()) == {"5": 2}


def test_the_metrics_of_a_version_are_those_of_its_newest_evaluation_and_of_no_other_gate() -> None:
    ledger = MemoryLedger()
    for kind, version, gate, facts in (
        ("gate", "4", "candidate_evaluation", {"metrics": {"roc_auc": 0.6}}),
        ("gate", "4", "candidate_evaluation", {"metrics": {"roc_auc": 0.7, "f1": None}}),
        ("gate", "4", "slice_gate", {"metrics": {"roc_auc": 0.1}}),
        ("note", "4", "candidate_evaluation", {"metrics": {"roc_auc": 0.2}}),
        ("gate", "5", "candidate_evaluation", None),
    ):
        ledger.append(kind, "flight_delay", version, {"gate": gate, "facts": facts}, actor="test")
    assert metrics_of_versions(ledger.entries()) == {"4": {"roc_auc": 0.7}}

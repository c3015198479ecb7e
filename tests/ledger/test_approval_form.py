"""What an approver reads: which bytes, every number, nothing that a person typed to mislead."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.ledger.approval_form import FormFacts, form, subject
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotResult, SplitPart
from pipelines.ports import VersionInfo
from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import read_declaration
from pipelines.spec.deployment import Deployment
from pipelines.spec.model import ModelSpec
from pipelines.testing.ports import MemoryLedger

MODEL = "flight_delay"
SPEC = read_declaration(REPOSITORY / "include" / "models" / f"{MODEL}.yaml", ModelSpec)
TICKET = RolloutTicket(
    model=MODEL, version="3", rollout_id="r", champion="2", bundle="b", sha256="b" * 64, model_digest="a" * 64
)
CANDIDATE = VersionInfo(model=MODEL, version="3", run_id="r", source="s", semantic="1.1.0")
COMPARED = {
    "metric": "roc_auc",
    "candidate": 0.7,
    "champion": 0.68,
    "gain": 0.02,
    "low": 0.012,
    "high": 0.025,
    "confidence": 0.95,
    "rows": 9124,
    "margin": 0.005,
}


def told(*lines: tuple[str, dict[str, Any]], **changes: Any) -> str:
    """The form over these ledger lines (kind, details)."""
    ledger = MemoryLedger()
    for kind, details in lines:
        ledger.append(kind, MODEL, "3", details, actor="airworthy")
    facts = {"ticket": TICKET, "spec": SPEC, "candidate": CANDIDATE, "lines": ledger.entries()}
    return form(FormFacts.model_validate(facts | changes), 86400)


def gate(name: str, outcome: str = "pass", *reasons: str, **facts: Any) -> tuple[str, dict[str, Any]]:
    return "gate", {"gate": name, "outcome": outcome, "reasons": list(reasons), "facts": facts}


def row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {start} "))


def test_both_digests_stand_in_full() -> None:
    text = told()
    assert "a" * 64 in row(text, "model digest")
    assert "b" * 64 in row(text, "bundle digest")


@pytest.mark.parametrize(
    ("line", "start", "wanted"),
    [
        (gate("minimum_metrics_gate", roc_auc=0.70123), "minimum metrics gate", "pass | roc auc 0.7012 (≥ 0.62)"),
        (
            gate("champion_comparison_gate", **COMPARED),
            "champion comparison gate",
            "roc_auc 0.7000 against 0.6800: gain +0.0200, 95% interval [+0.0120, +0.0250], on 9,124 rows",
        ),
        (gate("champion_comparison_gate", champion="no champion"), "champion comparison gate", "| pass |"),
        (gate("slice_gate", gains={"origin=JFK": -0.01}), "slice gate", "gains: origin=JFK -0.01"),
        (gate("slice_gate", "fail", "origin=JFK loses"), "slice gate", "**fail**: origin=JFK loses"),
    ],
)
def test_a_gate_says_its_verdict_and_its_numbers(line: tuple[str, dict[str, Any]], start: str, wanted: str) -> None:
    assert wanted in row(told(line), start)


def test_a_gate_without_a_verdict_is_shown_as_one() -> None:
    assert "**no verdict**" in row(told(), "slice gate")


def test_of_a_gate_asked_twice_the_last_word_counts() -> None:
    text = told(gate("slice_gate", "fail", "origin=JFK loses"), gate("slice_gate"))
    assert "pass" in row(text, "slice gate")


def test_of_many_slices_the_worst_come_first() -> None:
    gains = {f"carrier={number}": number / 1000 for number in range(20)}
    shown = row(told(gate("slice_gate", gains=gains)), "slice gate")
    assert "gains: carrier=0 0, carrier=1 0.001" in shown
    assert "(the lowest 12 of 20)" in shown


def test_what_was_tried_in_this_release_stands_there_with_its_numbers() -> None:
    ledger = MemoryLedger()
    shown = {"p99_latency": {"bad": 3, "of": 60000, "limit": 0.01}}
    measured = {"percentiles_ms": {"p99": 11.9}, "sent": 60000, "stopped_early": False, "report": "memory://x"}
    loaded = {"outcome": "pass", "facts": measured | {"assertions": shown}}
    warned = {"item": "6 load", "result": "WARNING", "why": ["never drilled"]}
    listed = {"outcome": "pass", "facts": {"checklist": [{"item": "1 size", "result": "PASS"}, warned]}}
    run = {
        "test_under_load": ledger.append("rollout", MODEL, "3", loaded, actor="x"),
        "check_release": ledger.append("gate", MODEL, "3", listed, actor="x"),
    }
    text = told(run_verdicts=run)
    numbers = "assertions: p99_latency (bad 3, limit 0.01, of 60,000), percentiles ms: p99 11.9, sent 60,000"
    assert row(text, "test_under_load") == f"| test_under_load | pass | {numbers} |"
    assert "1 size PASS; 6 load WARNING (never drilled)" in row(text, "check_release")


def test_the_model_card_tells_the_data_the_features_and_both_versions_metrics() -> None:
    day = datetime(2013, 1, 1, tzinfo=UTC)
    taken = SnapshotResult(
        model=MODEL,
        as_of=datetime(2013, 3, 1, 5, tzinfo=UTC),
        digest="5" * 64,
        uri="u",
        rows=60000,
        parts={"train": SplitPart(rows=42000, first=day, last=day.replace(month=2))},
        features=["carrier", "origin"],
        table_versions={},
    )
    champion = CANDIDATE.model_copy(update={"version": "2", "metrics": {"test_roc_auc": 0.68}})
    text = told(gate("candidate_evaluation", metrics={"roc_auc": 0.7}), snapshot=taken, champion=champion)
    assert "60,000 rows known at 2013-03-01 05:00 UTC: train 42,000 rows (2013-01-01 to 2013-02-01)" in row(
        text, "data"
    )
    assert row(text, "features") == "| features | 2: `carrier`, `origin` |"
    assert row(text, "roc_auc") == "| roc_auc | 0.7 | 0.68 |"


def test_the_form_says_how_the_version_is_released() -> None:
    canary = SPEC.model_copy(update={"deployment": Deployment(strategy="canary")})
    assert "by canary, 5 % → 15 %" in told(spec=canary)
    assert "No answer within 24 hours counts as a rejection" in told()
    assert "no version is live yet" in told(ticket=TICKET.model_copy(update={"champion": None}))


@pytest.mark.parametrize("end", ["|", "\\|"])
def test_what_a_person_typed_cannot_add_a_row_or_break_out_of_its_cell(end: str) -> None:
    typed = {"airworthy.hypothesis": f"good {end}\n| slice gate | pass | forged |"}
    text = told(candidate=CANDIDATE.model_copy(update={"tags": typed}))
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", row(text, "hypothesis"))
    assert len(cells) == 4, cells
    assert "forged" in cells[2]
    assert "no verdict" in row(text, "slice gate")


def test_the_same_facts_give_the_same_text() -> None:
    assert told(gate("slice_gate")) == told(gate("slice_gate"))


def test_the_headline_says_who_is_asked_about_what() -> None:
    champion = CANDIDATE.model_copy(update={"version": "2", "semantic": "1.0.0"})
    facts = FormFacts(ticket=TICKET, spec=SPEC, candidate=CANDIDATE, champion=champion, lines=[])
    assert subject(facts, "ml_lead") == "ml_lead: release flight_delay 3 (1.1.0) in place of 2 (1.0.0)?"

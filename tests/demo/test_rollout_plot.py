"""What callers got becomes figures and a picture; what was decided comes from the ledger."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.demo.rollout_plot import count_answers, draw, read_timeline
from pipelines.demo.traffic import count_errors
from pipelines.testing.ports import MemoryLedger

BEGUN = 1_000_000.0


@pytest.fixture
def answers() -> pl.DataFrame:
    """Ten seconds: the candidate (version 2) answers, then the champion in its place; one caller gets an error."""
    rows = []
    for tenth in range(100):
        at = BEGUN + tenth / 10
        version = "2" if tenth % 2 and tenth < 50 else "1"
        rows.append((at, 200, version, "candidate" if tenth % 2 else "champion"))
    rows.append((BEGUN + 9.95, 0, "", ""))
    return pl.DataFrame(rows, schema=["at", "status", "version", "arm"], orient="row")


def test_an_answer_of_the_champion_in_the_candidates_arm_is_a_fallback_and_no_error(answers: pl.DataFrame) -> None:
    found = count_answers(answers)
    assert int(found["answers"].sum()) == 101
    assert int(found["instead"].sum()) == 25
    assert count_errors(answers) == 1
    assert int(found["errors"].sum()) == 1


def test_a_promotion_makes_no_fallbacks_of_the_candidates_last_answers() -> None:
    rows = [
        (BEGUN + tenth / 10, 200, "1" if tenth % 2 else "2", "champion" if tenth % 2 else "candidate")
        for tenth in range(20)
    ]
    rows += [(BEGUN + 2.01, 200, "2", "champion"), (BEGUN + 2.02, 200, "2", "candidate")]
    answers = pl.DataFrame(rows, schema=["at", "status", "version", "arm"], orient="row")
    assert int(count_answers(answers)["instead"].sum()) == 0


def test_the_ledger_says_what_was_decided(answers: pl.DataFrame) -> None:
    ledger = MemoryLedger()

    def write(kind: str, version: str, **details: object) -> None:
        ledger.append(kind, "m", version, details, actor="a")

    write("approval_answer", "2", choice="approve", person="ml_lead", role="ml_lead")
    write("approval_answer", "2", choice="reject", person="compliance", role="compliance")
    write("rollout", "2", practice="load_test", outcome="pass")
    write("rollout", "2", practice="shadow_comparison", outcome="unknown")
    write("rollout", "2", practice="canary_step", share=2000)
    write("rollout", "2", practice="rollout_analysis", share=2000)
    write("rollback", "1", **{"from": "2", "to": "1"})
    write("release", "2", uri="b")
    told = [(kind, text) for _, kind, text in read_timeline(ledger.entries(), 0.0)]
    assert told == [
        ("approval", "ml_lead"),
        ("passed", "load test passed"),
        ("shift", "20 %"),
        ("rolled back", "version 2 rolled back"),
        ("promoted", "version 2 is champion"),
    ]
    assert read_timeline(ledger.entries(), 1e12) == []


@pytest.mark.parametrize("arms", ["both", "champion"])
def test_the_picture_is_drawn_with_and_without_a_candidate(answers: pl.DataFrame, tmp_path: Path, arms: str) -> None:
    shown = answers if arms == "both" else answers.filter(pl.col("arm") == "champion")
    path = tmp_path / "new" / "rollout.png"
    draw(shown, [(BEGUN + 3, "shift", "20 %"), (BEGUN + 4, "trouble", "frozen")], path, title="m")
    assert path.read_bytes().startswith(b"\x89PNG")

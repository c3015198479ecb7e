"""The anchor stays where it is until a version was shown to be better, and ages with the declared window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.ledger.anchor_version import MAX_TRIED, anchor_versions
from pipelines.spec.model import ComparisonSpec
from pipelines.testing.ports import FixedClock, MemoryLedger

START = datetime(2013, 1, 1, tzinfo=UTC)
DECLARED = ComparisonSpec(metric="roc_auc")


class History:
    """One version a week is compared with the live one, passes and is released."""

    def __init__(self) -> None:
        self.clock = FixedClock(START)
        self.ledger = MemoryLedger(self.clock)
        self.live: str | None = None

    def release(
        self, version: str, *, low: float = -0.01, units: int | None = 40, anchor: tuple[str, float] | None = None
    ) -> None:
        facts: dict[str, Any] = {"metric": "roc_auc", "low": low} | ({} if units is None else {"units": units})
        if anchor:
            facts["anchor"] = {"metric": "roc_auc", "units": 40, "version": anchor[0], "low": anchor[1]}
        gate = {"gate": "champion_comparison_gate", "outcome": "pass", "champion": self.live, "facts": facts}
        self.ledger.append("gate", "m", version, gate, actor="t")
        self.ledger.append("release", "m", version, {"previous": self.live}, actor="t")
        self.live = version
        self.clock.advance(timedelta(days=7))

    def anchors(self, declared: ComparisonSpec = DECLARED) -> list[str]:
        return anchor_versions(self.ledger.entries("m"), self.live, declared, self.clock())


@pytest.fixture
def history() -> History:
    history = History()
    history.release("1")
    return history


def test_the_live_version_needs_no_anchor_beside_it(history: History) -> None:
    assert history.anchors() == []
    assert anchor_versions([], None, DECLARED, START) == []


def test_the_anchor_is_the_first_version_as_long_as_none_was_shown_better(history: History) -> None:
    for version in ("2", "3", "4"):
        history.release(version)
    assert history.anchors() == ["1", "2", "3"]


def test_a_version_shown_better_than_the_anchor_takes_its_place(history: History) -> None:
    history.release("2", low=0.001)
    history.release("3")
    assert history.anchors()[0] == "2"
    history.release("4", anchor=("2", 0.0))
    history.release("5", anchor=("2", 0.002))
    assert history.anchors() == []
    history.release("6")
    assert history.anchors()[0] == "5"


@pytest.mark.parametrize("more", [{"units": None}, {"low": 0.0}, {"low": None}])
def test_an_estimate_or_an_interval_by_rows_moves_no_anchor(history: History, more: dict[str, Any]) -> None:
    history.release("2", **({"low": 0.01} | more))
    history.release("3")
    assert history.anchors()[0] == "1"


def test_an_improvement_over_another_version_than_the_anchor_moves_it_not(history: History) -> None:
    history.release("2")
    history.release("3", low=0.01)
    history.release("4")
    assert history.anchors()[0] == "1"


def test_the_window_is_a_year_or_the_last_versions_whichever_reaches_back_further(history: History) -> None:
    declared = ComparisonSpec.model_validate({"metric": "roc_auc", "anchor": {"versions": 3, "days": 15}})
    for version in ("2", "3", "4", "5"):
        history.release(version)
    assert history.anchors(declared)[0] == "3"
    history.clock.advance(timedelta(days=400))
    assert history.anchors(declared)[0] == "3"
    longer = ComparisonSpec.model_validate({"metric": "roc_auc", "anchor": {"versions": 1, "days": 500}})
    assert history.anchors(longer)[0] == "1"


def test_no_more_anchors_are_tried_than_are_worth_it(history: History) -> None:
    for version in ("2", "3", "4", "5", "6"):
        history.release(version)
    assert history.anchors() == ["1", "2", "3"][:MAX_TRIED]


def test_a_version_that_was_taken_back_is_no_anchor(history: History) -> None:
    history.release("2")
    history.ledger.append("rollback", "m", "2", {"from": "2", "to": "1", "traffic": True}, actor="t")
    history.live = "1"
    history.release("3")
    assert history.anchors() == ["1"]


def test_who_declares_no_anchor_has_none(history: History) -> None:
    history.release("2")
    assert history.anchors(ComparisonSpec(metric="roc_auc", anchor=None)) == []

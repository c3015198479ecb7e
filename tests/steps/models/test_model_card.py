"""What MLflow shows of a version: facts of its training and its test, and no markup of other people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.evaluation import EvaluateResult, Interval
from pipelines.steps.models.model_card import (
    GAIN_TAG,
    MAX_TAGS,
    evaluated_card,
    gain_text,
    training_card,
    training_tags,
)
from tests.declared import shipped_model

SPEC = shipped_model()
FACTS = {
    "airworthy.requested_by": "ann",
    "airworthy.snapshot": "ab12" * 16,
    "airworthy.hypothesis": "wind | <b>matters</b>\nmuch",
    "airworthy.seed": "7",
    "airworthy.trigger": "manual",
    "airworthy.git_revision": "0123456789abcdef",
}
GAIN = Interval(
    metric="roc_auc",
    candidate=0.71,
    champion=0.70,
    gain=0.01,
    low=-0.002,
    high=0.022,
    confidence=0.95,
    rows=900,
    unit="day",
    units=40,
)


def card() -> str:
    metrics = {"validation_roc_auc": 0.7123, "validation_f1": 0.5, "train_roc_auc": 0.9}
    known, now = datetime(2013, 3, 1, tzinfo=UTC), datetime(2026, 11, 2, 7, 30, tzinfo=UTC)
    return training_card(SPEC, FACTS, metrics, rows=25310, as_of=known, trained_at=now)


def evaluated(**changes: Any) -> EvaluateResult:
    fields: dict[str, Any] = {
        "model": "flight_delay",
        "version": "3",
        "champion": "2",
        "snapshot": FACTS["airworthy.snapshot"],
        "rows": 1234,
        "metrics": {"roc_auc": 0.7056, "pr_auc": None},
        "comparison": GAIN,
    }
    return EvaluateResult(**{**fields, **changes})


def test_the_card_of_a_training_has_its_facts_and_the_declared_metrics() -> None:
    text = card()
    told = ("| asked by | ann |", "25,310 rows known by 2013-03-01", "ab12ab12ab12 |", "| seed | 7 |", "0123456789ab |")
    assert [fact for fact in (*told, SPEC.description, "| roc_auc | 0.7123 |") if fact not in text] == []
    assert "f1" not in text
    assert "0.9000" not in text


def test_a_persons_words_stay_in_their_cell_and_are_no_markup() -> None:
    assert "| hypothesis | wind \\| &lt;b>matters&lt;/b> much |" in card()


def test_an_evaluation_is_added_once_however_often_it_is_repeated() -> None:
    once = evaluated_card(card(), evaluated(), [("roc", "http://mlflow/roc.png")])
    again = evaluated_card(once, evaluated(), [("roc", "http://mlflow/roc.png")])
    assert once == again
    assert once.startswith(card())
    told = ("| roc_auc | 0.7056 |", "| test rows | 1,234 |", "+0.0100 roc_auc over 2, interval -0.0020 to +0.0220")
    assert [fact for fact in (*told, "[roc](http://mlflow/roc.png)") if fact not in once] == []
    assert "pr_auc" not in once.partition("**Tested**")[2]


@pytest.mark.parametrize(
    ("changes", "text"), [({}, "+0.0100 roc_auc over 2"), ({"comparison": None, "champion": None}, None)]
)
def test_the_gain_is_a_tag_only_of_a_version_that_was_compared(changes: dict[str, Any], text: str | None) -> None:
    assert gain_text(evaluated(**changes)) == text


def test_a_version_has_few_short_tags_after_its_whole_life() -> None:
    tags = {*training_tags(FACTS), GAIN_TAG, "airworthy.semantic_version"}
    tags |= {f"airworthy.gate.{gate}" for gate in REQUIRED_GATES if gate.endswith("_gate")}
    assert len(tags) <= MAX_TAGS
    assert max(map(len, training_tags(FACTS).values())) <= 12

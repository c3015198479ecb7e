"""A trigger that cannot act is refused when it is read, with what to write."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.retraining import Retraining


@pytest.mark.parametrize(
    ("trigger", "fault"),
    [
        ({"when": "performance", "at": 0.3}, "at is no limit of performance; it has worse_than or drop"),
        ({"when": "performance", "drop": 0.1, "worse_than": 0.6}, "worse_than and drop are two limits"),
        ({"when": "event", "every_days": 3}, "every_days is no limit of event; it has none"),
        ({"when": "new_rows"}, "new_rows needs the share of new rows, such as more: 0.5"),
        ({"when": "schedule", "consecutive": 2}, "consecutive is for performance, data_drift, prediction_drift"),
        ({"when": "performance", "worse_than": "much"}, "worse_than"),
        ({"when": "weather"}, "when"),
    ],
)
def test_a_limit_that_its_trigger_cannot_have_is_refused(trigger: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Retraining.model_validate({"triggers": [trigger]})


def test_a_name_alone_is_a_trigger_with_the_limits_of_its_check() -> None:
    declared = Retraining.model_validate({"triggers": ["performance", {"when": "schedule", "every_days": 14}]})
    assert [trigger.text for trigger in declared.all_triggers] == ["performance", "schedule every days 14"]
    assert Retraining().has_trigger("event")
    assert not declared.has_trigger("event")


def test_what_a_model_cannot_weigh_or_count_is_a_fault() -> None:
    priced = Retraining.model_validate({"price": {"training": 10, "metric_unit_a_day": 100}})
    assert priced.faults("roc_auc", "roc_auc") == []
    [fault] = priced.faults("roc_auc", "f1")
    assert "evaluation.comparison.metric is roc_auc and monitoring.performance.metric f1" in fault
    assert Retraining.model_validate({"triggers": ["new_rows"]}).faults("f1", "f1")


def test_recent_days_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValidationError, match="recent_days is 30; declare 40 to 3660, or 0 for all rows"):
        Retraining.model_validate({"catch_up": {"recent_days": 30}})

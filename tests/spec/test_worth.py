"""A balance needs both amounts, and a regression the error up to which its answer is right."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.model import ModelSpec
from pipelines.spec.worth import Worth
from tests.declared import shipped_model


@pytest.mark.parametrize(
    ("model", "worth", "fault"),
    [
        ("flight_delay", {"right_answer": 1}, "declare wrong_answer, too"),
        ("flight_delay", {"wrong_answer": 1}, "declare right_answer, too"),
        ("flight_delay", {"tolerance": 5}, "tolerance is for right_answer and wrong_answer"),
        ("flight_delay", {"right_answer": 1, "wrong_answer": 2, "tolerance": 5}, "worth.tolerance is for a regression"),
        ("arrival_delay_minutes", {"right_answer": 1, "wrong_answer": 2}, "worth.right_answer needs worth.tolerance"),
        ("flight_delay", {"currency": "euro"}, "pattern"),
        ("flight_delay", {"training_hour": -1}, "greater than or equal to 0"),
    ],
)
def test_a_worth_that_says_nothing_is_refused(model: str, worth: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ModelSpec.model_validate({**shipped_model(model).model_dump(), "worth": worth})


def test_a_model_without_a_worth_has_the_digest_that_it_had() -> None:
    """The field is left out of what is recorded where it is not declared."""
    assert "worth" not in shipped_model("arrival_delay_minutes").model_dump()
    assert Worth(right_answer=1, wrong_answer=2, tolerance=15).faults("regression") == []

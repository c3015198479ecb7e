from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipelines.spec.model import Training


def test_how_many_trainings_may_run_at_once_is_no_part_of_what_was_trained() -> None:
    """Else the digest of every order, and with it every checkpoint, would change with it."""
    assert Training(max_active=3).model_dump_json() == Training().model_dump_json()


@pytest.mark.parametrize("number", [0, 17, "many"])
def test_a_model_trains_at_least_once_and_at_most_sixteen_times_at_once(number: object) -> None:
    with pytest.raises(ValidationError):
        Training.model_validate({"max_active": number})

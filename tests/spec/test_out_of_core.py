"""What cannot be done batch by batch is refused when the declaration is read, with every reason."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.model import ModelSpec, OutOfCore, Training
from tests.declared import shipped_model

BLOCK = {"out_of_core": {"batch_rows": 1000}}
SKLEARN = {"kind": "sklearn", "class_path": "sklearn.linear_model.LinearRegression"}


def test_a_training_that_does_not_declare_it_is_written_down_as_before() -> None:
    """Else the digest of every order, and with it every checkpoint, would change with it."""
    assert "out_of_core" not in Training().model_dump_json()
    assert Training.model_validate(BLOCK).model_dump()["out_of_core"] == {"batch_rows": 1000}
    assert Training.model_validate({"out_of_core": {}}).out_of_core == OutOfCore(batch_rows=1_000_000)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"estimator": SKLEARN}, "estimator.kind is sklearn, which fits on all rows at once"),
        ({"estimator": {"parameters": {"tree_method": "exact"}}}, "tree_method is 'exact'; only hist"),
        ({"estimator": {"parameters": {"tree_method": "approx"}}}, "tree_method is 'approx'; only hist"),
        ({"split": {"strategy": "random"}}, "split.strategy is random, which ranks all rows at once"),
        ({"split": {"strategy": "stratified"}}, "split.strategy is stratified, which ranks all rows at once"),
        ({"cross_validation": {"folds": 3}}, "cross_validation needs all rows at once"),
        ({"search": {"trials": 2, "space": {"max_depth": {"choices": [2, 3]}}}}, "search would read all rows for each"),
        ({"out_of_core": {"batch_rows": 99}}, "greater than or equal to 100"),
        ({"out_of_core": {"batch_rows": 1000, "rows": 1}}, "Extra inputs are not permitted"),
    ],
)
def test_what_needs_all_rows_at_once_is_refused(declared: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Training.model_validate({**BLOCK, **declared})


def test_every_reason_is_said_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        Training.model_validate(
            {**BLOCK, "estimator": SKLEARN, "split": {"strategy": "random"}, "cross_validation": {"folds": 3}}
        )
    text = str(refused.value)
    assert all(word in text for word in ("estimator.kind", "split.strategy", "cross_validation"))


@pytest.mark.parametrize("method", ["hist", "auto"])
def test_boosting_on_quantised_rows_split_by_time_is_accepted(method: str) -> None:
    Training.model_validate({**BLOCK, "estimator": {"parameters": {"tree_method": method}}})


@pytest.mark.parametrize("runner", [{"gpus": 1}, {"workers": 2}])
def test_gpus_and_further_workers_are_refused_beside_it(runner: dict[str, int]) -> None:
    declared = shipped_model().model_dump(exclude_unset=True)
    ModelSpec.model_validate(declared | {"training": BLOCK})
    with pytest.raises(ValidationError, match="out_of_core needs one worker on its CPU"):
        ModelSpec.model_validate(declared | {"training": BLOCK, "runner": {"train": runner}})

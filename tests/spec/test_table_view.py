"""A view of a table without dates says what its rows are, and refuses what needs a moment or an order of time."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.spec.model_declaration import ModelDeclaration, resolved_model
from tests.declared import feature_view

LOANS: dict[str, Any] = {
    "files": "{source}/{partition}/loans.csv",
    "key": "row",
    "columns": {
        "amount": "number",
        "term": "integer",
        "branch": "string",
        "opened": "date",
        "status": "string",
        "name": {"type": "string", "pii": True},
    },
}
BRANCHES: dict[str, Any] = {
    "files": "{source}/{partition}/branches.csv",
    "cadence": "reference",
    "key": ["branch"],
    "columns": {"branch": "string", "region": "string"},
}
VIEW: dict[str, Any] = {
    "schema": 2,
    "view": "loan",
    "rows": {"table": "loans"},
    "label": {"bad": "status = 'default'"},
    "features": {"*": "own"},
}
MODEL: dict[str, Any] = {"schema": 2, "model": "risk", "view": "loan", "target": "bad"}


def dataset(every: str = "once", **loans: Any) -> DatasetSpec:
    partition = {"every": every} | ({} if every == "once" else {"start": "2024-01-01"})
    sources = {"loans": LOANS | loans, "branches": BRANCHES}
    return DatasetSpec.model_validate({"schema": 2, "dataset": "bank", "partition": partition, "sources": sources})


def view(**changes: Any) -> FeatureView:
    return feature_view(VIEW | changes, dataset())


def model(*, of: FeatureView | None = None, **changes: Any) -> ModelSpec:
    spec, faults = resolved_model(ModelDeclaration.model_validate(MODEL | changes), of or view(), dataset())
    if spec is None:
        raise Refused("the model has faults", faults)
    return spec


def test_all_columns_are_features_but_the_label_times_and_personal_data() -> None:
    table = view(
        features={"*": "own", "region": {"lookup": "branches"}, "month": {"calendar": "month", "of": "opened"}}
    )
    assert set(table.features) == {"region", "month", "amount", "term", "branch"}
    assert (table.key, table.event_time, table.is_table) == (["__row"], None, True)


def test_a_table_with_a_key_is_named_by_it() -> None:
    named = dataset(key=["branch", "amount"])
    assert feature_view(VIEW, named).key == ["branch", "amount"]
    with pytest.raises(Refused, match="add amount"):
        feature_view(VIEW | {"entity": ["branch"]}, named)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entity": ["branch"]}, "entity: rows of loans may repeat (key: row), so no column names one; remove it"),
        ({"rows": {"per": "loans"}, "entity": ["branch"]}, "rows.per: bank has no dates; write {table: loans}"),
        ({"features": {"status": "own"}}, "features.status: status reads 'status', of which the label tells"),
        ({"features": {"years_open": "2024 - year(t)"}}, "'t' is neither a feature nor a column of loans"),
        ({"features": {"hour_asked": {"calendar": "hour"}}}, "a row of a table has no moment; write a date"),
        (
            {"features": {"branch_count": {"aggregate": "count", "by": "branch"}}},
            "a row of a table has no moment by which events are known; leave it out",
        ),
        (
            {"label": {"bad": "count(loans) >= 1", "within": "30d"}},
            "within is of the time after t, and a row of a table has no moment",
        ),
        ({"rows": {"table": "branches"}}, "'branches' is a reference source"),
    ],
)
def test_what_needs_a_moment_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as error:
        view(**changes)
    assert any(said in reason for reason in error.value.reasons), error.value.reasons


def test_rows_of_a_dataset_with_dates_are_no_table() -> None:
    with pytest.raises(Refused) as error:
        feature_view(VIEW, dataset("day", event_time="opened"))
    assert error.value.reasons == ["rows.table: bank has a partition every day; write {per: …}, or {each: …}"]


def test_a_model_of_a_table_draws_its_rows_and_compares_them_each() -> None:
    spec = model()
    assert (spec.training.split.strategy, spec.training.refits) == ("stratified", False)
    assert (spec.training.minimum_rows, spec.evaluation.comparison.unit) == (50, "entity_id")
    declared = model(training={"minimum_rows": 900, "split": {"strategy": "random"}})
    assert (declared.training.minimum_rows, declared.training.split.strategy) == (900, "random")
    folds = model(training={"cross_validation": {"folds": 4}}).training.cross_validation
    assert folds is not None
    assert folds.strategy == "stratified"
    by_branch = model(evaluation={"comparison": {"metric": "log_loss", "unit": "branch"}}).evaluation.comparison
    assert (by_branch.metric, by_branch.unit) == ("log_loss", "branch")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"split": {"strategy": "time_ordered"}}}, "training.split.strategy: no row is later"),
        ({"training": {"history_days": 90}}, "training.history_days: a table has no days"),
        ({"training": {"out_of_core": {}}}, "training.out_of_core: rows are read in order of time"),
        (
            {"training": {"cross_validation": {"folds": 4, "strategy": "forward_chaining"}}},
            "training.cross_validation.strategy: no row is later",
        ),
        ({"evaluation": {"comparison": {"metric": "roc_auc", "unit": "day"}}}, "evaluation.comparison.unit: a table"),
        ({"target": "amount > 500"}, "target: amount reads loans.amount, too"),
    ],
)
def test_what_needs_an_order_of_time_or_tells_the_answer_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as error:
        model(**changes)
    assert any(said in reason for reason in error.value.reasons), error.value.reasons

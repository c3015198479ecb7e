"""The version number follows from what changed: schema major, features and algorithm minor, refit patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.rules.semantic_versioning import (
    VersionChange,
    VersionFacts,
    compare_versions,
    next_version,
    version_facts,
)
from pipelines.spec.catalog import Catalog

CATALOG = Catalog.read(Path(__file__).parents[2] / "include")
MAJOR, MINOR = VersionChange(level="major", what="m"), VersionChange(level="minor", what="n")
FACTS = VersionFacts(
    problem="classification",
    target={"column": "arr_delay", "at_least": 15},
    output="probability",
    inputs={"carrier": "categorical", "distance": "numeric"},
    feature_versions={"carrier": 1, "distance": 1},
    estimator={"kind": "xgboost", "rounds": 300, "parameters": {"max_depth": 6}},
)


@pytest.mark.parametrize(
    ("previous", "changes", "expected"),
    [
        (None, [], "1.0.0"),
        (None, [MAJOR], "1.0.0"),
        ("1.0.0", [], "1.0.1"),
        ("1.2.9", [], "1.2.10"),
        ("1.2.9", [MINOR], "1.3.0"),
        ("1.2.9", [MINOR, MAJOR, MINOR], "2.0.0"),
        ("9.9.9", [MAJOR], "10.0.0"),
    ],
)
def test_the_greatest_change_decides_which_part_is_raised(
    previous: str | None, changes: list[VersionChange], expected: str
) -> None:
    assert next_version(previous, changes) == expected


@pytest.mark.parametrize("previous", ["", "1", "1.0", "v1.0.0", "1.0.0-rc1", "01.0.0"])
def test_what_is_no_semantic_version_is_refused(previous: str) -> None:
    with pytest.raises(Refused, match="is not a semantic version"):
        next_version(previous, [])


@pytest.mark.parametrize(
    ("changed", "level", "what"),
    [
        ({"problem": "regression"}, "major", "problem: 'classification' became 'regression'"),
        ({"target": {"column": "arr_delay", "at_least": 30}}, "major", "target: "),
        ({"output": "as_pyfunc"}, "major", "output: 'probability' became 'as_pyfunc'"),
        ({"inputs": {"carrier": "categorical"}}, "major", "input distance is gone"),
        ({"inputs": {**FACTS.inputs, "temp": "numeric"}}, "major", "input temp is new"),
        ({"inputs": {**FACTS.inputs, "carrier": "numeric"}}, "major", "input carrier: categorical became numeric"),
        ({"feature_versions": {"carrier": 2, "distance": 1}}, "minor", "feature carrier: version 1 became 2"),
        ({"estimator": {**FACTS.estimator, "kind": "sklearn"}}, "minor", "estimator kind: 'xgboost' became 'sklearn'"),
        ({"estimator": {**FACTS.estimator, "parameters": {"max_depth": 5}}}, "minor", "estimator parameters: "),
    ],
)
def test_each_change_is_named_with_its_level(changed: dict[str, Any], level: str, what: str) -> None:
    (change,) = compare_versions(FACTS, FACTS.model_copy(update=changed))
    assert change.level == level
    assert change.what.startswith(what)


def test_a_refit_on_other_data_changes_nothing_but_the_patch() -> None:
    assert compare_versions(FACTS, FACTS.model_copy()) == []


def test_facts_come_from_the_declarations_and_survive_a_round_trip() -> None:
    facts = version_facts(CATALOG.model("flight_delay"), CATALOG.view_of("flight_delay"))
    assert facts.inputs["carrier"] == "categorical"
    assert facts.estimator["kind"] == "xgboost"
    assert VersionFacts.model_validate_json(facts.model_dump_json()) == facts
    other = version_facts(CATALOG.model("arrival_delay_minutes"), CATALOG.view_of("arrival_delay_minutes"))
    assert {change.level for change in compare_versions(facts, other)} == {"major", "minor"}


def test_a_search_is_part_of_how_a_model_is_made() -> None:
    spec, view = CATALOG.model("flight_delay"), CATALOG.view_of("flight_delay")
    searched = version_facts(spec, view).estimator["search"]
    plain = spec.model_copy(update={"training": spec.training.model_copy(update={"search": None})})
    assert version_facts(plain, view).estimator["search"] is None
    assert (searched is None) is (spec.training.search is None)


def test_the_features_of_a_model_are_the_named_ones_or_all_of_its_view() -> None:
    spec, view = CATALOG.model("flight_delay"), CATALOG.view_of("flight_delay")
    few = spec.model_copy(update={"training": spec.training.model_copy(update={"features": ["carrier"]})})
    every = spec.model_copy(update={"training": spec.training.model_copy(update={"features": None})})
    assert list(version_facts(few, view).inputs) == ["carrier"]
    assert list(version_facts(every, view).inputs) == list(view.features)


def test_a_classification_gives_a_probability_and_a_regression_a_value() -> None:
    for model, output in (("flight_delay", "probability"), ("arrival_delay_minutes", "value")):
        assert version_facts(CATALOG.model(model), CATALOG.view_of(model)).output == output


def test_a_part_of_the_estimator_that_is_new_or_gone_is_a_minor_change() -> None:
    more = FACTS.model_copy(update={"estimator": {**FACTS.estimator, "seed": 7}})
    assert [change.what for change in compare_versions(FACTS, more)] == ["estimator seed: None became 7"]
    assert [change.what for change in compare_versions(more, FACTS)] == ["estimator seed: 7 became None"]

"""An aggregate whose fields do not suit each other, its view or its dataset is refused when the view is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.catalog import view_faults
from pipelines.spec.fault_text import fault_texts
from pipelines.spec.features import FeatureView
from pipelines.spec.known_time import KnownTime
from tests.steps.flights_by_hand import DATASET, VIEW

MEAN = {"type": "aggregate", "function": "mean", "column": "dep_delay", "by": ["origin"], "window": "3h"}


def view_with(transformation: dict[str, Any], name: str = "origin_some_delay_3h", kind: str = "numeric") -> FeatureView:
    """The flagship's view with one feature more."""
    fields = VIEW.model_dump(by_alias=True)
    feature = {
        "version": 1,
        "description": "A feature of a test",
        "type": kind,
        "source_columns": ["flights.dep_delay"],
    }
    fields["features"][name] = feature | {"transformation": transformation}
    return FeatureView.model_validate(fields)


def feature_faults(view: FeatureView) -> list[str]:
    return [fault for fault in view_faults(view, DATASET) if fault.startswith("features.")]


def refusal(transformation: dict[str, Any], **other: str) -> str:
    with pytest.raises(ValidationError) as error:
        view_with(transformation, **other)
    return "\n".join(fault_texts(error.value))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"column": None}, "mean needs column"),
        ({"function": "exists"}, "exists is of events, not of a column; remove column"),
        ({"function": "share", "column": None}, "share needs where"),
        ({"function": "since_last", "column": None}, "since_last needs unit: minutes, hours or days"),
        ({"unit": "days"}, "unit is of since_last, not of mean; remove unit"),
        ({"function": "median"}, "must be one of"),
        ({"window": 3}, "a duration needs its unit; write 3m, 3h or 3d"),
        ({"window": "0h"}, "must be longer than nothing"),
        ({"window": "4h"}, "must end with its window of 4 hours"),
        ({"where": "dep_delay >"}, "it ends where a value must follow"),
        ({"where": "dep_delay > avg(dep_delay)"}, "there is no function 'avg' of one row"),
        ({"by": ["arr_delay"]}, "reads 'arr_delay', an outcome"),
        ({"every": 1}, "unknown field"),
    ],
)
def test_fields_that_do_not_suit_each_other_are_refused(change: dict[str, Any], said: str) -> None:
    assert said in refusal(MEAN | change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"of": "trains"}, ".of: 'trains' is not a source of flights"),
        ({"of": "planes", "column": "seats", "by": ["tailnum"]}, ".of: 'planes' is a reference source: copies, not"),
        ({"column": "wheels"}, ".column: 'wheels' is not in flights"),
        ({"by": ["colour"]}, ".by: 'colour' is not in flights"),
        ({"of": "weather", "column": "temp", "by": ["tailnum"]}, ".by: 'tailnum' is not in weather"),
        ({"column": "dest"}, ".column: 'dest' of flights is string; mean needs integer or number"),
        (
            {"function": "last", "column": "dest"},
            ".column: 'dest' of flights is string; declare the feature categorical",
        ),
        ({"where": "dep_delay + 1"}, ".where: 'dep_delay + 1' is no condition"),
        ({"where": "origin > 1"}, ".where: '>' compares text with number"),
        ({"where": "colour = 1"}, ".where: 'colour' is not in flights"),
    ],
)
def test_what_the_dataset_does_not_have_is_refused_by_its_field(change: dict[str, Any], said: str) -> None:
    faults = view_faults(view_with(MEAN | change), DATASET)
    assert [
        fault for fault in faults if fault.startswith("features.origin_some_delay_3h.transformation") and said in fault
    ]


def test_a_count_is_a_number_and_no_category() -> None:
    how = MEAN | {"function": "count", "column": None}
    [fault] = feature_faults(view_with(how, kind="categorical"))
    assert fault.endswith("function: count is a number; declare the feature numeric")


def test_expressions_that_read_each_other_in_a_circle_are_refused_by_name() -> None:
    fields = view_with({"type": "expression", "expression": "other + 1"}, "one").model_dump(by_alias=True)
    fields["features"]["other"] = fields["features"]["one"] | {
        "transformation": {"type": "expression", "expression": "one * 2"}
    }
    with pytest.raises(ValidationError, match=r"in a circle: (one -> other -> one|other -> one -> other)"):
        FeatureView.model_validate(fields)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("temp + colour", "'colour' is not a column"),
        ("temp + carrier", "'+' takes a number, not a text"),
        ("carrier", "the expression is a text, and the feature numeric"),
    ],
)
def test_an_expression_of_what_is_not_there_is_refused(expression: str, said: str) -> None:
    [fault] = feature_faults(view_with({"type": "expression", "expression": expression}, "warmth"))
    assert fault.startswith("features.warmth.transformation.expression: ")
    assert said in fault


def test_an_expression_of_an_outcome_is_refused() -> None:
    assert "reads 'arr_delay', an outcome" in refusal(
        {"type": "expression", "expression": "arr_delay / 2"}, name="half"
    )


def test_a_column_that_the_dataset_declares_as_known_later_is_no_group_and_in_no_expression() -> None:
    flights = DATASET.sources["flights"]
    known = {"distance": KnownTime.parse({"after": "1h"})}
    sources = {**DATASET.sources, "flights": flights.model_copy(update={"known_columns": known})}
    dataset = DATASET.model_copy(update={"sources": sources})
    half = view_with({"type": "expression", "expression": "distance / 2"}, "distance")
    grouped = view_with(MEAN | {"by": ["distance"]})
    for view, name in ((half, "distance"), (grouped, "origin_some_delay_3h")):
        faults = [fault for fault in view_faults(view, dataset) if fault.startswith(f"features.{name}: ")]
        assert len(faults) == 1
        assert "'distance' of flights is known" in faults[0]


def test_a_changed_feature_changes_the_definition_of_the_expressions_that_read_it() -> None:
    before = view_with({"type": "expression", "expression": "distance / 2"}, "half_distance")
    fields = before.model_dump(by_alias=True)
    fields["features"]["distance"]["transformation"]["column"] = "flight"
    after = FeatureView.model_validate(fields)
    assert before.definition_digests()["half_distance"] != after.definition_digests()["half_distance"]

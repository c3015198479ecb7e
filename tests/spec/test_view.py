"""A view is read with its dataset: every feature has one meaning, or each fault is told with what to write."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.settings import REPOSITORY
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import fault_texts
from pipelines.spec.feature_faults import RESERVED_COLUMNS
from pipelines.spec.features import FeatureView
from pipelines.spec.plain_yaml import load
from pipelines.spec.view import ViewDeclaration, resolved
from pipelines.spec.view_schema_1 import view_schema_1_faults
from tests.declared import feature_view, view_fields
from tests.steps.flights_by_hand import DATASET

SHORT: dict[str, Any] = {
    "schema": 2,
    "view": "flight_delay",
    "entity": ["time_hour", "carrier", "flight"],
    "rows": {"per": "flights", "lead": "2h"},
    "label": {"late": "arr_delay >= 15"},
    "features": {"carrier, origin, dest, distance": "own"},
}
MEAN = {"aggregate": "mean(dep_delay)", "by": "origin", "window": "3h"}
KNOWN_MEAN = MEAN | {"clock": "known", "max_delay": "22h"}
NAME = "origin_some_delay_3h"


def faults_of(fields: dict[str, Any], dataset: DatasetSpec = DATASET) -> list[str]:
    """Every fault, of the fields alone or of what the dataset shows."""
    try:
        declared = ViewDeclaration.model_validate(fields)
    except ValidationError as error:
        return fault_texts(error)
    return resolved(declared, dataset)[1]


def with_features(*, dataset: DatasetSpec = DATASET, **features: Any) -> list[str]:
    return faults_of(SHORT | {"features": SHORT["features"] | features}, dataset)


def view_of(**features: Any) -> FeatureView:
    return feature_view(SHORT | {"features": SHORT["features"] | features}, DATASET)


def dataset_with(source: str, **changes: Any) -> DatasetSpec:
    fields = DATASET.model_dump(mode="json", by_alias=True, exclude_unset=True)
    fields["sources"][source] |= changes
    return DatasetSpec.model_validate(fields)


def test_lists_of_names_share_a_declaration_and_types_follow_from_the_columns() -> None:
    view = view_of(
        **{
            "hour_of_day, weekday": {"calendar": ["hour", "weekday"]},
            "temp, humid": {"latest": "weather", "by": "origin", "max_age": "6h"},
            "seats, year": {"lookup": "planes"},
        }
    )
    types = {name: feature.type for name, feature in view.features.items()}
    numbers = ("distance", "hour_of_day", "weekday", "temp", "humid", "seats", "year")
    assert types == {**dict.fromkeys(("carrier", "origin", "dest"), "categorical"), **dict.fromkeys(numbers, "numeric")}
    assert view.features["weekday"].transformation.part == "weekday"  # type: ignore[union-attr]
    assert view.features["humid"].source_columns == ["flights.origin", "weather.humid", "weather.origin"]


def test_several_aggregates_and_windows_are_named_by_their_template() -> None:
    form = {"aggregate": ["count", "mean(distance)"], "by": "origin", "windows": ["3h", "1d"]}
    view = view_of(**{"origin_{aggregate}_{window}": form})
    assert list(view.features)[4:] == [
        "origin_count_3h",
        "origin_count_1d",
        "origin_mean_distance_3h",
        "origin_mean_distance_1d",
    ]


@pytest.mark.parametrize("name", ["origin_some_{window}", "origin_{aggregate}_3h", "origin_{delay}_3h", "origin_{}_3h"])
def test_two_results_of_one_name_are_refused(name: str) -> None:
    form = {"aggregate": ["count", "mean(distance)"], "by": "origin", "windows": ["3h", "1d"]}
    assert any(fault.startswith(f"features.{name}: ") for fault in with_features(**{name: form}))


def test_a_feature_that_is_declared_twice_is_refused() -> None:
    assert "features.dest, tailnum: 'dest' is declared twice; give each feature a name of its own" in with_features(
        **{"dest, tailnum": "own"}
    )


def test_a_star_stands_for_all_that_is_known_but_the_entity_the_label_and_personal_data() -> None:
    dataset = dataset_with(
        "flights", known_columns={"dep_delay, air_time": {"after": "0m"}, "arr_delay": {"after": "9h"}}
    )
    columns = dataset.model_dump(mode="json", by_alias=True, exclude_unset=True)
    columns["sources"]["flights"]["columns"]["origin"] = {"type": "string", "pii": True}
    dataset = DatasetSpec.model_validate(columns)
    view = feature_view(SHORT | {"features": {"distance": "own", "*": "own"}}, dataset)
    assert list(view.features) == ["distance", "minute", "tailnum", "dest"]


def test_names_within_a_text_and_values_of_dates_are_told_apart() -> None:
    view = view_of(age="year(t) - planes.year", is_far="distance > 1000", route="coalesce(dest, origin)")
    assert [view.features[name].type for name in ("age", "is_far", "route")] == ["numeric", "numeric", "categorical"]
    assert view.features["age"].source_columns == ["flights.tailnum", "planes.year"]


@pytest.mark.parametrize("name", ["feat1", "x", "f_12", "feature", "tmp2", "value"])
def test_a_feature_name_that_says_nothing_is_refused(name: str) -> None:
    [fault] = with_features(**{name: "distance + 1"})
    assert fault.startswith(f"features.{name}: feature name {name!r} is too vague")


@pytest.mark.parametrize("name", ["Far", "far-away", "_far", "far__away"])
def test_a_feature_name_that_is_not_lower_snake_case_is_refused(name: str) -> None:
    assert "not lower_snake_case" in "".join(with_features(**{name: "distance + 1"}))


@pytest.mark.parametrize("name", [*RESERVED_COLUMNS, "late"])
def test_a_feature_may_not_bear_the_name_of_another_column(name: str) -> None:
    assert f"features.{name}: {name!r} is a reserved name; rename the feature" in with_features(
        **{name: "distance + 1"}
    )


@pytest.mark.parametrize("name", RESERVED_COLUMNS)
def test_a_label_may_not_bear_the_name_of_another_column(name: str) -> None:
    assert f"label: {name!r} is a reserved name; rename the label" in faults_of(
        SHORT | {"label": {name: "arr_delay >= 15"}}
    )


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"late": "arr_delay >="}, "it ends where a value must follow"),
        ({"late": "dest"}, "label.late: 'dest' is a text, and a label is a condition or a number; write one, as in"),
        ({"late": "lateness >= 15"}, "label.late: 'lateness' is not a column"),
        ({"Late": "arr_delay >= 15"}, "label: label name 'Late' must be lower_snake_case"),
        ({"late": "arr_delay >= 15", "early": "arr_delay < 0"}, "label: is no label"),
        ({}, "label: is no label"),
        ("arr_delay >= 15", "label: is no label"),
        (
            {"far": "distance > 1000"},
            "label.far: distance is known 1d before the event, and t is 2h before the event: say in known_columns",
        ),
    ],
)
def test_a_label_that_cannot_be_learnt_is_refused(label: Any, said: str) -> None:
    [fault] = faults_of(SHORT | {"label": label})
    assert said in fault


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aggregate": "mean"}, ": mean needs column"),
        ({"aggregate": "exists(origin)"}, ": exists is of events, not of a column; remove column"),
        ({"aggregate": "share"}, ": share needs where"),
        (
            {"aggregate": "median(dep_delay)"},
            ".aggregate: 'median(dep_delay)' is no aggregate; write one of count, sum",
        ),
        ({"unit": "days"}, ": unit is of since_last, not of mean; remove unit"),
        ({"window": 3}, ".window: a duration needs its unit; write 3m, 3h or 3d"),
        ({"window": "0h"}, ": must be longer than nothing"),
        ({"window": "4h"}, ": feature name 'origin_some_delay_3h' must end with its window of 4 hours"),
        ({"windows": ["3h"]}, ": has window and windows, which exclude each other"),
        ({"where": "dep_delay >"}, ": it ends where a value must follow"),
        ({"where": "dep_delay > avg(dep_delay)"}, "there is no function 'avg' of one row"),
        ({"max_delay": "1h"}, ": max_delay is of `clock: known`; remove it"),
        ({"clock": "known"}, ": clock: known needs max_delay"),
        ({"every": 1}, ".every: unknown field"),
        ({"by": None}, ".by: is missing"),
        ({"of": "trains"}, ".of: 'trains' is not a source of flights"),
        ({"of": "planes", "aggregate": "mean(seats)", "by": "tailnum"}, ".of: 'planes' is a reference source: copies"),
        ({"aggregate": "mean(wheels)"}, ".aggregate: 'wheels' is not in flights"),
        ({"by": "colour"}, ".by: 'colour' is not in flights"),
        ({"of": "weather", "aggregate": "mean(temp)", "by": "tailnum"}, ".by: 'tailnum' is not in weather"),
        ({"aggregate": "mean(dest)"}, ".aggregate: 'dest' of flights is string; mean needs integer or number"),
        (
            {"aggregate": "last(dest)", "type": "numeric"},
            ".aggregate: 'dest' of flights is string, and the feature num",
        ),
        ({"type": "categorical"}, ".type: mean is a number; declare the feature numeric"),
        ({"where": "dep_delay + 1"}, ".where: 'dep_delay + 1' is no condition"),
        ({"where": "origin > 1"}, ".where: '>' compares text with number"),
        ({"where": "colour = 1"}, ".where: 'colour' is not in flights"),
        (
            {"by": "arr_delay"},
            ": origin_some_delay_3h reads 'arr_delay' of flights, which is known dep_delay + air_time + 1h after",
        ),
        ({"constraints": {"min": 2, "max": 1}}, ".constraints: min 2 is above max 1"),
        ({"constraints": {"max": float("nan")}}, ".constraints: max must be finite numbers"),
        ({"constraints": {"nulls": 2}}, ".constraints.nulls: must be at most 1"),
        (
            {"aggregate": "last(dest)", "constraints": {"min": 1}},
            ".constraints: min and max limit numbers, not categories",
        ),
    ],
)
def test_fields_that_do_not_suit_each_other_or_the_dataset_are_refused(change: dict[str, Any], said: str) -> None:
    form = {name: value for name, value in (MEAN | change).items() if value is not None}
    faults = with_features(**{NAME: form})
    assert any(fault.startswith(f"features.{NAME}") and said in fault for fault in faults), faults


def test_a_delay_that_no_event_meets_is_refused() -> None:
    dataset = dataset_with("flights", known_columns={"dep_delay, arr_delay": {"after": "5h"}})
    assert with_features(dataset=dataset, **{NAME: KNOWN_MEAN | {"max_delay": "5h"}}) == []
    [fault] = with_features(dataset=dataset, **{NAME: KNOWN_MEAN | {"max_delay": "4h"}})
    assert fault.startswith(f"features.{NAME}.max_delay: what is read of flights is known 5h after its event at the")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (
            "dep_delay",
            ": the_feature reads 'dep_delay' of flights, which is known dep_delay after the event, and t is 2h",
        ),
        ({"own": "dep_delay"}, ": the_feature reads 'dep_delay' of flights"),
        (
            {"own": "air_time"},
            ": the_feature reads 'air_time' of flights, which is known dep_delay + air_time + 1h after",
        ),
        ("arr_delay / 2", ": the_feature reads 'arr_delay' of flights"),
        ({"latest": "weather.temp", "by": "arr_delay", "max_age": "6h"}, ": the_feature reads 'arr_delay'"),
        ({"own": "wheels"}, ": 'wheels' is not a column of flights; it has time_hour"),
        ({"own": "time_hour"}, ": 'time_hour' of flights is a timestamp; take a part of it, by calendar"),
        ({"own": "dest", "type": "numeric"}, ": 'dest' of flights is string, and the feature numeric"),
        ({"lookup": "trains.seats", "on": "tailnum"}, ".lookup: 'trains' is not a source of flights"),
        ({"lookup": "weather.temp", "on": "origin"}, ".lookup: 'weather' is not a reference source with a key"),
        ({"lookup": "planes.wheels", "on": "tailnum"}, ".lookup: 'wheels' is not a column of planes"),
        ({"lookup": "planes.seats", "on": ["tailnum", "dest"]}, ".on: ['tailnum', 'dest'] is not the key ['tailnum']"),
        ({"lookup": "planes.seats", "on": "flight"}, ".on: 'flight' is integer, and 'tailnum' of planes string"),
        ({"latest": "rain.temp", "by": [], "max_age": "1h"}, ".latest: 'rain' is not a source of flights"),
        ({"latest": "weather.rain", "by": [], "max_age": "1h"}, ".latest: 'rain' is not a column of weather"),
        ({"calendar": "hour", "of": "distance"}, ".of: 'distance' is no time of flights; write t, or a date"),
        ({"calendar": "decade"}, ".calendar.0: must be one of 'year', 'quarter'"),
        ("temp + colour", ": 'temp' is neither a feature nor a column of flights; there are"),
        ("distance + carrier", ": '+' takes a number, not a text"),
        ("t", ": the expression is a timestamp; take a part of it, as in year(t)"),
        ("year(distance)", ": 'year' takes a date or a timestamp, not a number"),
        ("other + 1", ": expressions read each other in a circle: "),
        ({"expression": "dest", "type": "numeric"}, ": the expression is a text, and the feature numeric"),
        ({"own": True, "lookup": "planes"}, ": has own and lookup, which exclude each other"),
        ({"copy": "distance"}, ": needs `own` or `calendar`"),
        (7, ": must be fields, with `own`"),
    ],
)
def test_what_a_feature_may_not_read_is_refused_with_its_place(form: Any, said: str) -> None:
    faults = with_features(the_feature=form, other="the_feature * 2")
    assert any(f"features.the_feature{said}" in fault or f"features.other{said}" in fault for fault in faults), faults


def test_a_source_that_says_nothing_of_its_known_time_is_known_when_its_partition_is_due() -> None:
    dataset = dataset_with("flights", known=None, known_columns={})
    faults = with_features(dataset=dataset)
    assert len(faults) == 4
    assert faults[0] == (
        "features.carrier, origin, dest, distance: carrier reads 'carrier' of flights, which is known when its "
        "partition is due, and t is 2h before the event; leave it out, or say in the dataset when it is known"
    )


def test_at_a_lead_of_nothing_what_is_known_at_the_event_may_be_read() -> None:
    dataset = dataset_with("flights", known={"after": "0m"})
    fields = SHORT | {"rows": {"per": "flights", "lead": 0}}
    assert faults_of(fields, dataset) == []
    assert len(faults_of(SHORT, dataset)) == 4


def test_personal_data_never_become_a_feature() -> None:
    fields = DATASET.model_dump(mode="json", by_alias=True)
    for column in ("tailnum", "dest"):
        fields["sources"]["flights"]["columns"][column]["pii"] = True
    dataset = DatasetSpec.model_validate(fields)
    features = {"tail": {"own": "tailnum"}, "there": "dest", "dest_count_3h": MEAN | {"where": "dest = 'BOS'"}}
    faults = faults_of(SHORT | {"features": features}, dataset)
    assert [fault.split(": ", 1)[1] for fault in faults] == [
        "'tailnum' of flights is personal data; no feature may use it",
        "'dest' of flights is personal data; no feature may use it",
        "'dest' is personal data; no feature may use it",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": {"per": "trains"}}, "rows.per: 'trains' is not a source of flights; it has flights, weather, planes"),
        ({"rows": {"per": "planes"}}, "rows.per: 'planes' is a reference source"),
        ({"rows": {"per": "flights", "lag": "2h"}}, "rows.lag: unknown field"),
        ({"rows": {"every": "week"}}, "rows: needs `per`"),
        ({"rows": "flights"}, "rows: must be fields, with `per` or `each` or `table` among them"),
        ({"rows": {"per": "flights", "lead": 2}}, "rows.lead: a duration needs its unit"),
        ({"entity": ["time_hour", "train"]}, "entity: 'train' is not a column of flights"),
        (
            {"entity": ["time_hour", "carrier"]},
            "entity: rows of flights are told apart by time_hour, carrier, flight; add",
        ),
        (
            {"entity": "flight"},
            "entity: rows of flights are told apart by time_hour, carrier, flight; add time_hour, carr",
        ),
        ({"features": {}}, "features: must have at least 1 entry(ies)"),
        ({"schema": 3}, "schema: must be 2"),
    ],
)
def test_rows_that_a_source_does_not_have_are_refused(change: dict[str, Any], said: str) -> None:
    assert any(said in fault for fault in faults_of(SHORT | change))


@pytest.mark.parametrize("name", ["flight", "time_hour"])
def test_a_key_is_never_replaced_by_another_column_of_its_name(name: str) -> None:
    [fault] = with_features(**{name: "distance + 1"})
    assert fault.startswith(f"entity: {name}: the columns share their name with another column of the feature table")


def test_a_changed_feature_changes_the_definition_of_the_expressions_that_read_it() -> None:
    one = view_of(half="far / 2", far={"own": "distance"}).definition_digests()
    other = view_of(half="far / 2", far={"own": "minute"}).definition_digests()
    assert {name for name in one if one[name] != other[name]} == {"half", "far"}


def test_when_a_source_is_known_is_part_of_the_meaning_of_what_is_aggregated_or_looked_up_of_it() -> None:
    features = {"temp": {"latest": "weather", "by": "origin", "max_age": "6h"}, "seats": {"lookup": "planes"}}
    features |= {NAME: MEAN, "age": "year(t) - planes.year"}
    fields = SHORT | {"features": SHORT["features"] | features}
    one = feature_view(fields, DATASET).definition_digests()
    for source, changed in (("weather", {"temp"}), ("planes", {"seats", "age"}), ("flights", {NAME})):
        known = {"known_columns": {"dep_delay, arr_delay": {"after": "9h"}}} if source == "flights" else {"known": None}
        other = feature_view(fields, dataset_with(source, **known)).definition_digests()
        assert {name for name in one if one[name] != other[name]} == changed


def test_a_view_that_asks_earlier_sees_another_past_but_the_same_columns() -> None:
    features = {"temp": {"latest": "weather", "by": "origin", "max_age": "6h"}, "far": "distance / 2"}
    fields = SHORT | {"features": SHORT["features"] | features}
    one, other = (
        feature_view(fields | {"rows": {"per": "flights", "lead": lead}}, DATASET).definition_digests()
        for lead in ("2h", "3h")
    )
    assert {name for name in one if one[name] != other[name]} == {"temp"}


def test_what_nobody_has_described_is_asked_for_and_no_fault() -> None:
    declared = ViewDeclaration.model_validate(SHORT)
    view, _ = resolved(declared, DATASET)
    assert view is not None
    assert declared.questions(view) == [
        ("description", "say in a sentence what a row is, and as of when"),
        ("owner", "name who answers for the features"),
        ("features", "say what carrier, origin, dest, distance mean: `description` here, or of the dataset's column"),
    ]


def test_a_view_of_schema_1_is_refused_line_by_line_with_what_to_write() -> None:
    old = load((REPOSITORY / "tests/installations/before_0_2/view_schema_1.yaml").read_text())
    faults = dict(fault.split(": ", 1) for fault in view_schema_1_faults(old))
    assert faults["key"] == "write `entity: [time_hour, carrier, flight]`"
    assert faults["entity_source"] == "write `rows: {per: flights, lead: 2h}`"
    assert faults["event_hour_column"] == "remove it; the dataset says `event_time: time_hour + minute`"
    assert faults["label"] == 'write `label: {late: "arr_delay >= 15"}`'
    assert faults["features.temp.constraints.max_null_share"] == "write `nulls: 0.5`"
    written = {
        place.split(".")[1]: text.split("`")[1]
        for place, text in faults.items()
        if place.startswith("features.") and place.endswith(".transformation")
    }
    fields = SHORT | {"features": {name: load(f"{{{text}}}") for name, text in written.items()}}
    rewritten, shipped = feature_view(fields, DATASET), feature_view(view_fields(), DATASET)
    assert {name: f.transformation for name, f in rewritten.features.items()} == {
        name: f.transformation for name, f in shipped.features.items()
    }


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("years_since", "year(t) - 2000", "'t' is the moment of the row and a column of flights, too"),
        ("hour_asked", {"calendar": "hour", "of": "t"}, "'t' is the moment of the row and a column of flights, too"),
        ("hour_begun", {"calendar": "hour"}, "'event' is the time of the row's event and a column of flights, too"),
        ("t", {"own": True}, "'t' is the moment of the row in every expression; rename the feature"),
    ],
)
def test_a_column_with_the_name_of_a_moment_is_never_taken_for_it(name: str, form: Any, said: str) -> None:
    columns = DATASET.model_dump(mode="json", by_alias=True, exclude_unset=True)["sources"]["flights"]["columns"]
    named = dataset_with("flights", columns=columns | {"t": "integer", "event": "date"}, known={"before": "1d"})
    assert any(said in fault for fault in with_features(dataset=named, **{name: form}))
    assert not with_features(dataset=named, code={"own": "t"})


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"own": "carrier", "constraints": {"allowed": [1.5]}}, "constraints.allowed: the feature is categorical"),
        ({"own": "distance", "constraints": {"allowed": ["far"]}}, "constraints.allowed: the feature is numeric"),
        ({"own": "distance", "constraints": {"freshness": "6h"}}, "constraints.freshness: tells of events and copies"),
        ({"own": "distance", "constraints": {"freshness": "0h"}}, "constraints.freshness: must be longer than nothing"),
        ({"own": "distance", "constraints": {"allowed": []}}, "constraints.allowed"),
    ],
)
def test_a_constraint_that_could_never_be_measured_is_refused(form: Any, said: str) -> None:
    assert any(said in fault for fault in with_features(some_feature=form))

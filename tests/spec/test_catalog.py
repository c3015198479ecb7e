"""What a file declares is held against the files that it names, when it is read, with the line of each fault."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog
from pipelines.spec.column import ColumnSpec
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.model_declaration import ModelDeclaration
from pipelines.spec.plain_yaml import load
from pipelines.spec.source import SourceSpec
from pipelines.spec.suite import DeclaredSuite
from pipelines.spec.view import ViewDeclaration
from tests.steps.flights_by_hand import INCLUDE

RAW_WORDINGS = (
    "Input should",
    "Field required",
    "Extra inputs",
    "String should",
    "Value error",
    "pydantic",
    "Unable to",
)


def include_with(tmp_path: Path, **files: dict[str, Any]) -> Path:
    """The declarations of this repository, and those that are given by kind of file and name."""
    include = tmp_path / "include"
    shutil.copytree(INCLUDE, include)
    for place, fields in files.items():
        folder, _, name = place.partition("__")
        (include / folder / f"{name}.yaml").write_text(yaml.safe_dump(fields, sort_keys=False))
    return include


def files_complete(complete: Any) -> dict[str, Any]:
    return {"files": {"path": "{source}/{partition}/trips.csv", "complete": complete}}


def trips(name: str = "trips", **source: Any) -> dict[str, Any]:
    columns = {"hour": {"type": "timestamp"}, "minute": {"type": "integer"}, "trip": {"type": "integer"}}
    columns |= {"carrier": {"type": "string"}, "delay": {"type": "integer", "nullable": True}}
    declared = {"files": "{source}/{partition}/trips.csv", "key": ["hour", "trip"], "columns": columns}
    declared |= {"known": {"before": "1d"}, "known_columns": {"delay": {"after": "delay"}}, **source}
    return {
        "schema": 2,
        "dataset": name,
        "description": "Trips",
        "owner": "data",
        "partition": {"every": "day", "start": "2013-01-01"},
        "sources": {"trips": declared},
    }


def view(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 2,
        "view": "trip_delay",
        "description": "Delays",
        "owner": "data",
        "entity": ["hour", "trip"],
        "rows": {"per": "trips", "lead": "1h"},
        "label": {"late": "delay >= 15"},
        "features": {"carrier": "own"},
        **changes,
    }


def test_two_datasets_may_have_a_source_of_one_name(tmp_path: Path) -> None:
    catalog = Catalog.read(include_with(tmp_path, datasets__trips=trips(), datasets__other=trips("other")))
    assert catalog.refused == {}
    assert {"trips", "other"} <= set(catalog.datasets)


def test_a_suite_that_is_missing_is_found_when_the_dataset_is_read(tmp_path: Path) -> None:
    catalog = Catalog.read(include_with(tmp_path, datasets__trips=trips(suite="no_such_suite")))
    [reason] = catalog.refused["datasets/trips.yaml"].reasons
    assert reason.startswith("sources.trips.suite: 'no_such_suite' is not declared")
    assert reason.endswith(" (line 31)")
    assert "write include/expectations/no_such_suite.yaml" in reason


def test_a_suite_on_a_column_that_the_source_does_not_have_is_found(tmp_path: Path) -> None:
    expectation = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "speed"}, "reason": "repeated"}
    suite = {"suite": "trips", "expectations": [expectation]}
    include = include_with(tmp_path, datasets__trips=trips(suite="trips"), expectations__trips=suite)
    [reason] = Catalog.read(include).refused["datasets/trips.yaml"].reasons
    assert "expectation 1 of trips judges 'speed', which is no column of trips; it has hour, minute" in reason


@pytest.mark.parametrize(
    ("column", "arguments", "fault"),
    [
        ("date", {"min_value": "soon"}, "min_value 'soon' is no date like 'x'; write it as 2013-01-31"),
        ("date", {"min_value": 20130131}, "min_value 20130131 is no date like 'x'; write it as 2013-01-31"),
        (
            "timestamp",
            {"max_value": date(2013, 1, 31)},
            "max_value 2013-01-31 is no timestamp like 'x'; write it as 2013-01-31T10:00:00Z",
        ),
        ("decimal", {"max_value": "dear"}, "max_value 'dear' is no decimal like 'x'"),
        ("string", {"min_value": 1}, "min_value 1 is no string like 'x'"),
        ("integer", {"max_value": 0.5}, None),
        ("decimal", {"max_value": 1.1}, None),
        ("date", {"min_value": date(2013, 1, 31)}, None),
    ],
)
def test_a_limit_of_another_type_than_its_column_is_found_when_the_dataset_is_read(
    tmp_path: Path, column: str, arguments: dict[str, Any], fault: str | None
) -> None:
    expected = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "x", **arguments}, "reason": "odd"}
    columns = {"hour": "timestamp", "trip": "integer", "x": column}
    dataset = trips(suite="odd", columns=columns, key=["hour", "trip"], known_columns={})
    include = include_with(
        tmp_path, datasets__trips=dataset, expectations__odd={"suite": "odd", "expectations": [expected]}
    )
    refused = Catalog.read(include).refused
    reasons = refused["datasets/trips.yaml"].reasons if refused else []
    line = next(
        f" (line {n})"
        for n, text in enumerate((include / "datasets/trips.yaml").read_text().splitlines(), 1)
        if "suite:" in text
    )
    assert reasons == ([] if fault is None else [f"sources.trips.suite: expectation 1 of odd: {fault}{line}"])


def test_a_suite_that_tolerates_bad_rows_is_refused_and_so_is_what_uses_it(tmp_path: Path) -> None:
    arguments = {"column": "delay", "max_value": 9, "mostly": 0.95}
    expectation = {"type": "expect_column_values_to_be_between", "kwargs": arguments, "reason": "too late"}
    suite = {"suite": "trips", "expectations": [expectation]}
    include = include_with(tmp_path, datasets__trips=trips(suite="trips"), expectations__trips=suite)
    refused = Catalog.read(include).refused
    assert set(refused) == {"expectations/trips.yaml", "datasets/trips.yaml"}
    assert "expectations.0.kwargs: mostly 0.95 would publish rows" in str(refused["expectations/trips.yaml"])


def with_columns(**changes: dict[str, Any]) -> dict[str, Any]:
    fields = trips()
    fields["sources"]["trips"]["columns"] |= changes
    return fields


@pytest.mark.parametrize(
    ("dataset", "changes", "reason"),
    [
        (
            trips(cadence="reference", known="partition_start", known_columns={}),
            {},
            "rows.per: 'trips' is a reference source",
        ),
        (
            with_columns(driver={"type": "string", "pii": True}),
            {"entity": ["hour", "trip", "driver"]},
            "entity: 'driver' of trips is personal data, and the entity is in every id, log and report",
        ),
        (
            with_columns(gate={"type": "string"}),
            {"label": {"late": "gate"}},
            "label.late: 'gate' is a text, and a label is a condition or a number",
        ),
        (trips(), {"entity": ["hour", "trip", "train"]}, "entity: 'train' is not a column of trips"),
        (trips(), {"dataset": "trip"}, "dataset: 'trip' is not declared, or was refused"),
        (trips(), {"rows": {"per": "buses"}}, "rows.per: no dataset has a source 'buses', or it was refused"),
        (
            trips(known_columns={"carrier": {"after": "0m"}, "delay": {"after": "delay"}}),
            {},
            "features.carrier: carrier reads 'carrier' of trips, which is known 0m after the event, and t is 1h before",
        ),
        (
            trips(known={"before": "30m"}),
            {},
            "features.carrier: carrier reads 'carrier' of trips, which is known 30m before the event, and t is 1h",
        ),
        (
            trips(known_columns={"delay, carrier": {"after": "delay + 60"}}),
            {},
            "features.carrier: carrier reads 'carrier' of trips, which is known delay + 1h after the event",
        ),
    ],
)
def test_a_view_that_its_sources_cannot_serve_is_refused_with_the_line(
    tmp_path: Path, dataset: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    include = include_with(tmp_path, datasets__trips=dataset, features__trip_delay=view(**changes))
    reasons = Catalog.read(include).refused["features/trip_delay.yaml"].reasons
    assert any(reason in text and " (line " in text for text in reasons), reasons


def test_a_view_names_its_dataset_where_several_have_the_source_of_its_rows(tmp_path: Path) -> None:
    files = {"datasets__trips": trips(), "datasets__other": trips("other"), "features__trip_delay": view()}
    [reason] = Catalog.read(include_with(tmp_path / "several", **files)).refused["features/trip_delay.yaml"].reasons
    assert reason == "rows.per: other and trips have a source 'trips'; declare the view's dataset (line 9)"
    files["features__trip_delay"] = view(dataset="other")
    assert Catalog.read(include_with(tmp_path / "named", **files)).view("trip_delay").dataset == "other"


def test_a_view_of_a_source_with_its_own_column_day_names_it_as_it_is_stored(tmp_path: Path) -> None:
    def catalog_with(column: str, folder: str) -> Catalog:
        dataset = with_columns(day={"type": "string"})
        features = {"weekday_name": {"own": column}}
        files = {"datasets__trips": dataset, "features__trip_delay": view(features=features)}
        return Catalog.read(include_with(tmp_path / folder, **files))

    assert catalog_with("source_day", "stored").refused == {}
    assert "'day' is not a column of trips" in str(catalog_with("day", "delivered").refused["features/trip_delay.yaml"])


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (
            {"type": "timestamp", "min": 3},
            "min has values that are no timestamp: 3; write each as 2013-01-31T10:00:00Z",
        ),
        ({"type": "timestamp", "min": "2013-01-31T10:00:00"}, "min has values that are no timestamp"),
        (
            {"type": "date", "max": "2013-02-30"},
            "max has values that are no date: '2013-02-30'; write each as 2013-01-31",
        ),
        ({"type": "date", "min": "2013-02-01", "max": "2013-01-01"}, "min 2013-02-01 is above max 2013-01-01"),
        (
            {"type": "string", "min": 3, "max": 4},
            "min and max limit integer, number, decimal, date, timestamp, not string",
        ),
        ({"type": "boolean", "min": False}, "min limit integer, number, decimal, date, timestamp, not boolean"),
        ({"type": "number", "min": float("nan")}, "min has values that are no number: nan"),
        ({"type": "integer", "min": 3, "max": 2}, "min 3 is above max 2"),
        (
            {"type": "decimal", "scale": 2, "max": 0.125},
            "max has values that 38 digits, 2 of them decimals, do not hold",
        ),
        ({"type": "decimal", "max": "1e40"}, "max has values that 38 digits, 9 of them decimals, do not hold"),
        ({"type": "integer", "scale": 2}, "scale is for decimal, not integer; remove it"),
        ({"type": "integer", "pattern": "a"}, "pattern is for string, not integer; remove it"),
        ({"type": "string", "pattern": "("}, "pattern is no regular expression"),
        ({"type": "string", "pattern": "(?=a)b"}, "pattern has look-around"),
        ({"type": "string", "format": "%Y"}, "format is for date and timestamp, not string; remove it"),
        ({"type": "date", "format": "%Y-%m"}, "format must say the year (%Y), the month (%m) and the day (%d)"),
        ({"type": "date", "format": "%Y-%m-%d %H:%M"}, "format has %H, %M, and a date has no time of day"),
        ({"type": "date", "format": "%Y-%m-%d%Q"}, "format has %Q; the directives are %Y, "),
        ({"type": "timestamp", "format": "%Y-%m-%d"}, "format has no time of day; declare the type date"),
        ({"type": "timestamp", "format": "%Y-%m-%d %H:%M"}, "so declare the timezone of the times"),
        ({"type": "timestamp", "format": "%Y-%m-%d %H"}, "format must say the hour (%H, or %I with %p) and the minute"),
        ({"type": "timestamp", "timezone": "Mars/Olympus"}, "unknown timezone 'Mars/Olympus'"),
        ({"type": "date", "timezone": "UTC"}, "timezone is for timestamp, not date"),
        ({"type": "timestamp", "ambiguous": "latest"}, "ambiguous is for times of a timezone"),
        ({"type": "integer", "allowed": ["1", "two"]}, "allowed has values that are no integer: 'two'"),
        ({"type": "integer", "allowed": [1.5]}, "allowed has values that are no integer: 1.5"),
        ({"type": "string", "allowed": [1]}, "allowed has values that are no string: 1; write each in quotes"),
        (
            {"type": "timestamp", "allowed": ["2013-01-01T00:00:00Z"]},
            "allowed lists categories, and a timestamp has none",
        ),
        ({"type": "string", "allowed": []}, "allowed: "),
    ],
)
def test_a_field_that_does_not_suit_the_type_of_its_column_is_refused(column: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ColumnSpec.model_validate(column)
    from pipelines.spec.fault_text import fault_texts

    assert any(reason in text for text in fault_texts(refused.value)), fault_texts(refused.value)


@pytest.mark.parametrize(
    ("declared", "fields"),
    [
        ("integer or null", {"type": "integer", "nullable": True}),
        ("date", {"type": "date", "nullable": False}),
        ({"type": "decimal or null", "min": 0.01}, {"type": "decimal", "nullable": True, "min": Decimal("0.01")}),
        ({"type": "integer", "allowed": ["1", 2.0]}, {"allowed": [1, 2]}),
        ({"type": "boolean", "allowed": [True]}, {"allowed": [True]}),
        ({"type": "date", "min": date(2013, 1, 1), "max": "2013-12-31"}, {"max": date(2013, 12, 31)}),
        ({"type": "timestamp", "min": "2013-01-01T00:00:00+01:00"}, {"min": datetime(2012, 12, 31, 23, tzinfo=UTC)}),
    ],
)
def test_a_column_is_read_from_its_short_form_with_its_limits_in_its_type(
    declared: Any, fields: dict[str, Any]
) -> None:
    column = ColumnSpec.model_validate(declared)
    assert {name: getattr(column, name) for name in fields} == fields
    assert ColumnSpec.model_validate(column.model_dump()) == column
    assert ColumnSpec.model_validate(column.model_dump(mode="json")) == column


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"columns": {"trip": {"type": "integer"}, "__t": {"type": "string"}}, "key": ["trip"]}, "['__t']"),
        (
            {"columns": {"day": {"type": "integer"}, "source_day": {"type": "string"}}, "key": ["day"]},
            "columns ['day'] are stored as ['source_day']",
        ),
        ({"files": "../trips.csv"}, "must be `{source}/{partition}/` and the name of a data file"),
        ({"files": "{source}/{partition}/_manifest.json"}, "that does not begin with _"),
        ({"files": "{source}/{partition}/part/trips.csv"}, "the name of a data file"),
        (files_complete({"marker": "trips.csv"}), "complete.marker: 'trips.csv' is a data file by the path"),
        (files_complete({"marker": "../done"}), "must be the name of one file in the folder of the partition"),
        (files_complete({"quiet": "0m"}), "must be longer than nothing; write 1m at least"),
        (files_complete({"quiet": 600}), "a duration needs its unit; write 600m"),
        (files_complete({"marker": "_SUCCESS", "quiet": "10m"}), "a delivery is complete by one thing; write"),
        (files_complete({}), "write `manifest`, `{marker: _SUCCESS}` or `{quiet: 10m}`"),
        (files_complete("marker"), "write `manifest`, `{marker: _SUCCESS}` or `{quiet: 10m}`"),
        ({"key": ["trip", "trip"]}, "key names ['trip'] more than once"),
        (
            {"key": "rows"},
            "must be a list of columns that tell rows apart: write `key: [rows]`, or `key: row` if rows may repeat",
        ),
        ({"key": []}, "must be a list of columns that tell rows apart"),
        (
            {"columns": {"email": {"type": "string", "pii": True}}, "key": ["email"]},
            "key columns ['email'] are personal data, and a key is in ids, logs and reports",
        ),
        ({"event_time": "departure"}, "event_time: 'departure' is no column of the source"),
        ({"event_time": "hour + carrier"}, "event_time: 'carrier' is string; what is added to a time must be"),
        ({"event_time": "hour", "cadence": "reference"}, "a reference copy holds rows of any time; remove it"),
        (
            {"event_time": "none", "known": {"after": "1h"}},
            "known: before and after are of an event: declare event_time",
        ),
        ({"known_columns": {"delay": {"after": "late"}}}, "known_columns.delay: 'late' is no column of the source"),
        ({"known_columns": {"gate": {"after": "1h"}}}, "known_columns.gate: 'gate' is no column of the source"),
        (
            {"known_columns": {"trip, delay": {"after": "1h"}, "delay": {"after": "2h"}}},
            "known_columns.delay: 'delay' is given twice; remove one",
        ),
        ({"empty": "allow"}, "empty"),
        ({"minimum_rows": 0}, "minimum_rows"),
    ],
)
def test_a_source_that_cannot_be_stored_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SourceSpec.model_validate(trips(known=None, known_columns={})["sources"]["trips"] | changes)
    assert reason in str(refused.value)


def test_a_view_may_read_what_is_known_before_it_predicts(tmp_path: Path) -> None:
    dataset = trips(known={"before": "1h"})
    assert Catalog.read(include_with(tmp_path, datasets__trips=dataset, features__trip_delay=view())).refused == {}


def test_of_several_times_the_one_of_the_event_must_be_named_unless_the_table_has_no_dates(tmp_path: Path) -> None:
    columns = {"hour": "timestamp", "day": "date", "trip": "integer"}
    untold = {"columns": columns, "key": ["trip"], "known": "partition_start", "known_columns": {}}
    dataset = trips(**untold)
    [reason] = Catalog.read(include_with(tmp_path, datasets__trips=dataset)).refused["datasets/trips.yaml"].reasons
    assert reason.startswith("sources.trips: hour, day are times; write `event_time: hour` or `event_time: day`, or")
    assert "(line " in reason
    for event_time in ("hour", "day", "none"):
        DatasetSpec.model_validate(trips(**untold, event_time=event_time))
    DatasetSpec.model_validate(trips(**untold | {"key": ["hour", "trip"]}))


def places(fields: Any, place: tuple[int | str, ...] = ()) -> list[tuple[int | str, ...]]:
    """Every place of a declaration, the whole included."""
    items = fields.items() if isinstance(fields, dict) else enumerate(fields) if isinstance(fields, list) else ()
    return [place, *(inner for key, value in items for inner in places(value, (*place, key)))]


def changed(fields: Any, place: tuple[int | str, ...], value: Any) -> Any:
    if not place:
        return value
    copy = dict(fields) if isinstance(fields, dict) else list(fields)
    copy[place[0]] = changed(copy[place[0]], place[1:], value)
    return copy


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("datasets/flights.yaml", DatasetSpec),
        ("expectations/weather.yaml", DeclaredSuite),
        ("features/flight_delay.yaml", ViewDeclaration),
        ("models/flight_delay.yaml", ModelDeclaration),
    ],
)
def test_whatever_is_written_in_place_of_a_field_is_taken_or_refused_in_plain_words(file: str, kind: Any) -> None:
    from pipelines.spec.fault_text import fault_texts

    fields = load((INCLUDE / file).read_text())
    for place in places(fields)[1:]:
        for value in (None, "", "wrong value", -7, 1.5, [], {}, [{}], {"nonsense": 1}, True):
            try:
                kind.model_validate(changed(fields, place, value))
            except ValidationError as error:
                texts = fault_texts(error)
                assert texts
                for text in texts:
                    assert not any(raw in text for raw in RAW_WORDINGS), (place, value, text)
                    assert "is not valid (" not in text, (place, value, text)


def test_each_fault_of_a_file_has_its_line(tmp_path: Path) -> None:
    fields = trips()
    fields["datset"] = fields.pop("dataset")
    fields["sources"]["trips"]["columns"]["trip"] = {"type": "int"}
    include = include_with(tmp_path, datasets__trips=fields)
    lines = (include / "datasets" / "trips.yaml").read_text().splitlines()
    reasons = Catalog.read(include).refused["datasets/trips.yaml"].reasons
    assert len(reasons) == 3
    for reason in reasons:
        place, number = reason.partition(": ")[0], re.search(r"\(line (\d+)\)$", reason)
        if place == "dataset":  # the field that is missing has no line
            assert number is None
            continue
        assert number is not None
        assert any(part in lines[int(number[1]) - 1] for part in place.split(".")[-2:]), reason


def test_the_declarations_of_this_repository_are_taken_with_their_suites() -> None:
    catalog = Catalog.read(INCLUDE)
    assert (catalog.refused, set(catalog.suites)) == ({}, {"flights", "planes", "weather"})
    with pytest.raises(Refused, match="there is no dataset flihts"):
        catalog.dataset("flihts")

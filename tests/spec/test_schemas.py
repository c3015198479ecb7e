"""The schemas that editors read say what the code says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError

from pipelines.settings import REPOSITORY
from pipelines.spec.plain_yaml import load
from pipelines.spec.schemas import SCHEMA_FOLDER, SCHEMAS, render_schemas

EVERY_FIELD = """
schema: 2
dataset: trips
owner: data
description: Trips.
partition: {every: day, start: 2024-01-01, end: 2025-01-01, timezone: Europe/Berlin, due: 6h, wait: 2h}
arrival: {queue: "https://queue.example/1/trips", connection: aws_default, poll_minutes: 5}
max_quarantined_share: 0.1
alerts: [{when: data_refused, severity: info, channels: [file]}]
runner: {on: process}
sources:
  trips:
    files: {path: "{source}/{partition}/*.csv", format: csv, delimiter: ";", header: true, quote: '"', encoding: utf-8,
            decimal: ",", thousands: ".", null_values: [NA], compression: gzip, max_bytes: 100,
            complete: {marker: _SUCCESS}}
    key: [hour, trip]
    event_time: hour + minute
    late: {allow: 3d}
    known: {before: 1d}
    known_columns: {"distance, carrier": {after: minute + 60}}
    suite: trips
    empty: allowed
    minimum_rows: 2
    cadence: partition
    columns:
      hour: {type: timestamp, format: "%Y-%m-%d %H:%M", timezone: Europe/Berlin, ambiguous: latest}
      minute: integer
      trip: integer
      carrier: {type: string or null, allowed: [AA, NA], pattern: "[A-Z]+", null_values: ["-"], unit: x, pii: false}
      distance: {type: decimal, scale: 2, min: 0, max: 5, description: d}
  zones:
    sql: {connection: warehouse, table: zones, max_rows: 5}
    cadence: reference
    key: row
    columns: {zone: string}
  quiet:
    files: {path: "{source}/{partition}/*.csv", complete: {quiet: 10m}}
    key: row
    columns: {zone: string}
"""
"""A dataset in which every field stands."""
WRITTEN = [
    *(
        None,
        True,
        1,
        2.0,
        86400,
        "5",
        "true",
        "yes",
        "1.5",
        "86400",
        date(2024, 2, 3),
        datetime(2024, 2, 3, tzinfo=UTC),
    ),
    *("2024-02-03T00:00:00", [], ["x"], {}, "6h", " 6h ", "row", "integer or null", b"x", "1e3"),
]
"""Put in the place of each value."""


@pytest.mark.parametrize("name", sorted(render_schemas()))
def test_the_schema_is_the_one_that_the_code_gives(name: str) -> None:
    assert (SCHEMA_FOLDER / name).read_text() == render_schemas()[name], "run `make schemas`"


@pytest.mark.parametrize(("folder", "schema"), [("models", "model"), ("datasets", "dataset"), ("features", "features")])
def test_every_declaration_names_its_schema_for_editors(folder: str, schema: str) -> None:
    for path in (REPOSITORY / "include" / folder).glob("*.yaml"):
        first = path.read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema=../schemas/{schema}.schema.json", path.name


def places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value stands."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in entries:
        yield (*place, name)
        yield from places(value, (*place, name))


def as_json(content: Any) -> Any:
    """As an editor sees it: dates and times are texts."""
    if isinstance(content, dict):
        return {f"{name}": as_json(value) for name, value in content.items()}
    if isinstance(content, list):
        return [as_json(value) for value in content]
    return (
        content.decode()
        if isinstance(content, bytes)
        else content.isoformat()
        if isinstance(content, date)
        else content
    )


def declarations() -> dict[str, tuple[str, str]]:
    """Name to the kind and the text of what this repository declares, and of the dataset with every field."""
    folders = {"models": "model", "datasets": "dataset", "features": "features"}
    files = [path for folder in folders for path in sorted((REPOSITORY / "include" / folder).glob("*.yaml"))]
    texts = {path.stem + path.parent.name: (folders[path.parent.name], path.read_text()) for path in files}
    alone = {name: (name, (REPOSITORY / "include" / f"{name}.yaml").read_text()) for name in ("gateway", "alerts")}
    return {"every field": ("dataset", EVERY_FIELD), **texts, **alone}


@pytest.mark.parametrize("name", declarations())
def test_what_the_schema_of_an_editor_refuses_the_reader_refuses_too(name: str) -> None:
    kind, text = declarations()[name]
    fields = load(text)
    schema = Draft202012Validator(
        json.loads(render_schemas()[f"{kind}.schema.json"]), format_checker=FormatChecker(["date"])
    )
    assert schema.is_valid(as_json(fields))
    SCHEMAS[kind].model_validate(fields)
    each = 4 if name == "every field" else 1
    for number, place in enumerate(places(fields)):
        for shift in range(each):
            content = copy.deepcopy(fields)
            block = content
            for part in place[:-1]:
                block = block[part]
            block[place[-1]] = WRITTEN[(number * 5 + shift * 6) % len(WRITTEN)]
            try:
                SCHEMAS[kind].model_validate(copy.deepcopy(content))
            except ValidationError:
                continue
            assert schema.is_valid(as_json(content)), (place, block[place[-1]])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("partition.start", 86400),
        ("partition.start", "86400"),
        ("partition.start", datetime(2024, 2, 3, tzinfo=UTC)),
        ("partition.due", " 6h "),
        ("max_quarantined_share", True),
        ("sources.trips.minimum_rows", True),
        ("sources.trips.minimum_rows", "5"),
        ("sources.trips.files.header", "yes"),
        ("sources.trips.files.header", 1),
        ("sources.trips.columns.carrier.pii", "true"),
        ("owner", b"data"),
    ],
)
def test_no_value_of_a_declaration_is_converted(place: str, value: Any) -> None:
    fields = load(EVERY_FIELD)
    *parents, last = place.split(".")
    block = fields
    for name in parents:
        block = block[name]
    block[last] = value
    with pytest.raises(ValidationError):
        SCHEMAS["dataset"].model_validate(fields)

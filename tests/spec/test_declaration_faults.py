"""A declaration with faults is refused with all of them, and each missing field with an example of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from pipelines.errors import Refused
from pipelines.spec.alerts import AlertsSpec
from pipelines.spec.catalog import read_declaration
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.examples import EXAMPLES, example_of
from pipelines.spec.gateway import GatewaySpec
from pipelines.spec.model_declaration import ModelDeclaration
from pipelines.spec.plain_yaml import load
from pipelines.spec.suite import DeclaredSuite
from pipelines.spec.view import ViewDeclaration
from tests.steps.flights_by_hand import INCLUDE

DECLARATIONS: tuple[type[BaseModel], ...] = (
    AlertsSpec,
    DatasetSpec,
    DeclaredSuite,
    ViewDeclaration,
    GatewaySpec,
    ModelDeclaration,
)
FILES: dict[type[BaseModel], str] = {DatasetSpec: "datasets/flights.yaml", ModelDeclaration: "models/flight_delay.yaml"}
ORDERS: dict[str, Any] = {
    "schema": 2,
    "dataset": "orders",
    "partition": {"every": "day", "start": "2024-01-01"},
    "sources": {
        "orders": {
            "files": "{source}/{partition}/orders.csv",
            "key": ["order_id"],
            "columns": {"order_id": "string", "amount": {"type": "number", "min": 0}},
        }
    },
}


def reasons(tmp_path: Path, kind: type[BaseModel], content: Any) -> list[str]:
    path = tmp_path / "declared.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(Refused) as refusal:
        read_declaration(path, kind)
    return refusal.value.reasons


def changed(content: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A copy with other values at places such as ``sources__orders__key``; None takes the field away."""
    fields = copy.deepcopy(content)
    for place, value in values.items():
        *parents, last = place.split("__")
        block = fields
        for name in parents:
            block = block[name]
        if value is None:
            del block[last]
        else:
            block[last] = value
    return fields


def blocks(annotation: Any) -> Iterator[type[BaseModel]]:
    """The block of a declaration with all that it is made of."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        yield annotation
        for info in annotation.model_fields.values():
            yield from blocks(info.annotation)
    for argument in get_args(annotation):
        yield from blocks(argument)


EVERY_BLOCK = {block for kind in DECLARATIONS for block in blocks(kind)}


def test_every_required_field_has_an_example_that_is_valid() -> None:
    for block in EVERY_BLOCK:
        for name, info in block.model_fields.items():
            if not info.is_required():
                continue
            example = example_of(block, name)
            assert example, f"write what {block.__name__}.{name} may be into pipelines/spec/examples.py"
            if get_origin(info.annotation) is not Literal:
                TypeAdapter(Annotated[info.annotation, *info.metadata, None]).validate_python(
                    load(EXAMPLES[block.__name__][name])
                )
    assert set(EXAMPLES) <= {block.__name__ for block in EVERY_BLOCK}


@pytest.mark.parametrize(
    ("place", "example"),
    [
        ("schema", "schema: is required; add it: write `schema: 2`"),
        ("partition", "partition: is required; add it, as in `partition: {every: day, start: 2024-01-01}`"),
        ("sources", "sources: is required; add it, as in `sources: {orders: {"),
        ("partition__every", "partition.every: is required; add it: write `every: hour`, or day, or week"),
        ("sources__orders__key", "sources.orders.key: is required; add it, as in `key: [order_id]`"),
        ("sources__orders__files", 'files: is required; add it, as in `files: "{source}/{partition}/orders.csv"`'),
        ("sources__orders__columns", "columns: is required; add it, as in `columns: {order_id: string, amount:"),
    ],
)
def test_a_missing_field_is_refused_with_an_example(tmp_path: Path, place: str, example: str) -> None:
    assert any(example in reason for reason in reasons(tmp_path, DatasetSpec, changed(ORDERS, **{place: None})))


def test_a_transformation_or_target_without_a_type_is_refused_with_the_types_that_there_are(tmp_path: Path) -> None:
    model = load((INCLUDE / FILES[ModelDeclaration]).read_text())
    faults = reasons(tmp_path, ModelDeclaration, changed(model, deployment__target={"namespace": "serving"}))
    assert any(
        "needs 'kind'; add it: write `kind: embedded`, or http_route, kserve, sagemaker" in text for text in faults
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"key": ["order_nr"], "columns__amount": {"type": "bool"}},
            ["key names undeclared columns ['order_nr']", "columns.amount.type: is no type; write `boolean`"],
        ),
        (
            {"key": ["order_nr"], "known": {"after": "nr_of_minutes"}},
            ["key names undeclared columns ['order_nr']", "'nr_of_minutes'"],
        ),
        (
            {"columns__amount": {"type": "number", "min": 3, "max": 1, "colour": "x"}},
            ["colour: unknown field", "min 3 is above max 1"],
        ),
        (
            {"columns__amount": {"type": "number", "allowed": ["many"], "pattern": "x"}},
            ["allowed has values that are no number: 'many'", "pattern is for string, not number"],
        ),
        (
            {"minimum_rows": -1, "columns": {"order_id": "string", "ordered": "timestamp", "sent": "timestamp"}},
            ["minimum_rows: must be at least 1", "ordered, sent are times; write `event_time: ordered`"],
        ),
        (
            {"owner": 3, "key": ["amount", "amount"], "suite": "No"},
            ["sources.orders.suite: must be lower_snake_case", "key names ['amount'] more than once"],
        ),
    ],
)
def test_a_fault_over_several_fields_is_told_beside_a_faulty_field_of_its_block(
    tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    content = changed(ORDERS, **{f"sources__orders__{place}": value for place, value in changes.items()})
    faults = "\n".join(reasons(tmp_path, DatasetSpec, content))
    for text in expected:
        assert text in faults


def leaves(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each single value."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in entries:
        yield (*place, name)
        yield from leaves(value, (*place, name))


@pytest.mark.parametrize("kind", FILES)
def test_one_faulty_field_is_all_that_is_told(tmp_path: Path, kind: type[BaseModel]) -> None:
    content = load((INCLUDE / FILES[kind]).read_text())
    text = yaml.safe_dump(content, sort_keys=False)
    for place in list(leaves(content))[::5]:
        fields: Any = load(text)
        block = fields
        for name in place[:-1]:
            block = block[name]
        block[place[-1]] = {"no": {"such": "value"}}
        try:
            kind.model_validate(fields)
        except ValueError:
            faults = reasons(tmp_path, kind, fields)
            assert all(any(str(name) in fault for name in place[-2:]) for fault in faults), (place, faults)


@pytest.mark.parametrize("garbage", [None, 3, "text", [], [1], {}, {"a": 1}, True, [{}]])
def test_values_of_any_kind_are_refused_in_words(tmp_path: Path, garbage: Any) -> None:
    content: dict[str, Any]
    for place in list(leaves(ORDERS)):
        content = copy.deepcopy(ORDERS)
        block: Any = content
        for name in place[:-1]:
            block = block[name]
        block[place[-1]] = garbage
        try:
            DatasetSpec.model_validate(content)
        except ValueError:
            assert all(": " in fault for fault in reasons(tmp_path, DatasetSpec, content))


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        ("schema", None, "schema: must be 2 (got nothing)"),
        ("schema", True, "schema: 1 is no longer read"),
        ("owner", {"a": [True, None]}, "owner: must be a text; put it in quotes (got {a: [true, nothing]})"),
        (
            "sources__orders__late",
            "3d",
            "late: must be fields, each `name: value` (got '3d'); write fields, as in `{allow: 3d}`",
        ),
        ("sources__orders__files", 5, 'files: must be a path, as in `"{source}/{partition}/trips.csv"`'),
        (
            "sources__orders__files",
            "{source}/{partition}/a.xlsx",
            "files.path: .xlsx is a workbook; deliver CSV, JSON lines",
        ),
        ("sources__orders__columns__amount", None, "amount: must be a type, as in `string`, or fields with it"),
        (
            "sources__orders__columns__amount",
            {"type": "string", "allowed": [True, date(2024, 1, 1), 1e3]},
            "allowed has values that are no string: true, 2024-01-01, 1000.0; write each in quotes",
        ),
        (
            "sources__orders__columns",
            {"order_id": "string", date(2024, 1, 1): "date"},
            "columns.2024-01-01: the name must be a text",
        ),
        ("sources", {"Orders-a": ORDERS["sources"]["orders"]}, "sources.Orders-a: the name must be lower_snake_case"),
    ],
)
def test_a_fault_speaks_of_values_as_the_file_writes_them(tmp_path: Path, place: str, value: Any, fault: str) -> None:
    content = changed(ORDERS | {"owner": "x"}, **({place: value} if value is not None else {}))
    if value is None:
        *parents, last = place.split("__")
        block = content
        for name in parents:
            block = block[name]
        block[last] = None
    assert any(fault in text for text in reasons(tmp_path, DatasetSpec, content)), reasons(
        tmp_path, DatasetSpec, content
    )


def test_a_single_key_column_is_refused_with_its_list(tmp_path: Path) -> None:
    [fault] = reasons(tmp_path, DatasetSpec, changed(ORDERS, sources__orders__key="order_id"))
    assert "write `key: [order_id]`, or `key: row` if rows may repeat" in fault


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("bool", "boolean"),
        ("float", "number"),
        ("int64", "integer"),
        ("varchar(20)", "string"),
        ("numeric(10,2)", "decimal"),
        ("datetime", "timestamp"),
        ("timestamp with time zone", "timestamp"),
        ("string not null", "string"),
        ("nullable integer", "integer or null"),
        ("Optional[int]", "integer or null"),
        ("float?", "number or null"),
        ("integer | null", "integer or null"),
        (["integer", "null"], "integer or null"),
    ],
)
def test_a_type_by_a_name_of_another_language_is_refused_with_what_to_write(
    tmp_path: Path, written: Any, right: str
) -> None:
    content = changed(ORDERS, sources__orders__columns__amount={"type": written})
    [fault] = reasons(tmp_path, DatasetSpec, content)
    assert f"columns.amount.type: is no type; write `{right}`" in fault
    [fault] = reasons(tmp_path, DatasetSpec, changed(ORDERS, sources__orders__columns__amount="words"))
    assert "type: must be one of boolean, date, decimal, integer, number, string, timestamp, with `or null`" in fault

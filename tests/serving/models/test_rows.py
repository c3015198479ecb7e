"""Unseen categories and missing entity ids are counted, and refused where the gateway declares it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.serving.http.response import Problem
from pipelines.serving.models import mlflow_protocol, open_inference_protocol
from pipelines.serving.models.bundle import BundleManifest, InputColumn
from pipelines.serving.models.faults import RowFaults
from pipelines.serving.models.predictor import Predictor, known_categories
from pipelines.serving.models.rows import MAX_KNOWN_ROW_TYPES, InputRows, RowSchema

FEATURES = [InputColumn("carrier", "categorical"), InputColumn("origin", "categorical"), InputColumn("hour", "numeric")]
CATEGORIES = {"carrier": frozenset(["AA", "UA", None]), "origin": frozenset(["JFK", None])}


def check(columns: list[list[Any]], ids: Any = None, **declared: bool) -> InputRows:
    schema = RowSchema(FEATURES, 100, categories=CATEGORIES, **declared)
    return schema.check(list(columns), len(columns[0]), ids, RowFaults(), is_shaped=True)


def faults(columns: list[list[Any]], ids: Any = None, **declared: bool) -> list[str]:
    with pytest.raises(Problem) as refused:
        check(columns, ids, **declared)
    assert refused.value.status == 400
    return list(refused.value.faults)


@pytest.mark.parametrize(
    ("columns", "unseen"),
    [
        ([["AA"], ["JFK"], [1]], None),
        ([[None], [None], [None]], None),
        ([["ZZ"], ["JFK"], [1]], {"carrier": 1}),
        ([[""], ["jfk"], [1]], {"carrier": 1, "origin": 1}),
        ([["AA", "ZZ", "ZZ", None], ["JFK"] * 4, [1] * 4], {"carrier": 2}),
    ],
)
def test_unseen_categories_are_counted_by_column(columns: list[list[Any]], unseen: dict[str, int] | None) -> None:
    assert check(columns).unseen == unseen


def test_unseen_categories_are_refused_by_row_where_that_is_declared() -> None:
    assert faults([["ZZ", "AA"], ["LGA", "JFK"], [1, 1]], only_known=True) == [
        "row 0, column 'carrier': 'ZZ' is none of AA, UA",
        "row 0, column 'origin': 'LGA' is none of JFK",
    ]
    assert check([["AA", None], ["JFK", "JFK"], [1, 1]], only_known=True).unseen is None


def test_a_refusal_lists_ten_categories_and_counts_the_others() -> None:
    schema = RowSchema(FEATURES[:1], 100, categories={"carrier": frozenset(map(str, range(10, 25)))}, only_known=True)
    with pytest.raises(Problem) as refused:
        schema.check([["ZZ"]], 1, None, RowFaults(), is_shaped=True)
    assert refused.value.faults[0].endswith("is none of 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 5 more")


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        (None, "ids are missing; give one entity id per row"),
        (["a"], "ids has 1 entries for 2 rows"),
        (["a", ""], "ids[1] is empty"),
        (["a", None], "ids[1] is a JSON null"),
    ],
)
def test_rows_without_an_entity_id_are_refused_where_that_is_declared(ids: Any, fault: str) -> None:
    (found,) = faults([["AA"] * 2, ["JFK"] * 2, [1] * 2], ids, needs_ids=True)
    assert found.startswith(fault)


def test_rows_without_ids_are_taken_elsewhere() -> None:
    assert check([["AA"], ["JFK"], [1]]).ids is None
    assert check([["AA"], ["JFK"], [1]], [""]).ids == [""]


@pytest.mark.parametrize(
    ("allowed", "learnt", "known"),
    [
        (["EWR", "JFK"], {"origin": ["EWR"]}, {"origin": {"EWR", "JFK", None}}),
        ([], {"origin": ["EWR"]}, {"origin": {None}}),
        (None, {"origin": ["EWR"]}, {"origin": {"EWR", None}}),
    ],
    ids=["the contract's", "a contract that allows none", "the training's"],
)
def test_known_categories_are_the_contracts_or_else_the_trainings(
    allowed: list[str] | None, learnt: dict[str, list[str]], known: dict[str, set[str | None]]
) -> None:
    features = [InputColumn("origin", "categorical", allowed=allowed)]
    manifest = BundleManifest("m", "1", "onnx", "value", features, {}, "0" * 64, "model.onnx")
    assert known_categories(Predictor(manifest, learnt, lambda matrix: matrix[:, 0])) == known


# ---- bodies that would keep everybody waiting -----------------------------------------------------------------------

PAD = b" " * 300_000
"""Makes any body large enough to be looked at before it is parsed."""
MANY = 3000
"""More than the names of 100 rows of 3 columns."""


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": {f"name {number}": [1] for number in range(MANY)}},
        {"dataframe_records": [{f"name {number}": 1 for number in range(MANY)}]},
        {"dataframe_split": {"columns": [f"name {number}" for number in range(4 * MANY)], "data": []}},
        {f"field {number}": 1 for number in range(MANY)},
        {"inputs": [{} for _ in range(MANY)]},
        {"instances": [[] for _ in range(MANY)]},
        {"instances": [[0] * 4 * MANY]},
    ],
    ids=["columns", "records", "names of a split", "fields", "tensors", "rows", "values"],
)
@pytest.mark.parametrize("separators", [(",", ":"), (" , ", "\n: ")])
@pytest.mark.parametrize("protocol", [mlflow_protocol, open_inference_protocol], ids=["MLflow", "Open Inference"])
def test_a_body_with_more_names_than_the_largest_table_is_refused_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch, body: Any, separators: tuple[str, str], protocol: Any
) -> None:
    monkeypatch.setattr("pipelines.serving.models.rows.parse_json", lambda _: pytest.fail("it was parsed"))
    content = json.dumps(body, separators=separators).encode() + PAD
    with pytest.raises(Problem) as refused:
        protocol.read(content, RowSchema(FEATURES, 100))
    assert (refused.value.status, "100 rows of 3 columns" in refused.value.faults[0]) == (413, True)


LARGEST = [["A,A", 'J":FK', 1.5]] * 100
NAMES = [feature.name for feature in FEATURES]


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        (mlflow_protocol, {"dataframe_split": {"columns": NAMES, "data": LARGEST}}),
        (mlflow_protocol, {"dataframe_records": [dict(zip(NAMES, row, strict=True)) for row in LARGEST]}),
        (mlflow_protocol, {"instances": LARGEST}),
        (mlflow_protocol, {"inputs": dict(zip(NAMES, map(list, zip(*LARGEST, strict=True)), strict=True))}),
        (
            open_inference_protocol,
            {
                "inputs": [
                    {"name": name, "shape": [100, 1], "datatype": kind, "data": [[row[index]] for row in LARGEST]}
                    for index, (name, kind) in enumerate(zip(NAMES, ("BYTES", "BYTES", "FP64"), strict=True))
                ],
                "parameters": {"ids": [str(number) for number in range(100)]},
            },
        ),
    ],
)
def test_the_largest_table_is_taken_in_every_form(protocol: Any, body: Any) -> None:
    content = json.dumps(body | ({} if "parameters" in body else {"ids": list(map(str, range(100)))})).encode() + PAD
    assert protocol.read(content, RowSchema(FEATURES, 100)).count == 100


def test_of_many_wrong_names_their_number_is_told_and_not_each() -> None:
    for body, told in (
        ({"inputs": {f"name {number}": [1] for number in range(200)}}, "200 columns; the model has 3"),
        ({"dataframe_split": {"columns": ["hour"] * 200, "data": []}}, "200 columns; the model has 3"),
        ({"dataframe_records": [{"name": 1}] * 100}, "and 380 more"),
    ):
        with pytest.raises(Problem) as refused:
            mlflow_protocol.read(json.dumps(body).encode(), RowSchema(FEATURES, 100))
        assert refused.value.status == 400
        assert told in refused.value.faults
        assert len(refused.value.faults) <= 21


SINGLE_ROWS: list[list[Any]] = [
    ["AA", "JFK", 1],
    ["AA", "JFK", 1.5],
    [None, "JFK", None],
    ["AA", "JFK", True],
    [1, "JFK", 1],
    ["AA", "JFK", "1"],
    ["AA", [], 1],
    ["AA", "JFK", 2**63],
    ["AA", "JFK", 2**64],
    ["AA", "JFK", -(2**63) - 1],
]


@pytest.mark.parametrize("missing", [True, False])
def test_which_rows_came_before_changes_nothing_of_how_a_row_is_judged(missing: bool) -> None:
    def judge(schema: RowSchema, row: list[Any]) -> Any:
        try:
            return schema.check([(value,) for value in row], 1, None, RowFaults(), is_shaped=True).values
        except Problem as problem:
            return problem.faults

    def new_schema() -> RowSchema:
        return RowSchema(FEATURES, 100, missing=missing)

    used = new_schema()
    for _ in range(2):
        assert [judge(used, row) for row in SINGLE_ROWS] == [judge(new_schema(), row) for row in SINGLE_ROWS]


def test_the_types_of_a_row_are_remembered_up_to_a_bound() -> None:
    names = [f"c{number}" for number in range(10)]
    schema = RowSchema([InputColumn(name, "numeric") for name in names], 1)
    for number in range(1024):
        row = [(1 if number >> bit & 1 else None,) for bit in range(10)]
        schema.check(list(row), 1, None, RowFaults(), is_shaped=True)
    assert len(schema._row_types) == MAX_KNOWN_ROW_TYPES

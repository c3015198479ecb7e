"""Whatever the body, it becomes rows or a bounded list of faults, and finding them out stays cheap."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.serving.http.response import Problem
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.mlflow_protocol import read
from pipelines.serving.models.rows import InputRows, RowSchema

FEATURES = [InputColumn("a", "categorical"), InputColumn("b", "numeric", 0, 10), InputColumn("c", "numeric", maximum=5)]
NAMES = ["a", "b", "c"]


def faults(body: Any, **how: Any) -> list[str]:
    schema = RowSchema(FEATURES, how.pop("max_rows", 100), **how)
    with pytest.raises(Problem) as caught:
        read(body if isinstance(body, bytes) else json.dumps(body).encode(), schema)
    return caught.value.faults


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3)
)
words = st.sampled_from(
    ["a", "b", "c", "columns", "data", "index", "ids", "instances", "inputs", "dataframe_split", "x"]
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=20
)


def outcome(body: bytes) -> Problem | InputRows:
    try:
        return read(body, RowSchema(FEATURES, 3))
    except Problem as error:
        return error


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(words, anything, max_size=3) | anything)
def test_any_json_is_rows_or_faults(content: Any) -> None:
    found = outcome(json.dumps(content).encode())
    if isinstance(found, InputRows):
        assert found.count == len(found.values[0]) >= 1
    else:
        assert (1 <= len(found.faults) <= 21, found.status in (400, 413)) == (True, True)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_rows_or_faults(content: bytes) -> None:
    found = outcome(content)
    assert isinstance(found, InputRows) or found.faults


def test_every_faulty_row_is_named_up_to_a_bound_and_the_rest_is_counted() -> None:
    rows = [["x", "y", 1]] * 30
    found = faults({"instances": rows})
    assert found[0] == "row 0, column 'b': 'y' is a string, not a number or null"
    assert found[19].startswith("row 19")
    assert found[20:] == ["and 10 more"]


def test_values_outside_the_schemas_range_are_named_with_the_range() -> None:
    rows = [["x", -1, 1], ["x", 10, 5], ["x", 10.5, 6], ["x", None, None]]
    assert faults({"instances": rows}) == [
        "row 0, column 'b': -1 is outside 0 to 10",
        "row 2, column 'b': 10.5 is outside 0 to 10",
        "row 2, column 'c': 6 is outside -inf to 5",
    ]
    assert read(json.dumps({"instances": rows}).encode(), RowSchema(FEATURES, 9, ranges=False)).count == 4


def test_missing_values_are_refused_where_they_are_not_wanted() -> None:
    assert faults({"instances": [[None, 1, 1], ["x", None, 1]]}, missing=False) == [
        "row 0, column 'a': null, not a string",
        "row 1, column 'b': null, not a number",
    ]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_in_json_is_refused(literal: str) -> None:
    assert "not JSON" in faults(b'{"instances": [["x", %s, 1]]}' % literal.encode())[0]


def test_a_whole_number_beyond_64_bits_becomes_the_float_it_stands_for() -> None:
    rows = read(b'{"instances": [[%d], [7]]}' % 10**30, RowSchema([InputColumn("b", "numeric")], 5))
    assert list(rows.values[0]) == [1e30, 7]


def named(count: int) -> dict[str, int]:
    return {f"n{number}": 1 for number in range(count)}


MILLIONS: dict[str, Callable[[], Any]] = {
    "700,000 column names": lambda: {"dataframe_split": {"columns": list(named(700_000)), "data": []}},
    "500,000 inputs": lambda: {"inputs": named(500_000)},
    "600,000 unknown fields": lambda: named(600_000),
    "2,000,000 empty rows": lambda: b'{"instances": [' + b"[]," * 2_000_000 + b"[]]}",
    "2,000,000 empty records": lambda: b'{"dataframe_records": [' + b"{}," * 2_000_000 + b"{}]}",
    "one row of 3,900,000 values": lambda: b'{"instances": [[' + b"1," * 3_900_000 + b"1]]}",
    "3,900,000 ids": lambda: b'{"instances": [["x",1,1]], "ids": [' + b"1," * 3_900_000 + b"1]}",
    "a name of 8,000,000 characters": lambda: b'{"' + b"x" * 8_000_000 + b'": 1}',
    "a number of 1,000,000 digits": lambda: b'{"instances": [["x",' + b"1" * 1_000_000 + b",1]]}",
    "columns of 1,500 lengths": lambda: {"inputs": {f"n{number}": [1] * (number % 1500) for number in range(3000)}},
}


@pytest.mark.parametrize("name", MILLIONS)
def test_a_body_of_eight_megabytes_is_refused_quickly_and_briefly(name: str) -> None:
    content = MILLIONS[name]()
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    started = time.process_time()
    found = faults(body, max_rows=10_000)
    assert time.process_time() - started < 30, "a cost that grows with the square takes minutes"
    assert sum(map(len, found)) < 10_000

"""A load test and a drill send rows that the strictest gateway takes, so that a refusal never counts as a fault."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from pipelines.steps.bundling.sendable_rows import sendable_rows

FEATURES = [{"name": "distance", "minimum": 5, "maximum": 900}, {"name": "carrier"}, {"name": "kind", "allowed": ["a"]}]
CASES = [
    ([500.0, "UA", "a"], True),
    ([4.9, "UA", "a"], False),
    ([900.1, "UA", "a"], False),
    ([500.0, "ZZ", "a"], False),
    ([500.0, "UA", "b"], False),
    ([None, "UA", "a"], False),
    ([500.0, None, "a"], False),
]


def sendable(rows: list[list[Any]], files: list[str] | None = None) -> list[tuple[Any, ...]]:
    found = {
        "bundle.json": {"features": FEATURES, "files": dict.fromkeys(["categories.json"] if files is None else files)}
    }
    found["categories.json"] = {"carrier": ["UA", "AA"], "kind": ["a", "b"]}
    frame = pl.DataFrame(rows, ["distance", "carrier", "kind"], orient="row")
    return sendable_rows(frame, lambda name: json.dumps(found[name]).encode()).rows()


@pytest.mark.parametrize(("row", "sent"), CASES)
def test_a_row_is_sent_if_it_is_complete_and_within_ranges_and_categories(row: list[Any], sent: bool) -> None:
    anchor = [5.0, "AA", "a"]
    assert (tuple(row) in sendable([anchor, row])) is sent


def test_where_no_row_is_complete_those_with_missing_values_are_sent() -> None:
    assert sendable([[500.0, None, "a"], [1.0, None, "a"]]) == [(500.0, None, "a")]


def test_a_bundle_without_vocabularies_is_held_to_its_contract_alone() -> None:
    assert sendable([[500.0, "ZZ", "a"], [500.0, "ZZ", "b"]], files=[]) == [(500.0, "ZZ", "a")]


def test_of_rows_that_are_all_outside_none_is_sent() -> None:
    assert sendable([[1.0, "UA", "a"]]) == []

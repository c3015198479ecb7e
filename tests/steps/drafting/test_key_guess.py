"""A key is what tells rows apart where chance would not, and the columns that hold the key of another table."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pipelines.spec.file_format import FileFormat
from pipelines.steps.drafting.column_guess import ColumnGuess, guess_columns
from pipelines.steps.drafting.join_guess import guess_joins, names_match
from pipelines.steps.drafting.key_guess import collisions_by_chance, guess_key


def columns_of(**values: list[Any]) -> dict[str, ColumnGuess]:
    return guess_columns(pl.DataFrame(values), FileFormat(format="parquet"), "UTC")[0]


def test_collisions_by_chance_are_those_of_the_birthday_problem() -> None:
    assert collisions_by_chance(100, [100]) == 50
    assert collisions_by_chance(100, [100, 100]) == 0.5


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"id": [*range(50)], "amount": [0.5 + number for number in range(50)]}, ["id"]),
        ({"amount": [0.5 + number for number in range(50)]}, []),
        ({"shop": [n // 10 for n in range(100)], "line": [n % 10 for n in range(100)]}, ["shop", "line"]),
        ({"a": [*range(8)]}, []),  # of eight rows any column is unique by chance
        ({"name": [f"n{n}" for n in range(50)], "code": [f"c{n}" for n in range(50)]}, ["code"]),
        ({"id": [*range(49), None]}, []),
        ({"year": [*range(50)], "month": [1] * 50}, []),
        ({"text": ["x" * 80 + str(n) for n in range(50)]}, []),
        ({"user_name": [f"u{n}" for n in range(50)]}, []),  # personal data is no key
    ],
)
def test_a_key_is_unique_whole_and_not_by_chance(values: dict[str, list[Any]], key: list[str]) -> None:
    assert sorted(guess_key(columns_of(**values), len(next(iter(values.values()))))) == sorted(key)


def test_what_is_predicted_is_no_key() -> None:
    assert guess_key(columns_of(id=[*range(50)]), 50, exclude=["id"]) == []


@pytest.mark.parametrize(
    ("column", "other", "key"),
    [("customer_id", "customers", "id"), ("customerId", "customers", "customer_id"), ("customer", "customers", "id")],
)
def test_names_of_a_key_match_however_they_are_written(column: str, other: str, key: str) -> None:
    assert names_match(column, other, key)
    assert not names_match("amount", other, key)


def test_a_join_is_found_by_name_and_half_of_the_values_or_by_nine_tenths_of_them() -> None:
    planes = columns_of(tail=[f"N{number}" for number in range(50)])
    half = columns_of(tail=[f"N{number}" for number in range(20, 80)] * 2)
    other = columns_of(machine=[f"N{number}" for number in range(20, 80)] * 2)
    whole = columns_of(machine=[f"N{number}" for number in range(48)] * 2)
    assert guess_joins(half, "planes", planes, ["tail"]) == [["tail"]]
    assert guess_joins(other, "planes", planes, ["tail"]) == []
    assert guess_joins(whole, "planes", planes, ["tail"]) == [["machine"]]


def test_small_integers_of_another_name_are_no_join() -> None:
    months = columns_of(number=[*range(12)])
    assert guess_joins(columns_of(hour=[*range(12)] * 3), "months", months, ["number"]) == []


def test_two_columns_may_hold_the_same_key() -> None:
    airports = columns_of(faa=[f"A{number}" for number in range(20)])
    flights = columns_of(origin=["A1", "A2"] * 20, dest=["A3", "A4"] * 20)
    assert guess_joins(flights, "airports", airports, ["faa"]) == [["origin"], ["dest"]]

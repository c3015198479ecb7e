"""The contract of a column is guessed from all of its values, and reads each of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipelines.spec.file_format import FileFormat
from pipelines.steps.drafting.column_guess import guess_columns

MIDNIGHT = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)
"""Without a zone, as pandas writes it."""


def guess(values: list[Any], name: str = "column", **files: Any) -> tuple[dict[str, Any], list[str]]:
    """Fields and questions of one column."""
    rows = pl.DataFrame({name: values})
    columns, _ = guess_columns(rows, FileFormat.model_validate(files), "Europe/Berlin")
    return dict(columns[name].fields), columns[name].questions


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        (["1", "-2", "NA"], {"type": "integer", "nullable": True}),
        (["1.0", "2.0", ""], {"type": "integer", "nullable": True}),
        (["1.5", "2", "1e-3"], {"type": "number"}),
        (["0.5", "0.25"], {"type": "number"}),
        (["007", "012"], {"type": "string"}),
        (["+7", "+8"], {"type": "string"}),
        (["12345678901234567890", "1"], {"type": "string"}),
        (["9007199254740993", "0.5"], {"type": "string"}),
        (["1e400", "1"], {"type": "string"}),
        (["true", "False"], {"type": "boolean"}),
        (["yes", "no"], {"type": "string"}),
        (["19970101", "19970214", "19980630"], {"type": "date", "format": "%Y%m%d"}),
        (["19970101", "19971301", "19980630"], {"type": "integer"}),
        (["2024-01-31"], {"type": "date"}),
        (["31.01.2024"], {"type": "date", "format": "%d.%m.%Y"}),
        (["01/31/2024", "02/01/2024"], {"type": "date", "format": "%m/%d/%Y"}),
        (["5-Jan-96", "28-Feb-97"], {"type": "date", "format": "%d-%b-%y"}),
        (["2024-01-31T10:00:00Z"], {"type": "timestamp"}),
        (["2024-01-31T10:00:00+01:00"], {"type": "timestamp"}),
        (["2024-01-31 10:00:00"], {"type": "timestamp", "timezone": "Europe/Berlin"}),
        (["31.01.2024 10:00"], {"type": "timestamp", "format": "%d.%m.%Y %H:%M", "timezone": "Europe/Berlin"}),
        (["1/31/2024 9:05 PM"], {"type": "timestamp", "format": "%m/%d/%Y %I:%M %p", "timezone": "Europe/Berlin"}),
        (["2024-03-31 02:30:00"], {"type": "string"}),
        (["", "NA"], {"type": "string", "nullable": True}),
        ([1, 2, None], {"type": "integer", "nullable": True}),
        ([1.0, None], {"type": "integer", "nullable": True}),
        ([1.0, 2.0], {"type": "number"}),
        ([date(2024, 1, 1)], {"type": "date"}),
        ([MIDNIGHT], {"type": "date"}),
        ([MIDNIGHT + timedelta(hours=5)], {"type": "timestamp", "timezone": "Europe/Berlin"}),
        ([True, None], {"type": "boolean", "nullable": True}),
    ],
)
def test_a_type_holds_every_value_as_it_is_written(values: list[Any], fields: dict[str, Any]) -> None:
    assert guess(values)[0] == fields


@pytest.mark.parametrize(
    ("values", "name", "question"),
    [
        (["03/04/2024", "05/06/2024"], "day_of", "written as %d/%m/%Y, or as %m/%d/%Y"),
        (["2024-01-31 10:00:00"], "at", "its times have no zone; are they of Europe/Berlin?"),
        (["?", "3", "4"], "size", "does '?' stand for no value?"),
        (["a@example.org", "b@example.org"], "contact", "it looks like e-mail addresses"),
        (["Ann", "Ben"], "first_name", "it looks like personal data, by its name"),
        (["DE", "NA", "FR"], "country", "is NA a code here"),
        (["", ""], "note", "it has no value here"),
        (["1", "2", "3", "-999", "2", "1"], "size", "does -999 stand for no value?"),
    ],
)
def test_what_the_values_do_not_tell_is_asked(values: list[str], name: str, question: str) -> None:
    assert any(question in text for text in guess(values, name)[1])


def test_few_categories_and_no_negative_number_become_limits() -> None:
    assert guess(["b", "a"] * 20)[0] == {"type": "string", "allowed": ["a", "b"]}
    assert guess(["b", "a"] * 19)[0] == {"type": "string"}
    assert guess(["3", "4"] * 10, "pieces")[0] == {"type": "integer", "min": 0}
    assert guess(["3", "4"] * 10, "customer_id")[0] == {"type": "integer"}


def test_a_word_for_no_value_is_one_of_its_column_alone() -> None:
    rows = pl.DataFrame({"size": ["3", "?"], "mark": ["?", "!"]})
    columns, _ = guess_columns(rows, FileFormat(), "UTC")
    assert columns["size"].fields == {"type": "integer", "null_values": ["NA", "", "?"], "nullable": True}
    assert columns["mark"].values.to_list() == ["?", "!"]


@pytest.mark.parametrize(
    ("prices", "signs", "values"),
    [
        (["1,5", "2,25"], {"decimal": ","}, [1.5, 2.25]),
        (["1.234,5", "2,25"], {"decimal": ",", "thousands": "."}, [1234.5, 2.25]),
        (["1,234.5", "2.25"], {"thousands": ","}, [1234.5, 2.25]),
        (["1 234", "2 500"], {"thousands": " "}, [1234, 2500]),
    ],
)
def test_the_signs_in_numbers_are_those_by_which_all_are_numbers(
    prices: list[str], signs: dict[str, str], values: list[float]
) -> None:
    rows = pl.DataFrame({"price": prices, "pieces": ["1", "2"]})
    columns, signs_of_file = guess_columns(rows, FileFormat(delimiter=";"), "UTC")
    assert signs_of_file == signs
    assert columns["price"].values.to_list() == values
    assert columns["pieces"].values.to_list() == [1, 2]


def test_a_decimal_comma_is_not_taken_where_another_column_has_a_point() -> None:
    rows = pl.DataFrame({"price": ["1,5", "2,25"], "rate": ["1.5", "2.5"]})
    columns, signs = guess_columns(rows, FileFormat(delimiter=";"), "UTC")
    assert not signs
    assert columns["price"].type == "string"

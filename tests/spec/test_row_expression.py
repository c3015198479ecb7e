"""An expression of one row is read as SQL writes it; what cannot be computed row by row is refused with its place."""

from __future__ import annotations

import re

import pytest

from pipelines.spec.row_expression import Call, ColumnName, Constant, Kind, columns_of, kind_of, parsed

KINDS: dict[str, Kind] = {"a": "number", "b": "number", "word": "text", "flag": "boolean", "at": "timestamp"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * 2", Call("+", (ColumnName("a"), Call("*", (ColumnName("b"), Constant(2)))))),
        ("-1.5e3", Constant(-1500.0)),
        (
            "NOT flag OR a = 1",
            Call("or", (Call("not", (ColumnName("flag"),)), Call("=", (ColumnName("a"), Constant(1))))),
        ),
        ("word = 'it''s'", Call("=", (ColumnName("word"), Constant("it's")))),
        ("a IS NOT NULL", Call("not", (Call("is null", (ColumnName("a"),)),))),
        ("a != b", Call("<>", (ColumnName("a"), ColumnName("b")))),
        ('"or" < 1', Call("<", (ColumnName("or"), Constant(1)))),
    ],
)
def test_an_expression_is_read_with_the_precedence_of_sql(text: str, expected: object) -> None:
    assert parsed(text) == expected


def test_between_and_in_and_not_in_are_read() -> None:
    assert parsed("a between 1 and 2 and word not in ('x', 'y')") == parsed(
        "a >= 1 and a <= 2 and not word in ('x', 'y')"
    )


def test_every_column_is_named_once() -> None:
    assert columns_of(parsed("a + b > a and word is null")) == ["a", "b", "word"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it ends where a value must follow"),
        ("a >", "it ends where a value must follow"),
        ("a > 1 b", "'b' at character 7: an operator or the end must stand there"),
        ("(a", "it ends where ')' must follow"),
        ("a ; b", "';' at character 2 cannot be read here"),
        ("avg(a)", "there is no function 'avg' of one row"),
        ("sum(a) over (1)", "there is no function 'sum' of one row"),
        ("a in (b)", "'in' takes a list of numbers or texts"),
        ("a not 1", "'in' or 'between' must stand there"),
        ("abs(a, b)", "'abs' takes 1 values"),
        ("(" * 60 + "a" + ")" * 60, "nested deeper than 40 levels"),
        ("a + " * 400 + "a", "1000 are the most"),
    ],
)
def test_what_is_no_expression_of_a_row_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parsed(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("a / b", "number"), ("a < b", "boolean"), ("coalesce(word, 'x')", "text"), ("at is null", "boolean")],
)
def test_the_kind_of_a_value_follows_from_its_columns(text: str, kind: str) -> None:
    assert kind_of(parsed(text), KINDS) == kind


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c > 1", "'c' is not a column; it has a, b"),
        ("word > 1", "'>' compares text with number"),
        ("word + 1", "'+' takes a number, not a text"),
        ("a and flag", "'and' takes a boolean, not a number"),
        ("a in (1, 'x')", "'in' compares number with text"),
    ],
)
def test_operands_that_do_not_suit_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        kind_of(parsed(text), KINDS)

"""A pattern is read alike by Python and by the engine that holds texts against it, or refused with what to write."""

from __future__ import annotations

import re

import polars as pl
import pytest

from pipelines.spec.text_pattern import pattern_faults

TEXTS = [
    "",
    "a",
    "b",
    "aa",
    "a1",
    "A-1",
    "a\nb",
    "a{",
    "[",
    "]",
    "-",
    "&",
    "\u00e4",
    "\u0663",
    "1234567890",
    "a b",
    "$",
    "\\",
    "\x07",
]


@pytest.mark.parametrize(
    "pattern",
    [
        "a",
        "a|b",
        "[A-Z]-[0-9]+",
        r"\d+",
        r"\w*",
        r"[\w -]+",
        r"[^a\]]",
        "[]a]",
        "(?:a|b)+",
        "(?P<letter>a)1?",
        "(?i:A)",
        "(?s:a.b)",
        "a.b",
        r"\$",
        r"\\",
        r"\u0061",
        r"\x61",
        "a{1,2}",
        "a{2}?",
        r"\Aa",
        "[a-]",
        "",
    ],
)
def test_a_pattern_that_is_taken_matches_what_python_matches(pattern: str) -> None:
    assert pattern_faults(pattern) == []
    matched = pl.Series(TEXTS).str.contains(f"^(?:{pattern})$").to_list()
    assert matched == [re.fullmatch(pattern, text) is not None for text in TEXTS]


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("[", "is no regular expression (unterminated character set"),
        ("(?=a)", "look-around, a condition or a back-reference"),
        ("(?>a)", "look-around, a condition or a back-reference"),
        (r"(a)\1", "look-around, a condition or a back-reference"),
        ("(?P<a>x)(?P=a)", "look-around, a condition or a back-reference"),
        (r"a\Z", r"has \Z, which is not read"),
        (r"\N{BULLET}", r"has \N, which is not read"),
        (r"[\N{BULLET}]", r"has \N, which is not read"),
        (r"\141", r"back-reference"),
        ("(?a)a", "has (?a), which is not read"),
        ("(?x) a #", "has (?x), which is not read"),
        ("a(?#x)", "has (?#x), which is not read"),
        ("[[]", "has [, &&, --, ~~ or || within brackets"),
        ("[a&&b]", "has [, &&, --, ~~ or || within brackets"),
        ("a{", "has a { that counts nothing"),
        ("a{,2}", "has a { that counts nothing"),
        ("((a{1000}){1000}){1000}", "repeats parts more than 1,000 times"),
        ("(a{99999999999999999999})", "regular expression"),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible")
def test_what_the_engine_does_not_read_as_python_does_is_refused_with_what_to_write(pattern: str, fault: str) -> None:
    assert any(fault in text for text in pattern_faults(pattern)), pattern_faults(pattern)

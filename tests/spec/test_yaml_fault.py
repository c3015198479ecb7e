"""A file that is no YAML is refused with its line and what to write, not in the words of the library."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import Refused
from pipelines.spec.catalog import read_declaration
from pipelines.spec.dataset import DatasetSpec

LIBRARY_WORDS = ("token", "scalar", "constructor", "indicator", "expected", "mapping", "stream", "alias")


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("dataset: a\nsources:\n\ta: 1\n", "a tab indents the line", 3),
        ("sources:\n  a: 1\n\tb: 2\n", "a tab indents the line", 3),
        ("owner: team: data\n", "a second `: ` in one value: put the whole value in quotes", 1),
        ("owner: a\n  dataset: b\n", "too deep an indent", 2),
        ("sources:\n  a: 1\n b: 2\n", "indented unlike those beside it", 3),
        ("files: {source}/{partition}/a.csv\n", "text after a closing brace, bracket or quote", 1),
        ("owner: 'it's'\n", "put the whole value in quotes", 1),
        ('owner: "a\ndataset: b\n', "a quote that begins here has no end", 1),
        ("key: [a, b\ndataset: c\n", "a list that [ begins has no ]", 2),
        ("partition: {every: day\ndataset: c\n", "fields that { begins have no }", 2),
        ("owner: a\ndataset\nkey: c\n", "the line has no `: `", 2),
        ("owner: @team\n", "no value may begin with @", 1),
        ("owner: `team`\n", "no value may begin with `", 1),
        ("owner: *team\n", "a value that begins with * refers to an anchor", 1),
        ("owner: *\n", "a value that begins with * or &", 1),
        ("owner: !team x\n", "a value that begins with ! names a type", 1),
        ('owner: "C:\\data"\n', "use single quotes", 1),
        ("owner: a\n---\nowner: b\n", "a second part after ---", 2),
        ("sources:\n  - a\n  b: 1\n", "a list and fields", 3),
        ("sources: - a\n", "begin it on the next line", 1),
        ("key: [a,, b]\n", "a value is missing between two commas", 1),
        ("{", "fields that { begin have no }", 1),
        ("key: [a,\n", "a list that [ begins has no ]", 1),
        ("partition: {every: day,", "fields that { begin have no }", 1),
        ("owner: |x\n", "text after | or >", 1),
        ("? [a]\n: b\n", "the name of a field is a list or a block", 1),
        ("owner: a\nstart: 2013-02-31\n", "2013-02-31 is no date or time (day is out of range for month)", 2),
        ("owner: a\nowner: b\n", "'owner' is given twice", 2),
        ("owner: a\ndataset: \x01\n", "a control sign", 2),
        ('owner: "\\ud800"\n', "no number of a character", 1),
        ('owner: "\\xzz"\n', "no number of a character", 1),
        ("owner: !!binary aGk=\n", "a value that begins with ! names a type", 1),
        ("owner: !!set {a}\n", "a value that begins with ! names a type", 1),
        ("owner: !!int x\n", "x is no value of its kind", 1),
        ("owner: !!float x\n", "x is no value of its kind", 1),
        ("owner: !!timestamp x\n", "x is no value of its kind", 1),
        (f"a: b\nowner: {'9' * 5000}\n", "99999999999999999999\u2026 is no value of its kind", 2),
        ("owner: !x!y z\n", "a value that begins with ! names a type", 1),
        ('owner: "a\n---\n', "has no end", 1),
        ("? a\nb: - c\n", "begin it on the next line", 2),
        ("%x\na: b\n", "a line begins with %", 1),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line_and_what_to_write(
    tmp_path: Path, text: str, words: str, line: int
) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(text)
    with pytest.raises(Refused) as refusal:
        read_declaration(path, DatasetSpec)
    [fault] = refusal.value.reasons
    assert words in fault
    assert fault.endswith(f"(line {line})")
    assert not any(word in fault for word in LIBRARY_WORDS)


TEXT = """schema: 2
dataset: orders
owner: "sales: team"
partition: {every: day, start: 2024-01-01, timezone: 'Europe/Berlin'}
sources:
  orders:
    files: {path: "{source}/{partition}/*.csv", null_values: [NA, "-"]}
    key: [order_id]
    columns:
      order_id: string
      amount: {type: number, min: 1e-3}
"""
SIGNS = "{}[]:,'\"-#&*!|>%@`?\\\t\n 0x"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(TEXT)), st.sampled_from(SIGNS), st.booleans()), min_size=1, max_size=3)
)
def test_whatever_sign_is_added_or_lost_no_word_is_the_librarys(
    tmp_path: Path, edits: list[tuple[int, str, bool]]
) -> None:
    text = TEXT
    for place, sign, is_added in edits:
        text = text[:place] + (sign if is_added else "") + text[place + (not is_added) :]
    path = tmp_path / "orders.yaml"
    path.write_text(text)
    try:
        read_declaration(path, DatasetSpec)
    except Refused as refusal:
        words = " ".join([refusal.subject, *refusal.reasons]).lower()
        assert not [
            word for word in (*LIBRARY_WORDS, "pydantic", "yaml.", "datetime.", "<class", "[key]") if word in words
        ]


def test_a_file_of_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_bytes(b"schema: 2\nowner: M\xfcller\n")
    with pytest.raises(Refused) as refusal:
        read_declaration(path, DatasetSpec)
    assert refusal.value.reasons == ["it is not UTF-8; save it as UTF-8 (line 2)"]

"""A file that is no YAML is refused with its line and what to write, not in the words of the library."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_a_file_of_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_bytes(b"schema: 2\nowner: M\xfcller\n")
    with pytest.raises(Refused) as refusal:
        read_declaration(path, DatasetSpec)
    assert refusal.value.reasons == ["it is not UTF-8; save it as UTF-8 (line 2)"]

"""Reads JSON lines as text, each number as it was written, or says with the line why a line is no flat object."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from pipelines.steps.ingestion.file_rows import FileRows, no_rows

NO_JSON = "no JSON object"
TEXTS = {True: "true", False: "false"}


class _LineFault(ValueError):
    """What is wrong with a line, in words for people."""


def read_json_lines(text: str, declared: Sequence[str]) -> FileRows:
    """Rows as text: a number with its own digits, ``true`` and ``false``; ``null`` and a field that is absent are null.

    Lines without characters are passed over. The columns are those that any line has, the ``declared`` ones first;
    a file without lines has the declared ones.
    """
    objects: list[dict[str, str | None]] = []
    lines: list[int] = []
    faults: dict[str, list[int]] = {}
    for number, raw in enumerate(io.StringIO(text, newline="\n"), start=1):
        line = raw.strip(" \t\r\n")
        if not line:
            continue
        try:
            objects.append(_read_object(line))
            lines.append(number)
        except _LineFault as error:
            faults.setdefault(str(error), []).append(number)
    if faults:
        return no_rows(
            *(
                f"the file is not readable as JSON lines: {len(numbers)} lines {fault}, for example line {numbers[0]}"
                for fault, numbers in faults.items()
            )
        )
    present = dict.fromkeys(name for row in objects for name in row) if objects else dict.fromkeys(declared)
    names = [name for name in declared if name in present] + [name for name in present if name not in declared]
    columns = [pl.Series(name, [row.get(name) for row in objects], dtype=pl.String) for name in names]
    return FileRows(pl.DataFrame(columns), pl.Series(lines, dtype=pl.Int64), names)


def _read_object(line: str) -> dict[str, str | None]:
    try:
        value = json.loads(
            line, object_pairs_hook=_fields, parse_float=_Number, parse_int=_Number, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise _LineFault(f"are {NO_JSON} ({error.msg})") from error
    except RecursionError as error:
        raise _LineFault("hold values within values; deliver flat objects") from error
    if not isinstance(value, dict):
        kind = "an array: deliver one object per line" if isinstance(value, list) else "a single value"
        raise _LineFault(f"are {NO_JSON} but {kind}")
    return {name: _as_text(name, item) for name, item in value.items()}


class _Number(str):
    """The digits of a number as they were written."""

    __slots__ = ()


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise _LineFault(f"name the field {', '.join(map(repr, repeated))} more than once; write each once")
    return fields


def _refuse_constant(word: str) -> Any:
    raise _LineFault(f"have {word}, which JSON does not know; write null, or leave the field out")


def _as_text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None if value is None else TEXTS[value]
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise _LineFault(f"have {kind} in the field {name!r}; deliver flat objects")
    text = str(value)
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise _LineFault(f"have half a character (a surrogate) in the field {name!r}; write the whole")
    return text

"""Says what is wrong with a field in plain words, with what to write: never in those of the validation library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ValidationError

IDENTIFIER_HINT = "must be lower_snake_case, as in flight_delay"
WORDS: Mapping[str, str] = {
    "missing": "is required; add it",
    "extra_forbidden": "unknown field; remove it or correct the spelling",
    "string_type": "must be a text; put it in quotes",
    "string_too_short": "must not be empty; it needs at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "dict_type": "must be fields, each `name: value`",
    "model_type": "must be fields, each `name: value`",
    "model_attributes_type": "must be fields, each `name: value`",
    "mapping_type": "must be fields, each `name: value`",
    "date_type": "must be a date, as in 2013-01-31",
    "date_parsing": "must be a date, as in 2013-01-31",
    "date_from_datetime_parsing": "must be a date, as in 2013-01-31",
    "date_from_datetime_inexact": "must be a date without a time, as in 2013-01-31",
    "datetime_type": "must be a time, as in 2013-01-31T10:00:00Z",
    "datetime_parsing": "must be a time, as in 2013-01-31T10:00:00Z",
    "datetime_from_date_parsing": "must be a time, as in 2013-01-31T10:00:00Z",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_short": "must have at least {min_length} entry(ies)",
    "too_long": "must have at most {max_length} entry(ies)",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "needs {discriminator}; add it",
    "json_invalid": "is not JSON; write it again",
    "json_type": "must be JSON",
    "none_required": "must be empty",
    "url_parsing": "must be a URL",
}
"""Kind of a pydantic error to its text; ``{}`` are the values that the error names."""
KINDS_OF_UNIONS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
"""How pydantic names the alternatives of a field that takes several types, at the end of an error's place."""
WITHOUT_VALUE = {"missing", "extra_forbidden", "json_invalid", "union_tag_not_found"}
MAX_SHOWN = 80
DEEPEST = 3
QUOTE = "'"
NAME = "[key]"
"""How pydantic ends the place of a fault in the name of a field."""
WHOLE_FILE = "(whole file)"
"""What a fault of everything has in place of a field."""
Place = tuple[int | str, ...]


class FieldFaults(ValueError):
    """Faults that a check over several fields finds, each with the place of its field below the block: ``a.b``."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{place}: {text}" for place, text in faults))
        self.faults = tuple(faults)


def fault_texts(error: ValidationError, whole: str = WHOLE_FILE) -> list[str]:
    """Each fault as ``place: what is wrong (got value)``; ``whole``: the place of what is wrong with everything."""
    return [f"{dotted(place) or whole}: {text}" for place, text in faults(error)]


def faults(error: ValidationError) -> list[tuple[Place, str]]:
    """Each fault with the names and numbers that lead to it. Alternatives of one field are one fault."""
    texts: dict[Place, str] = {}
    alternatives: dict[Place, list[str]] = {}
    for item in error.errors():
        place, of_name = _place(item)
        if of_name:
            _add(texts, place, f"the name {_text(item)}")
        elif place and place[-1] in KINDS_OF_UNIONS:
            alternatives.setdefault(place[:-1], []).append(KINDS_OF_UNIONS[str(place[-1])])
            texts[place[:-1]] = f"must be {' or '.join(alternatives[place[:-1]])} (got {shown(item['input'])})"
        elif isinstance(raised := (item.get("ctx") or {}).get("error"), FieldFaults):
            for below, text in raised.faults:
                _add(texts, (*place, *filter(None, below.split("."))), text)
        else:
            _add(texts, place, _text(item))
    return list(texts.items())


def _place(item: Any) -> tuple[Place, bool]:
    """Where a fault is, and whether it is of the name there and not of its value."""
    place = tuple(item["loc"])
    return ((*place[:-2], _as_yaml(item["input"], 0).strip("'")), True) if place[-1:] == (NAME,) else (place, False)


def _add(texts: dict[Place, str], place: Place, text: str) -> None:
    texts[place] = "; ".join(filter(None, [texts.get(place), text]))


def dotted(place: Iterable[int | str]) -> str:
    return ".".join(str(part) for part in place)


def shown(value: Any) -> str:
    """A value as YAML writes it, cut to a line."""
    return shortened(_as_yaml(value, 0))


def shortened(text: str, width: int = MAX_SHOWN) -> str:
    """The text, or its beginning with a sign that there is more."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _as_yaml(value: Any, depth: int) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, Mapping | list | tuple | set) and depth > DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        fields = (
            f"{_as_yaml(name, DEEPEST).strip(QUOTE)}: {_as_yaml(part, depth + 1)}" for name, part in value.items()
        )
        return f"{{{', '.join(fields)}}}"
    if isinstance(value, list | tuple | set):
        return f"[{', '.join(_as_yaml(part, depth + 1) for part in value)}]"
    return repr(value)


def _text(item: Any) -> str:
    kind, context = item["type"], item.get("ctx") or {}
    if kind in ("value_error", "assertion_error"):
        text = str(context["error"])  # our own words; of fields they name what they are about
        return text if isinstance(item["input"], dict | list | BaseModel) else f"{text} (got {shown(item['input'])})"
    if kind == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        form = IDENTIFIER_HINT if pattern.startswith("^[a-z][a-z0-9]*(_") else f"must have the form {pattern}"
        return f"{form} (got {shown(item['input'])})"
    if kind == "literal_error" and not re.search(" or |, ", str(context["expected"])):
        text = f"must be {context['expected']}"
    else:
        text = WORDS[kind].format(**context) if kind in WORDS else "is not valid; correct it"
    return text if kind in WITHOUT_VALUE else f"{text} (got {shown(item['input'])})"

"""Every declaration is closed: an unknown field is an error, never a silent default, and no value is converted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, StringConstraints
from pydantic_core import core_schema

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=64)]


NOT_CONVERTED = {"bool", "float", "int", "str"}
"""Types of fields whose values are taken as they are written: ``"5"`` is no number and ``yes`` is not true."""
ISO_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
KEPT_PARTS = ("default", "metadata", "serialization")
"""Of a schema: they read nothing."""


def _without_conversion(node: Any) -> Any:
    """The schema of a block, strict where a value is a single one."""
    if isinstance(node, list | tuple):
        return type(node)(map(_without_conversion, node))
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if not isinstance(kind, str):  # fields by name, of which one may be called type
        return {name: _without_conversion(part) for name, part in node.items()}
    if kind in NOT_CONVERTED:
        return {**node, "strict": True}
    if kind == "literal" and any(isinstance(value, int) for value in node["expected"]):
        return core_schema.no_info_before_validator_function(_read_literal(node["expected"]), node)
    if kind == "date":
        return core_schema.no_info_before_validator_function(_read_date, core_schema.date_schema())
    return {name: part if name in KEPT_PARTS else _without_conversion(part) for name, part in node.items()}


def _read_literal(expected: Sequence[Any]) -> Callable[[Any], Any]:
    """``true`` is no 1 and 1 is not true, which Python takes for equal."""
    kinds = {isinstance(value, bool) for value in expected}

    def read(value: Any) -> Any:
        is_number = isinstance(value, bool | int | float)
        return f"{value}" if is_number and isinstance(value, bool) not in kinds else value

    return read


def _read_date(value: Any) -> Any:
    """A date, or its text; pydantic would take a number for seconds since 1970, and cut a midnight off."""
    is_date = isinstance(value, date) and not isinstance(value, datetime)
    if not is_date and not (isinstance(value, str) and ISO_DATE.fullmatch(value)):
        raise ValueError("must be a date, as in 2013-01-31")
    return value


class DeclarationBlock(BaseModel):
    """The parent of every block of a declaration.

    A field takes what the schema for editors says of it and nothing that pydantic would make to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return _without_conversion(handler(source))  # type: ignore[no-any-return]


def field_faults(place: str, block: BaseModel | None, reasons: Mapping[str, str]) -> list[str]:
    """``<place>.<field>: <reason>`` for each field of the block that is declared."""
    declared = block.model_fields_set if block is not None else set()
    return [f"{place}.{name}: {reason}" for name, reason in reasons.items() if name in declared]

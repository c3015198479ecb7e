"""A column declares its type, how its source writes it, its limits, and whether it holds personal data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator

from pipelines.spec.column_value import fits_scale, value_in_type
from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.fault_text import shown
from pipelines.spec.text_pattern import pattern_faults
from pipelines.spec.time_format import format_faults, says_offset
from pipelines.spec.time_zone import timezone_fault

ColumnType = Literal["boolean", "date", "decimal", "integer", "number", "string", "timestamp"]
NUMERIC = ("integer", "number", "decimal")
ORDERED = (*NUMERIC, "date", "timestamp")
"""Types whose values ``min`` and ``max`` limit."""
TIMES = ("date", "timestamp")
OR_NULL = " or null"
OTHER_NAMES: Mapping[str, ColumnType] = {
    "bool": "boolean",
    "day": "date",
    **dict.fromkeys(("money", "numeric"), "decimal"),
    **dict.fromkeys(("bigint", "int", "long", "smallint", "uint"), "integer"),
    **dict.fromkeys(("double", "float", "real"), "number"),
    **dict.fromkeys(("category", "char", "object", "str", "text", "utf", "uuid", "varchar"), "string"),
    **dict.fromkeys(("datetime", "time", "timestamptz"), "timestamp"),
}
"""Names of types in other languages, and what is written here."""
NULL_WORDS = {"maybe", "none", "null", "nullable", "optional"}
SHORT_FORMS = [f"{kind}{ending}" for kind in get_args(ColumnType) for ending in ("", OR_NULL)]
HINTS: Mapping[str, str] = {
    "boolean": "write true or false",
    "date": "write each as 2013-01-31",
    "decimal": "write numbers, as 12.50",
    "integer": "write whole numbers, as 12",
    "number": "write numbers, as 0.5",
    "string": "write each in quotes",
    "timestamp": "write each as 2013-01-31T10:00:00Z",
}
"""How values of a type are written in a declaration."""
DEFAULT_SCALE = 9
LARGEST_SCALE = 18
DeclaredValue = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}]})]
"""A number, a text, ``true``, a date or a time; in the type of its column once it was read."""
DeclaredLimit = Annotated[
    Any, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}, {"type": "null"}]})
]
"""The same, or nothing."""


def _read_type(declared: Any) -> Any:
    """The type as it is; of a name that other languages have, ``int64?`` for one, what is written here."""
    types = get_args(ColumnType)
    if isinstance(declared, str) and declared in types:
        return declared
    words = re.findall(r"[a-z]+", str(declared).lower())
    kind = next((OTHER_NAMES.get(word, word) for word in words if word in types or word in OTHER_NAMES), None)
    if kind is None:
        raise ValueError(f"must be one of {', '.join(types)}, with `{OR_NULL.strip()}` where values may be missing")
    may_be_null = "not" not in words and ("?" in str(declared) or not NULL_WORDS.isdisjoint(words))
    raise ValueError(f"is no type; write `{kind}{OR_NULL if may_be_null else ''}`")


class ColumnSpec(DeclarationBlock):
    """The contract of one column: ``integer or null`` is short for ``{type: integer, nullable: true}``.

    ``min`` and ``max`` are inclusive, and compare in the type.
    """

    type: Annotated[ColumnType, BeforeValidator(_read_type, json_schema_input_type=ColumnType)]
    nullable: bool = False
    allowed: list[DeclaredValue] | None = Field(default=None, min_length=1)
    """Its categories, of its type. A word that is one of ``null_values``, too, is a value of this column."""
    min: DeclaredLimit = None
    max: DeclaredLimit = None
    pattern: str | None = None
    """Regular expression that each text matches as a whole."""
    scale: int | None = Field(default=None, ge=0, le=LARGEST_SCALE)
    """Decimals of a ``decimal`` (9 if none is declared), of its 38 digits in all."""
    format: str | None = None
    """How texts write a date or a timestamp, as ``%Y%m%d``; none: as ISO 8601, a timestamp with its offset or Z."""
    timezone: str | None = None
    """Zone of timestamps that have none of their own; none: those are refused."""
    ambiguous: Literal["refused", "earliest", "latest"] = "refused"
    """Which of two instants a local time is that the clocks of ``timezone`` repeat."""
    null_values: list[str] | None = None
    """Texts that stand for no value in this column, in place of its source's."""
    unit: str = ""
    pii: bool = False
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def read_short_form(cls, declared: Any) -> Any:
        if not isinstance(declared, str | dict | ColumnSpec):
            raise ValueError("must be a type, as in `string`, or fields with it, as in `{type: string, pii: true}`")
        fields = {"type": declared} if isinstance(declared, str) else declared
        if isinstance(fields, dict) and str(fields.get("type")).endswith(OR_NULL):
            fields = {**fields, "type": fields["type"].removesuffix(OR_NULL), "nullable": True}
        return fields

    @model_validator(mode="after")
    def read_values_in_the_type(self) -> Self:
        """``allowed: ["1", "2"]`` of an integer column are the integers 1 and 2; a limit of a decimal is a decimal."""
        limits = {name: value for name in ("min", "max") if (value := getattr(self, name)) is not None}
        if limits and self.type not in ORDERED:
            raise ValueError(f"{' and '.join(limits)} limit {', '.join(ORDERED)}, not {self.type}; remove them")
        if self.allowed is not None and self.type == "timestamp":
            raise ValueError("allowed lists categories, and a timestamp has none; remove it")
        read = {name: self._in_type(name, [value])[0] for name, value in limits.items()}
        if len(read) == 2 and read["min"] > read["max"]:
            raise ValueError(f"min {self.min} is above max {self.max}; no value satisfies both")
        if self.allowed is not None:
            read["allowed"] = self._in_type("allowed", self.allowed)
        for name, value in read.items():
            object.__setattr__(self, name, value)
        return self

    def _in_type(self, name: str, values: list[Any]) -> list[Any]:
        read = [value_in_type(value, self.type) for value in values]
        wrong = [value for value, in_type in zip(values, read, strict=True) if in_type is None]
        if wrong:
            raise ValueError(
                f"{name} has values that are no {self.type}: {', '.join(map(shown, wrong))}; {HINTS[self.type]}"
            )
        if any(isinstance(value, Decimal) and not fits_scale(value, self.decimals) for value in read):
            raise ValueError(
                f"{name} has values that 38 digits, {self.decimals} of them decimals, do not hold; change scale"
            )
        return read

    @model_validator(mode="after")
    def check_fields_suit_the_type(self) -> Self:
        of_types = {"pattern": ("string",), "scale": ("decimal",), "format": TIMES, "timezone": ("timestamp",)}
        faults = [
            f"{name} is for {' and '.join(kinds)}, not {self.type}; remove it"
            for name, kinds in of_types.items()
            if getattr(self, name) is not None and self.type not in kinds
        ]
        if self.format is not None and self.type in TIMES:
            faults += format_faults(self.format, self.type)
            zoned = self.type == "date" or says_offset(self.format)
            if not zoned and self.timezone is None:
                faults.append("format says no offset (%z), so declare the timezone of the times")
        if self.timezone is not None and (fault := timezone_fault(self.timezone)):
            faults.append(fault.replace("timezone", f"timezone {self.timezone!r}"))
        if self.ambiguous != "refused" and self.timezone is None:
            faults.append("ambiguous is for times of a timezone; declare it, or remove ambiguous")
        if self.pattern is not None:
            faults += pattern_faults(self.pattern)
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def decimals(self) -> int:
        """Digits after the point of a decimal."""
        return DEFAULT_SCALE if self.scale is None else self.scale

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        block = handler(core_schema)
        handler.resolve_ref_schema(block)["properties"]["type"] = {"enum": SHORT_FORMS}
        return {"anyOf": [{"enum": SHORT_FORMS}, block]}

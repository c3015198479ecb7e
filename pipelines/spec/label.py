"""The label of a view: a name, and the condition or value of a row that becomes known after its moment ``t``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, StringConstraints, TypeAdapter, ValidationError

from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.row_expression import columns_of, parsed

OPTIONS: tuple[str, ...] = ()
"""Fields beside the label's name."""
FORM = 'write {late: "delay >= 15"}: a name, and a condition or a column'


class Label(DeclarationBlock):
    """``name`` is the value of ``expression`` over the columns of the row's own source; null where that is null."""

    name: Identifier
    expression: str

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return columns_of(parsed(self.expression))


def _read(value: Any) -> Any:
    if isinstance(value, Label):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"is no label; {FORM}")
    names = [name for name in value if name not in OPTIONS]
    if len(names) != 1 or not isinstance(value[names[0]], str):
        raise ValueError(f"is no label; {FORM}")
    try:
        TypeAdapter(Identifier).validate_python(names[0])
    except ValidationError:
        raise ValueError(f"label name {names[0]!r} must be lower_snake_case, as in arrives_late") from None
    parsed(value[names[0]])
    return Label(name=names[0], expression=value[names[0]])


DeclaredLabel = Annotated[
    Label,
    PlainValidator(
        _read,
        json_schema_input_type=Annotated[
            dict[Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9]*(_[a-z0-9]+)*$")], str],
            Field(min_length=1, max_length=1),
        ],
    ),
]

"""The label of a view: a name, and a condition or value of the row, or of the events after its moment ``t``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, StringConstraints, TypeAdapter, ValidationError

from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.durations import Duration, parse_duration
from pipelines.spec.row_expression import columns_of, parsed
from pipelines.spec.window_label import CALL, WindowExpression

WITHIN, WHERE, ON = OPTIONS = ("within", "where", "on")
"""Fields beside the label's name."""
FORM = (
    'write {late: "delay >= 15"}: a name, and a condition or a column, or '
    '{returns: "count(orders) >= 1", within: 30d} of the time after t'
)


class Label(DeclarationBlock):
    """``name`` is the value of ``expression`` over the columns of the row's own source; null where that is null.

    With ``within`` it is over aggregates of the entity's events in ``(t, t + within]``, and null until all that the
    window covers is held.
    """

    name: Identifier
    expression: str
    within: Duration | None = None
    where: str | None = None
    """A condition of one event of the window; events where it is null are left out."""
    on: list[str] | None = None
    """The columns of the entity that an event of the window shares with the row; none: all of them."""

    @property
    def columns(self) -> list[str]:
        """The columns of the row that it reads."""
        return [] if self.within else columns_of(parsed(self.expression))

    @property
    def window(self) -> WindowExpression:
        """What is read of the time after ``t``."""
        return WindowExpression.parse(self.expression)


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
    expression, options = value[names[0]], {name: value[name] for name in OPTIONS if name in value}
    if WITHIN not in options:
        if others := [name for name in (WHERE, ON) if name in options]:
            raise ValueError(f"{' and '.join(others)} is of the events of a window; write within, too, or remove it")
        if CALL.search(expression):
            raise ValueError(f"{expression!r} counts events; write within, too, as in within: 30d")
        parsed(expression)
        return Label(name=names[0], expression=expression)
    within, where = parse_duration(options[WITHIN]), options.get(WHERE)
    if not within:
        raise ValueError("within must be longer than nothing; write 1d at least")
    WindowExpression.parse(expression)
    if where is not None:
        if not isinstance(where, str):
            raise ValueError("where is no condition; write one, as in `amount > 100`")
        parsed(where)
    on = [options[ON]] if isinstance(options.get(ON), str) else options.get(ON)
    if on is not None and not (isinstance(on, list) and on and all(isinstance(name, str) for name in on)):
        raise ValueError("on is no list of columns; write those that an event shares with the row, as in on: order_id")
    return Label(name=names[0], expression=expression, within=within, where=where, on=on)


DeclaredLabel = Annotated[
    Label,
    PlainValidator(
        _read,
        json_schema_input_type=Annotated[
            dict[Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9]*(_[a-z0-9]+)*$")], str | list[str]],
            Field(min_length=1, max_length=len(OPTIONS) + 1),
        ],
    ),
]

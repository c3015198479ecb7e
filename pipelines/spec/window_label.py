"""Reads the value of a label over a future window: aggregates of events, and a condition or a number made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from pydantic import ValidationError

from pipelines.spec.aggregate import Aggregate, AggregateFunction, aggregate_faults, aggregate_kind
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import faults as validation_faults
from pipelines.spec.row_expression import KINDS, Kind, columns_of, kind_of, parsed

NEWEST = ("first", "last")
FUNCTIONS = get_args(AggregateFunction)
CALL = re.compile(rf"\b({'|'.join(FUNCTIONS)})\s*\(\s*([A-Za-z_]\w*)(?:\.([A-Za-z_]\w*))?\s*\)")
"""``count(orders)``, or ``sum(orders.amount)``."""
NEEDS = 'count events that follow, as in "count(orders) >= 1", or write "sum(orders.amount)"'


@dataclass(frozen=True)
class EventCall:
    """One aggregate of the expression: ``name`` stands in its place. ``column`` None: of events."""

    name: str
    function: str
    source: str
    column: str | None

    def aggregate(self, by: list[str], where: str | None) -> Aggregate:
        """Raises ``ValidationError`` where the function does not suit."""
        return Aggregate.model_validate(
            {"function": self.function, "column": self.column, "of": self.source, "by": by, "where": where}
            | ({"unit": "days"} if self.function == "since_last" else {})
        )


@dataclass(frozen=True)
class WindowExpression:
    """``expression`` over the names of the ``calls``."""

    expression: str
    calls: tuple[EventCall, ...]

    @classmethod
    def parse(cls, text: str) -> WindowExpression:
        """Raises ``ValueError`` that says what to write."""
        calls: dict[str, EventCall] = {}

        def replace(match: re.Match[str]) -> str:
            function, source, column = match.groups()
            name = f"window_{len(calls)}"
            call = calls.setdefault(match[0], EventCall(name, function, source, column))
            return call.name

        expression = CALL.sub(replace, text)
        if not calls:
            raise ValueError(f"reads nothing of the time after t; {NEEDS}")
        names = [call.name for call in calls.values()]
        if others := [name for name in columns_of(parsed(expression)) if name not in names]:
            raise ValueError(f"{others[0]!r} is no aggregate; {NEEDS}")
        return cls(expression, tuple(calls.values()))

    @property
    def sources(self) -> list[str]:
        return list(dict.fromkeys(call.source for call in self.calls))

    def kinds(self, by: list[str], where: str | None, dataset: DatasetSpec) -> tuple[dict[str, Kind], list[str]]:
        """The kind of each aggregate, and what is wrong with them. ``by``: the columns that name an entity."""
        kinds: dict[str, Kind] = {}
        faults: list[str] = []
        for call in self.calls:
            try:
                how = call.aggregate(by, where)
            except ValidationError as error:
                faults += [f"{call.function}: {text}" for _, text in validation_faults(error)]
                continue
            listed = aggregate_faults(how, aggregate_kind(how, dataset), call.source, dataset)
            faults += [f"{call.function}({call.source}): {fault}" for fault in listed]
            kinds[call.name] = _kind(how, dataset)
        return kinds, faults

    def kind(self, by: list[str], where: str | None, dataset: DatasetSpec) -> tuple[Kind | None, list[str]]:
        """The kind of the value: a boolean of a condition; None where the aggregates have faults."""
        kinds, faults = self.kinds(by, where, dataset)
        if faults:
            return None, faults
        try:
            return kind_of(parsed(self.expression), kinds), []
        except ValueError as error:
            return None, [f"{error}"]


def _kind(how: Aggregate, dataset: DatasetSpec) -> Kind:
    """That of the column for the first or last value, a boolean of whether there is one, else a number."""
    source = dataset.sources.get(how.of)
    column = source.stored_columns().get(how.column or "") if source else None
    if how.function in NEWEST and column is not None:
        return KINDS[column.type]
    return "boolean" if how.function == "exists" else "number"

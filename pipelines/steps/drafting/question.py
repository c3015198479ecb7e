"""Reads what is to be predicted: a column, a condition of a row, or aggregates of what follows for each entity."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.errors import Refused

FUTURE = re.compile(
    r"\s*(?P<function>COUNT|SUM|EXISTS|MEAN|MIN|MAX)\s*\(\s*(?P<source>\w+)\.(?P<column>\w+|\*)\s*,\s*0\s*,"
    r"\s*(?P<days>\d+)\s*,?\s*(?:d|day|days)\s*\)\s*(?P<condition>(?:>=|<=|<>|!=|=|>|<)\s*-?[\d.]+)?"
    r"\s+FOR\s+EACH\s+(?P<entity>\w+)\.(?P<entity_column>\w+)(?:\s+EVERY\s+(?P<every>day|week|month))?\s*",
    re.IGNORECASE,
)
FORM = '"COUNT(orders.*, 0, 30d) > 0 FOR EACH customers.id", with EVERY day, week or month after it'


@dataclass(frozen=True)
class FutureQuestion:
    """An aggregate of the events of an entity in so many days after each moment; compared, or a number."""

    function: str
    source: str
    column: str | None
    """None: of the events themselves."""
    days: int
    condition: str
    entity_source: str
    entity_column: str
    every: str

    @property
    def expression(self) -> str:
        """As a label writes it: ``count(purchases) >= 1``."""
        call = f"{self.function}({self.source}{'' if self.column is None else f'.{self.column}'})"
        return f"{call} {self.condition}".strip()

    @property
    def name(self) -> str:
        """Of the label: ``purchases_count_in_30d``."""
        return "_".join(filter(None, (self.source, self.function, (self.column or "").lower(), f"in_{self.days}d")))


def read_question(text: str) -> FutureQuestion | str:
    """The question about the future, or the text itself: a column or a condition of a row.

    Raises ``Refused`` where it begins like one about the future and cannot be read.
    """
    match = FUTURE.fullmatch(text)
    if match is None:
        if re.search(r"\bFOR\s+EACH\b", text, re.IGNORECASE):
            raise Refused(f"{text!r} cannot be read; write {FORM}")
        return text
    function, column = match["function"].lower(), match["column"]
    if column == "*" and function not in ("count", "exists"):
        raise Refused(f"{match['function']} is of a column; write {match['function']}({match['source']}.amount, …)")
    if int(match["days"]) == 0:
        raise Refused("a question about 0 days has no answer; write a longer time, as in 30d")
    return FutureQuestion(
        function=function,
        source=match["source"],
        column=None if column == "*" or function == "exists" else column,
        days=int(match["days"]),
        condition=match["condition"] or "",
        entity_source=match["entity"],
        entity_column=match["entity_column"],
        every=(match["every"] or "week").lower(),
    )

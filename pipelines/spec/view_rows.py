"""The rows of a view: what each of them is about, and the moment ``t`` as of which it is known."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainValidator

from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.durations import Duration
from pipelines.spec.forms import one_of
from pipelines.spec.panel import PerPeriod


def _read_nothing(value: Any) -> Any:
    return timedelta() if value == 0 and not isinstance(value, bool) else value


class PerEvent(DeclarationBlock):
    """One row per row of a source; ``t`` is its event time minus ``lead``."""

    per: Identifier
    """The source whose rows they are."""
    lead: Annotated[Duration, BeforeValidator(_read_nothing)] = timedelta()
    """How long before its event a row is asked about. 0: at the event."""
    warm_up: Duration | None = None
    """Rows with a ``t`` earlier than this after the start of the first partition are left out: their windows would
    begin before there are data. None: no row is."""
    allow_missing: bool = False
    """Whether rows are trained on whose windows reach a partition that is not held."""

    @property
    def source(self) -> str:
        return self.per


class PerTable(DeclarationBlock):
    """One row per row of a table without dates; all that it holds was known from the first."""

    table: Identifier
    """The source whose rows they are."""

    @property
    def source(self) -> str:
        return self.table

    @property
    def lead(self) -> timedelta:
        """A row has no event, and so nothing before it."""
        return timedelta()

    @property
    def warm_up(self) -> None:
        """No window begins anywhere."""
        return

    @property
    def allow_missing(self) -> bool:
        """A table is held as a whole, or not at all."""
        return False


ROW_FORMS: dict[str, type[DeclarationBlock]] = {"per": PerEvent, "each": PerPeriod, "table": PerTable}
"""The field that tells a form from the others to its class."""
Rows = Annotated[
    PerEvent | PerPeriod | PerTable,
    PlainValidator(
        one_of(
            ROW_FORMS,
            "write {per: <source>, lead: 2h}, {each: <source>.<column>, every: week, active_within: 365d}, or "
            "{table: <source>} of a dataset without dates",
        ),
        json_schema_input_type=PerEvent | PerPeriod | PerTable,
    ),
]

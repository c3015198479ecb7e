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

    @property
    def source(self) -> str:
        return self.per


ROW_FORMS: dict[str, type[DeclarationBlock]] = {"per": PerEvent, "each": PerPeriod}
"""The field that tells a form from the others to its class."""
Rows = Annotated[
    PerEvent | PerPeriod,
    PlainValidator(
        one_of(
            ROW_FORMS, "write {per: <source>, lead: 2h}, or {each: <source>.<column>, every: week, active_within: 365d}"
        ),
        json_schema_input_type=PerEvent | PerPeriod,
    ),
]

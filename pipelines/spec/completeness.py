"""Declares by what a delivery is complete: its manifest, a marker that is written last, or a time without a change."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, field_validator, model_validator

from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.durations import Duration

FORMS = "write `manifest`, `{marker: _SUCCESS}` or `{quiet: 10m}`"


class Completeness(DeclarationBlock):
    """``complete`` of the files of a source; without a marker and a quiet time, by the manifest."""

    marker: str | None = None
    """Name of the file that the source writes into the folder of the partition after all others."""
    quiet: Duration | None = None
    """How long no file of the partition was written, by the clock of the storage."""

    @property
    def by_manifest(self) -> bool:
        return self.marker is None and self.quiet is None

    @field_validator("marker")
    @classmethod
    def check_is_a_name(cls, marker: str | None) -> str | None:
        if marker is not None and (not marker.strip() or any(sign in marker for sign in "/\\{}*?[]")):
            raise ValueError("must be the name of one file in the folder of the partition, as in _SUCCESS")
        return marker

    @field_validator("quiet")
    @classmethod
    def check_waits(cls, quiet: timedelta | None) -> timedelta | None:
        if quiet is not None and not quiet:
            raise ValueError("must be longer than nothing; write 1m at least")
        return quiet

    @model_validator(mode="after")
    def check_one_way(self) -> Self:
        if self.marker is not None and self.quiet is not None:
            raise ValueError(f"a delivery is complete by one thing; {FORMS}")
        return self


def _read(value: Any) -> Any:
    if value == "manifest":
        return {}
    if not isinstance(value, Completeness) and not (isinstance(value, dict) and value):
        raise ValueError(FORMS)
    return value


DeclaredCompleteness = Annotated[
    Completeness, BeforeValidator(_read, json_schema_input_type=Literal["manifest"] | Completeness)
]

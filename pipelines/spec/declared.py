"""Every declaration is closed: an unknown field is an error, never a silent default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=64)]


class DeclarationBlock(BaseModel):
    """The parent of every block of a declaration."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def field_faults(place: str, block: BaseModel | None, reasons: Mapping[str, str]) -> list[str]:
    """``<place>.<field>: <reason>`` for each field of the block that is declared."""
    declared = block.model_fields_set if block is not None else set()
    return [f"{place}.{name}: {reason}" for name, reason in reasons.items() if name in declared]

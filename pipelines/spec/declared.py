"""Every declaration is closed: an unknown field is an error, never a silent default."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=64)]


class DeclarationBlock(BaseModel):
    """The parent of every block of a declaration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

"""The parent class of every request and result: frozen, without unknown fields, versioned, sent as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """The parent of every request and result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[1] = Field(default=1, alias="schema", validation_alias="schema", serialization_alias="schema")

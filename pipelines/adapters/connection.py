"""The fields of an Airflow connection, as whoever may read it hands them to an adapter."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr


class ConnectionFields(BaseModel):
    """Where a service is and how one logs in; the password is in no text of it."""

    model_config = ConfigDict(frozen=True)

    connection: str
    """Its id."""
    kind: str = ""
    """``postgres``, ``sqlite``, …"""
    host: str = ""
    port: int | None = None
    schema_: str = ""
    login: str = ""
    password: SecretStr = SecretStr("")
    extra: dict[str, Any] = {}

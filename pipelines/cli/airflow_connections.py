"""Reads an Airflow connection by Airflow's own program, which needs no scheduler."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from pydantic import SecretStr

from pipelines.adapters.connection import ConnectionFields
from pipelines.cli.components import program_path
from pipelines.errors import Refused, Unavailable

REREAD_SECONDS = 300.0
"""A started program costs seconds: what it said counts for this long."""
_known: dict[str, tuple[float, ConnectionFields]] = {}


def read_connection(connection: str) -> ConnectionFields:
    """``Refused`` if there is none of this id, ``Unavailable`` if Airflow's database does not answer."""
    at, address = _known.get(connection, (0.0, None))
    if address is None or time.monotonic() - at > REREAD_SECONDS:
        address = _ask(connection)
        _known[connection] = (time.monotonic(), address)
    return address


def _ask(connection: str) -> ConnectionFields:
    command = [program_path("airflow"), "connections", "get", connection, "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"connection {connection!r} cannot be read: {type(error).__name__}") from None
    if done.returncode:
        raise Refused(
            f"Airflow has no connection {connection!r}",
            [f"create it: airflow connections add {connection} …, or correct its name where it is declared"],
        )
    [row] = json.loads(done.stdout[done.stdout.index("[") :])
    return address_of(connection, row)


def address_of(connection: str, row: dict[str, Any]) -> ConnectionFields:
    """The connection by the fields that the program prints."""
    extra = row.get("extra_dejson") or {}
    return ConnectionFields(
        connection=connection,
        kind=row.get("conn_type") or "",
        host=row.get("host") or "",
        port=int(row["port"]) if row.get("port") else None,
        schema_=row.get("schema") or "",
        login=row.get("login") or "",
        password=SecretStr(row.get("password") or ""),
        extra=extra if isinstance(extra, dict) else json.loads(str(extra).replace("'", '"')),
    )

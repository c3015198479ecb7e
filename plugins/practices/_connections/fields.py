"""Reads the fields of an Airflow connection, of a channel or of a database; its secret is masked in logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import Refused

if TYPE_CHECKING:
    from pipelines.adapters.connection import ConnectionFields


def read_connection(connection: str) -> ConnectionFields:
    """``Refused`` if Airflow has none of this id."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException
    from airflow.sdk.log import mask_secret
    from pydantic import SecretStr

    from pipelines.adapters.connection import ConnectionFields

    try:
        known = BaseHook.get_connection(connection)
    except AirflowNotFoundException as error:
        raise Refused(
            f"Airflow has no connection {connection!r}",
            [f"create it: airflow connections add {connection} …, or correct its name where it is declared"],
        ) from error
    if known.password:
        mask_secret(known.password)
    return ConnectionFields(
        connection=connection,
        kind=known.conn_type or "",
        host=known.host or "",
        port=known.port,
        schema_=known.schema or "",
        login=known.login or "",
        password=SecretStr(known.password or ""),
        extra=known.extra_dejson,
    )

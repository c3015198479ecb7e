"""Reads the address of a channel from an Airflow connection; its secret is masked in logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import Refused

if TYPE_CHECKING:
    from pipelines.adapters.notifier.apprise_channel import ChannelAddress


def read_connection(connection: str) -> ChannelAddress:
    """``Refused`` if Airflow has none of this id."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException
    from airflow.sdk.log import mask_secret
    from pydantic import SecretStr

    from pipelines.adapters.notifier.apprise_channel import ChannelAddress

    try:
        known = BaseHook.get_connection(connection)
    except AirflowNotFoundException as error:
        raise Refused(
            f"Airflow has no connection {connection!r}",
            [f"create it: airflow connections add {connection} …, or name another channel in alerts.yaml"],
        ) from error
    if known.password:
        mask_secret(known.password)
    return ChannelAddress(
        connection=connection,
        host=known.host or "",
        port=known.port,
        schema_=known.schema or "",
        login=known.login or "",
        password=SecretStr(known.password or ""),
        extra=known.extra_dejson,
    )

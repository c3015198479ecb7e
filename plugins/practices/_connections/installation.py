"""Opens the installation's ports, its declarations and an SQS client for operators, each at its first use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pipelines.errors import Refused
from pipelines.ports import Ports
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog


def open_ports() -> Ports:
    """Ports of the installation that the environment configures; cached for the process."""
    return _open(Settings.from_environment())


@lru_cache(maxsize=1)
def _open(settings: Settings) -> Ports:
    from pipelines import wiring
    from practices._connections import fields, kubernetes
    from practices._connections.amazon import StoreConnection
    from practices._connections.sagemaker import CachedAwsClients

    store = StoreConnection(settings.store_connection, settings.store) if settings.store_connection else None
    return wiring.open_ports(
        settings,
        store,
        sagemaker=CachedAwsClients(),
        kubernetes=kubernetes.open_client,
        connections=fields.read_connection,
    )


def open_fresh_ports() -> Ports:
    """Uncached ports with newly read declarations, for the triggerer, which runs for months."""
    return _open.__wrapped__(Settings.from_environment())


def secrets_of_tasks() -> list[str]:
    """Airflow's Fernet keys, the newest first: every worker has them and no pod of a step."""
    from airflow.sdk.configuration import conf

    keys = [key.strip() for key in conf.get("core", "fernet_key", fallback="").split(",") if key.strip()]
    if not keys:
        hint = "give every worker AIRFLOW__CORE__FERNET_KEY: by it a run in a pod is told from what others write"
        raise Refused("core.fernet_key of Airflow is empty", [hint])
    return keys


def open_sqs_client(connection: str | None) -> Any:
    """A client of Amazon SQS by an Airflow connection; None: by the environment."""
    from practices._connections.amazon import open_client

    return open_client(connection, "sqs")


def load_catalog() -> Catalog:
    """All valid declarations; the faulty ones are in ``refused``. Fast enough for DAG parsing."""
    return Catalog.read(Settings.from_environment().include)

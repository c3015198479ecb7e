"""The one place where a practice gets hold of the outside; nothing is imported or opened before it is asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pipelines.ports import Ports
from pipelines.settings import Settings
from pipelines.spec import Catalog


def open_ports() -> Ports:
    """Ports of the installation that the environment describes; one and the same for a whole task."""
    return _open(Settings.from_environment())


@lru_cache(maxsize=1)
def _open(settings: Settings) -> Ports:
    from pipelines import wiring

    if settings.store_connection is None:
        return wiring.open_ports(settings)
    from practices._amazon import StoreConnection

    return wiring.open_ports(settings, StoreConnection(settings.store_connection, settings.store))


def open_queue(connection: str | None) -> Any:
    """A client of Amazon SQS by an Airflow connection; None: by what the environment says."""
    from practices._amazon import open_client

    return open_client(connection, "sqs")


def load_catalog() -> Catalog:
    """Every good declaration; the faulty ones are in ``refused``. Cheap enough to be called while parsing."""
    return Catalog.read(Settings.from_environment().include)

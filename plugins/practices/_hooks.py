"""The one place where a practice gets hold of the outside; nothing is imported or opened before it is asked for."""

from __future__ import annotations

from functools import lru_cache

from pipelines.ports import Ports
from pipelines.settings import Settings
from pipelines.spec import Catalog


def open_ports() -> Ports:
    """Ports of the installation that the environment describes; one and the same for a whole task."""
    return _open(Settings.from_environment())


@lru_cache(maxsize=1)
def _open(settings: Settings) -> Ports:
    from pipelines import wiring

    return wiring.open_ports(settings)


def load_catalog() -> Catalog:
    """Every good declaration; the faulty ones are in ``refused``. Cheap enough to be called while parsing."""
    return Catalog.read(Settings.from_environment().include)

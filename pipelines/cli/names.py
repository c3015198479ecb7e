"""Refuses a name that nothing has, one that is no person's, and a span of days that holds none."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import date

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable, unknown_name
from pipelines.ports import Ports
from pipelines.settings import Settings
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.source import SourceSpec


def check_model(name: str, ports: Ports, *, beside: Iterable[str] = ()) -> None:
    """A model is known if it is declared, also with faults, or if the ledger has a line about a version of it.

    ``beside``: the names of datasets that might have been meant as well.
    """
    declared = ports.catalog.declared("models")
    if name in declared:
        return
    known = {*declared, *(entry.model for entry in ports.ledger.entries() if entry.version)}
    if name not in known:
        kind = "no model or dataset" if beside else "no model"
        raise unknown_name(f"there is {kind} {name}", sorted({*known, *beside}))


def check_version(model: str, version: str, ports: Ports, *, ask_registry: bool = True) -> None:
    """A version is known if the ledger has a line about it, or the registry has it."""
    check_model(model, ports)
    known = {entry.version for entry in ports.ledger.entries(model=model) if entry.version}
    if version in known:
        return
    if ask_registry:
        with suppress(Unavailable):  # the ledger alone says which there are
            known |= {info.version for info in ports.registry.versions(model)}
    if version not in known:
        numbers = sorted(known, key=lambda text: (int(text) if text.isdigit() else 0, text))
        raise unknown_name(f"{model} has no version {version}", numbers)


def dataset_of(name: str, ports: Ports) -> DatasetSpec:
    """``Refused`` for an unknown one, and with all faults for one whose declaration has some."""
    return ports.catalog.dataset(name)


def source_of(dataset: DatasetSpec, name: str) -> SourceSpec:
    if name not in dataset.sources:
        raise unknown_name(f"{dataset.dataset} has no source {name}", dataset.sources)
    return dataset.sources[name]


def check_table(name: str, ports: Ports) -> None:
    """A table is known if the store has a version of it."""
    if ports.store.version(name) is None:
        existing = [table for table in _declared_tables(ports) if ports.store.version(table) is not None]
        raise unknown_name(f"there is no table {name}", existing)


def person_named(name: str | None, settings: Settings, act: str) -> str:
    """The name that an act of a person bears, which is not the program's own; ``act`` is ``a repair bears``."""
    program = Settings.model_fields["actor"].default
    person = (name or settings.actor).strip()
    if not person or person == program:
        raise Refused(f"{act} the name of a person; give yours: --by NAME, or AIRWORTHY_ACTOR")
    return person


def check_order(first: date | None, last: date | None) -> None:
    """``Refused`` for a span of days or times that ends before it begins."""
    if first is not None and last is not None and first > last:
        raise Refused(f"nothing lies between {first} and {last}: the first is later than the last")


def _declared_tables(ports: Ports) -> list[str]:
    sources = [(dataset, name) for dataset, spec in ports.catalog.datasets.items() for name in spec.sources]
    layers = (store_paths.raw, store_paths.validated, store_paths.quarantine)
    tables = [table(*source) for table in layers for source in sources]
    return [
        *tables,
        *map(store_paths.features, ports.catalog.views),
        *map(store_paths.performance, ports.catalog.models),
    ]

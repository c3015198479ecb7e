"""`airworthy land` delivers days as the source systems would: the data file first, its manifest last."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines import store_paths
from pipelines.cli import arguments
from pipelines.demo import nycflights
from pipelines.demo.planted import UnitChange
from pipelines.demo.source_systems import DATASETS, check_dataset, delivered_file, source_text
from pipelines.errors import Refused, unknown_name
from pipelines.messages.delivery import DeliveryManifest
from pipelines.ports import Ports, Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.steps.ingestion.written_delivery import write_delivery
from pipelines.store_paths import MANIFEST

if TYPE_CHECKING:
    import polars as pl


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("land", help="deliver days of real data into the landing folder")
    command.add_argument("--from", dest="first", required=True, type=arguments.day, help="first day")
    command.add_argument("--to", dest="last", required=True, type=arguments.day, help="last day, included")
    command.add_argument("--dataset", default=nycflights.DATASET, help=" or ".join(DATASETS))
    command.add_argument("--source", action="append", help="only this source; may be repeated")
    command.add_argument("--force", action="store_true", help="deliver again what was delivered before")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Land the days and print what was landed."""
    landed = land(options.first, options.last, ports, options.dataset, options.source, force=options.force)
    rows = sum(manifest.rows for manifest in landed)
    print(f"landed {len(landed)} deliveries with {rows:,} rows below {ports.store.uri('landing')}")
    return 0


def land(
    first: date,
    last: date,
    ports: Ports,
    dataset: str = nycflights.DATASET,
    sources: Sequence[str] | None = None,
    *,
    force: bool = False,
    fault: UnitChange | None = None,
) -> list[DeliveryManifest]:
    """Deliver every day from ``first`` to ``last``; returns the manifests written, one per source and day.

    A daily source delivers one folder a day. A reference source delivers its full copy on ``first``, unless an earlier
    or equal day has one. A delivered day is not delivered again unless ``force``. ``fault`` changes what daily sources
    deliver. Raises ``Refused`` for days
    outside the dataset's calendar and for unknown sources, all at once, before anything is written.
    """
    spec = ports.catalog.dataset(dataset)
    check_dataset(dataset)
    names = _selected_sources(spec, first, last, sources)
    landed: list[DeliveryManifest] = []
    for name in names:
        landed += (
            _land_reference(name, spec, first, ports.store, force=force)
            if spec.sources[name].cadence == "reference"
            else _land_daily(name, spec, first, last, ports.store, force=force, fault=fault)
        )
    return landed


def _selected_sources(spec: DatasetSpec, first: date, last: date, sources: Sequence[str] | None) -> list[str]:
    partition = spec.partition
    faults = [
        str(unknown_name(f"{spec.dataset} has no source {name}", spec.sources))
        for name in sources or []
        if name not in spec.sources
    ]
    if first > last:
        faults.append(f"the first day {first} is later than the last day {last}")
    if first < partition.first_date or (partition.end is not None and last > partition.end):
        faults.append(f"{first} to {last} lies outside of {partition.first_date} to {partition.end}")
    if faults:
        raise Refused(f"nothing of {spec.dataset} was landed", faults)
    return list(sources or spec.sources)


def _land_reference(name: str, spec: DatasetSpec, day: date, store: Store, *, force: bool) -> list[DeliveryManifest]:
    manifests = [path for path in store.list(store_paths.landing_of(spec.dataset, name)) if path.endswith(MANIFEST)]
    if not force and any((store_paths.delivered_partition(path) or "") <= f"{day}" for path in manifests):
        return []
    return [_deliver(spec, name, day, source_text(spec, name), store)]


def _land_daily(
    name: str, spec: DatasetSpec, first: date, last: date, store: Store, *, force: bool, fault: UnitChange | None
) -> list[DeliveryManifest]:
    from pipelines.demo.event_days import event_days

    dataset, source = spec.dataset, spec.sources[name]
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    missing = [day for day in days if force or not store.exists(store_paths.landing(dataset, name, day, MANIFEST))]
    if not missing:
        return []
    text = source_text(spec, name)
    day_of_row = event_days(source, text, spec.partition.timezone)
    rows = {day: text.filter(day_of_row == day) for day in missing}
    delivered = {day: fault.apply(name, part) if fault else part for day, part in rows.items()}
    return [_deliver(spec, name, day, part, store) for day, part in delivered.items()]


def _deliver(spec: DatasetSpec, name: str, day: date, rows: pl.DataFrame, store: Store) -> DeliveryManifest:
    file, content = delivered_file(spec.sources[name], day, rows)
    return write_delivery(spec, name, f"{day}", {file: (content, rows.height)}, store)

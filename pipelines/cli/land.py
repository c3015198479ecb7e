"""`airworthy land` writes real flights into the landing folder as the source systems would, one day at a time.

A delivery is a folder ``landing/<source>/<day>/`` with the file and, written last, the manifest that makes it count.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines import layout
from pipelines.errors import Refused
from pipelines.messages import LandedFile, Manifest
from pipelines.ports import Ports, Store
from pipelines.spec import DatasetSpec

if TYPE_CHECKING:
    import polars as pl

    from pipelines.adapters.nycflights import NycFlights

DATASET = "flights"
MANIFEST = "_manifest.json"


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("land", help="deliver real flights into the landing folder, day by day")
    command.add_argument("--from", dest="first", type=date.fromisoformat, required=True, help="first day, YYYY-MM-DD")
    command.add_argument("--to", dest="last", type=date.fromisoformat, required=True, help="last day, included")
    command.add_argument("--source", action="append", dest="sources", help="only this source; may be repeated")
    command.add_argument("--force", action="store_true", help="deliver again what has been delivered")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    landed = land(options.first, options.last, ports, sources=options.sources, force=options.force)
    print(f"delivered {len(landed)} files to {ports.store.uri('landing')}" if landed else "all was delivered before")
    return 0


def land(
    first: date, last: date, ports: Ports, *, sources: Sequence[str] | None = None, force: bool = False
) -> list[str]:
    """Deliver the days ``first`` to ``last`` (both included) of the given sources (None: all that are declared).

    A daily source gets a file per day, with the header alone on a silent day. A reference source gets one copy on the
    first day, unless one has landed on that day or before. What was delivered before is left alone, or with ``force``
    delivered again. Returns the paths of the files written. Raises ``Refused`` for days or sources there are none of,
    before anything is written; ``Unavailable`` when the store does not answer.
    """
    from pipelines.adapters.nycflights import NycFlights

    dataset = ports.catalog.dataset(DATASET)
    wanted = list(sources) if sources else list(dataset.sources)
    _refuse_unknown(first, last, wanted, dataset)
    delivered = {path for path in ports.store.list("landing/") if path.endswith(f"/{MANIFEST}")}
    origin = NycFlights(ports.settings.home / "cache")
    written = []
    for source in wanted:
        if source in dataset.daily():
            days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
            missing = [day for day in days if force or layout.landing(source, day, MANIFEST) not in delivered]
        else:
            missing = [first] if force or not _landed_by(first, source, delivered) else []
        for day, rows in _parts(origin, source, missing, daily=source in dataset.daily()):
            written.append(_deliver(ports.store, source, day, dataset.sources[source].file, rows))
    return written


def _refuse_unknown(first: date, last: date, sources: Sequence[str], dataset: DatasetSpec) -> None:
    calendar = dataset.calendar
    faults = [
        f"{name!r} is no source; there are {', '.join(dataset.sources)}"
        for name in sources
        if name not in dataset.sources
    ]
    if last < first:
        faults.append(f"the last day {last} lies before the first, {first}")
    faults += [
        f"{day} is no day of {dataset.dataset}, which has {calendar.start} to {calendar.end or 'today'}"
        for day in dict.fromkeys((first, last))
        if day < calendar.start or (calendar.end is not None and day > calendar.end)
    ]
    if faults:
        raise Refused("nothing was delivered", faults)


def _landed_by(day: date, source: str, delivered: set[str]) -> bool:
    """Whether a copy of a reference source has landed on the day or before: paths sort by day."""
    folder = layout.landing(source, day, MANIFEST)
    root = folder.removesuffix(f"{day:%Y-%m-%d}/{MANIFEST}")
    return any(path.startswith(root) and path <= folder for path in delivered)


def _parts(origin: NycFlights, source: str, days: Sequence[date], *, daily: bool) -> list[tuple[date, pl.DataFrame]]:
    if not days:
        return []
    if not daily:
        return [(day, origin.rows(source)) for day in days]
    parts = origin.by_day(source)
    return [(day, parts.get(day, origin.rows(source).clear())) for day in days]


def _deliver(store: Store, source: str, day: date, name: str, rows: pl.DataFrame) -> str:
    """A new delivery first takes back the old manifest: no moment shows it beside a file it does not describe."""
    content = rows.write_csv().encode()
    path, manifest_path = layout.landing(source, day, name), layout.landing(source, day, MANIFEST)
    store.delete(manifest_path)
    store.put(path, content)
    landed = LandedFile(name=name, rows=rows.height, sha256=hashlib.sha256(content).hexdigest())
    manifest = Manifest(source=source, day=day, files=[landed])
    store.put(manifest_path, manifest.model_dump_json(by_alias=True).encode())
    return path

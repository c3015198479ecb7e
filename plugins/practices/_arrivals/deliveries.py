"""Lists the delivered and the overdue days of a dataset from the store and the calendar."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.delivery import DeliveryManifest, LandedFile, RawReceipt
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import fault_texts
from pipelines.spec.partitioning import Partitioning
from pipelines.spec.partitions import first_instant
from pipelines.store_paths import MANIFEST


def landed_days(store: Store, source: str) -> set[date]:
    """Days that the source has delivered completely: those with a manifest, which is written last."""
    return set(_paths_by_day(store.list(store_paths.landing_of(source))))


def held_days(store: Store, source: str) -> set[date]:
    """Days of the source that were ingested: their landed files may have been removed since."""
    received = map(store_paths.received_day, store.list(store_paths.raw_receipts_of(source)))
    return {day for day in received if day is not None}


def has_landed(store: Store, spec: DatasetSpec, day: date) -> bool:
    """Whether every daily source has delivered the day, and every reference source that day or one before.

    What was ingested counts, too, when its landed files are gone. While a daily source is missing this costs two
    requests per source up to the first missing one.
    """
    return all(_day_is_there(store, source, day) for source in spec.daily()) and all(
        min(landed_days(store, source) | held_days(store, source), default=date.max) <= day
        for source in spec.reference()
    )


def _day_is_there(store: Store, source: str, day: date) -> bool:
    return store.exists(store_paths.landing(source, day, MANIFEST)) or store.exists(
        store_paths.raw_receipt(source, day)
    )


def delivered_manifests(store: Store, spec: DatasetSpec, day: date) -> dict[str, DeliveryManifest]:
    """Manifests of the daily sources that have delivered the day, and each reference source's newest one until then.

    A day whose landed files are gone has the manifest that its receipt tells of.
    """
    days = {source: day for source in spec.daily() if _day_is_there(store, source, day)}
    for source in spec.reference():
        delivered = landed_days(store, source) | held_days(store, source)
        if earlier := [landed for landed in delivered if landed <= day]:
            days[source] = max(earlier)
    return {source: _manifest(store, source, on) for source, on in days.items()}


def _manifest(store: Store, source: str, day: date) -> DeliveryManifest:
    path = store_paths.landing(source, day, MANIFEST)
    if not store.exists(path):
        receipt = RawReceipt.model_validate_json(store.get(store_paths.raw_receipt(source, day)))
        files = [LandedFile(name=name, rows=receipt.rows, sha256=digest) for name, digest in receipt.sha256.items()]
        return DeliveryManifest(source=source, day=day, files=files)
    try:
        return DeliveryManifest.read(store.get(path))
    except ValidationError as error:
        subject = f"{path} is not a manifest; let the source deliver {source} of {day} again"
        raise Refused(subject, fault_texts(error)) from error


def delivery_digest(store: Store, spec: DatasetSpec, day: date, *, with_files: bool = False) -> str:
    """sha256 over the manifests of a day's daily sources; changes with every new delivery.

    ``with_files`` covers the delivered files, too: it also changes when a file is replaced under the same manifest.
    """
    digest = hashlib.sha256()
    for source in sorted(spec.daily()):
        paths = [store_paths.landing(source, day, MANIFEST)]
        for path in store.list(store_paths.landing(source, day)) if with_files else filter(store.exists, paths):
            digest.update(path.encode() + b"\0" + hashlib.sha256(store.get(path)).digest())
    return digest.hexdigest()


def wait_end(partition: Partitioning, day: date) -> datetime:
    """When the scheduled run of a day stops waiting: ``due`` and ``wait`` after the day is over."""
    zone = ZoneInfo(partition.timezone)
    over = first_instant(day + timedelta(days=1), zone)
    return (over + partition.due + partition.wait).astimezone(zone)


def newest_overdue_day(partition: Partitioning, now: datetime) -> date:
    """The newest day whose scheduled run has stopped waiting."""
    day = now.astimezone(ZoneInfo(partition.timezone)).date()
    while wait_end(partition, day) >= now:
        day -= timedelta(days=1)
    return day


def late_days(store: Store, spec: DatasetSpec, now: datetime) -> dict[date, str]:
    """Days of the calendar that have landed completely and whose scheduled run has stopped waiting.

    Each with a stamp that changes when a daily source rewrites a file of the day. Costs one listing per source.
    """
    stamps = {source: store.etags(store_paths.landing_of(source)) for source in spec.sources}
    daily = {source: _paths_by_day(stamps[source]) for source in spec.daily()}
    copies = {source: set(_paths_by_day(stamps[source])) | held_days(store, source) for source in spec.reference()}
    first = max((min(days, default=date.max) for days in copies.values()), default=date.min)
    newest = min(newest_overdue_day(spec.partition, now), spec.partition.end or date.max)
    oldest = max(spec.partition.first_date, first)
    days = set.intersection(*map(set, daily.values())) if daily else set()
    return {
        day: "\n".join(f"{path} {stamps[source][path]}" for source, paths in daily.items() for path in paths[day])
        for day in sorted(days)
        if oldest <= day <= newest
    }


def _paths_by_day(paths: Iterable[str]) -> dict[date, list[str]]:
    """Paths below ``landing/<source>/<day>/`` by day; only days whose manifest is there."""
    paths_by_day: dict[date, list[str]] = {}
    complete = set()
    for path in paths:
        if day := store_paths.delivered_day(path):
            paths_by_day.setdefault(day, []).append(path)
            if path.count("/") == 3 and path.endswith(f"/{MANIFEST}"):
                complete.add(day)
    return {day: paths_by_day[day] for day in complete}

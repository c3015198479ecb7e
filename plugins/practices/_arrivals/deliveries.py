"""Lists the delivered and the overdue days of a dataset from the store and the calendar."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.delivery import DeliveryManifest
from pipelines.ports import Store
from pipelines.spec.dataset import Calendar, DatasetSpec
from pipelines.store_paths import MANIFEST


def landed_days(store: Store, source: str) -> set[date]:
    """Days that the source has delivered completely: those with a manifest, which is written last."""
    return set(_paths_by_day(store.list(store_paths.landing_of(source))))


def has_landed(store: Store, spec: DatasetSpec, day: date) -> bool:
    """Whether every daily source has delivered the day, and every reference source that day or one before.

    While a daily source is missing this costs one request per source up to the first missing one.
    """
    return all(store.exists(store_paths.landing(source, day, MANIFEST)) for source in spec.daily()) and all(
        min(landed_days(store, source), default=date.max) <= day for source in spec.reference()
    )


def delivered_manifests(store: Store, spec: DatasetSpec, day: date) -> dict[str, DeliveryManifest]:
    """Manifests of the daily sources that have delivered the day, and each reference source's newest one until then."""
    days = {source: day for source in spec.daily() if store.exists(store_paths.landing(source, day, MANIFEST))}
    for source in spec.reference():
        if earlier := [landed for landed in landed_days(store, source) if landed <= day]:
            days[source] = max(earlier)
    return {source: _manifest(store, source, on) for source, on in days.items()}


def _manifest(store: Store, source: str, day: date) -> DeliveryManifest:
    path = store_paths.landing(source, day, MANIFEST)
    try:
        return DeliveryManifest.model_validate_json(store.get(path))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'whole file'}: {fault['msg']}" for fault in error.errors()]
        raise Refused(f"{path} is not a manifest; let the source deliver {source} of {day} again", faults) from error


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


def wait_end(calendar: Calendar, day: date) -> datetime:
    """When the scheduled run of a day stops waiting: the first tick after the day plus ``calendar.wait_minutes``."""
    from croniter import croniter  # type: ignore[import-untyped]

    zone, next_day = ZoneInfo(calendar.timezone), day + timedelta(days=1)
    midnight = datetime(next_day.year, next_day.month, next_day.day, tzinfo=zone)
    due: datetime = croniter(calendar.schedule, midnight - timedelta(seconds=1)).get_next(datetime)
    return due + timedelta(minutes=calendar.wait_minutes)


def newest_overdue_day(calendar: Calendar, now: datetime) -> date:
    """The newest day whose scheduled run has stopped waiting."""
    day = now.astimezone(ZoneInfo(calendar.timezone)).date()
    while wait_end(calendar, day) >= now:
        day -= timedelta(days=1)
    return day


def late_days(store: Store, spec: DatasetSpec, now: datetime) -> dict[date, str]:
    """Days of the calendar that have landed completely and whose scheduled run has stopped waiting.

    Each with a stamp that changes when a daily source rewrites a file of the day. Costs one listing per source.
    """
    stamps = {source: store.etags(store_paths.landing_of(source)) for source in spec.sources}
    daily = {source: _paths_by_day(stamps[source]) for source in spec.daily()}
    first = max((min(_paths_by_day(stamps[source]), default=date.max) for source in spec.reference()), default=date.min)
    newest = min(newest_overdue_day(spec.calendar, now), spec.calendar.end or date.max)
    oldest = max(spec.calendar.start, first)
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
        _, _, text, *names = path.split("/")
        if names and (day := _parse_day(text)):
            paths_by_day.setdefault(day, []).append(path)
            if names == [MANIFEST]:
                complete.add(day)
    return {day: paths_by_day[day] for day in complete}


def _parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None

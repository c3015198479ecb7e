"""Finds the days of rows whose windows reach a partition that is not held: what they say of that time is not known."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import date

from pipelines import store_paths
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.features.source_days import first_day_read, sources_of
from pipelines.steps.labels.read_labels import held_days

MAX_NAMED = 3


def incomplete_days(store: Store, view: FeatureView, dataset: DatasetSpec, days: Iterable[date]) -> dict[date, str]:
    """Those of the ``days`` of rows that read a time of which a partition is not held, each with what is not.

    Of each source whose events are read these are the partitions of the calendar between the first that is held and the
    last that the day reads. What lies before the first is the matter of ``warm_up``; a copy that is looked up is not
    delivered for every partition.
    """
    ordered = sorted(days)
    if view.is_table or not ordered:
        return {}
    lacking: dict[date, list[str]] = {}
    for source in sources_of(view):
        if dataset.sources[source].cadence == "reference":
            continue
        table = store_paths.validated(view.dataset, source)
        absent = _absent(store, table, dataset, until=_last_day_read(view, ordered[-1]))
        for day in ordered if absent else ():
            first = first_day_read(view, source, day, dataset.partition.timezone)
            if first is None:
                continue
            begin, end = bisect_left(absent, first), bisect_right(absent, _last_day_read(view, day))
            if begin < end:
                named = ", ".join(map(str, absent[begin : min(end, begin + MAX_NAMED)]))
                more = f" and {end - begin - MAX_NAMED} more" if end - begin > MAX_NAMED else ""
                lacking.setdefault(day, []).append(f"{table} does not hold {named}{more}")
    return {day: "; ".join(texts) for day, texts in sorted(lacking.items())}


def _last_day_read(view: FeatureView, day: date) -> date:
    return day if view.panel is None else view.panel.last_day(day)


def _absent(store: Store, table: str, dataset: DatasetSpec, until: date) -> list[date]:
    """The days of the calendar after the first that is held which are not, ascending."""
    held = held_days(store, table)
    if not held:
        return []
    keys = (partition.key for partition in dataset.partition_calendar.partitions(until))
    return [date.fromisoformat(key) for key in keys if key > min(held) and key not in held]

"""Which days of each source the features of a day read, derived from the declarations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.partitions import first_instant

NOTHING = timedelta()


def first_day_read(view: FeatureView, source: str, day: date, timezone: str) -> date | None:
    """Earliest day of ``source`` that the features of ``day`` may read as of ``t``; None if they only look it up.

    The earliest ``t`` of a day is its local midnight minus the lead. A window reaches its own length further, and
    what became known in it happened at most ``max_delay`` before. No later day than ``day`` is ever read: what is known
    by ``t`` happened before the event itself.
    """
    aggregates = [how for how in view.events_read().values() if how.of == source]
    if not aggregates and source != view.entity_source:
        return None
    if any(how.window is None for how in aggregates):
        return date.min
    reach = max(((how.window or NOTHING) + (how.max_delay or NOTHING) for how in aggregates), default=None)
    if reach is not None:
        reach = max(reach, _freshness(view, source))
    zone = ZoneInfo(timezone)
    if view.panel is not None:
        span = view.panel.active_within if source == view.entity_source else NOTHING
        return (view.panel.moment(day) - max(reach or NOTHING, span)).astimezone(zone).date()
    return (first_instant(day, zone) - (NOTHING if reach is None else view.lead + reach)).astimezone(zone).date()


def _freshness(view: FeatureView, source: str) -> timedelta:
    """How far back an event of the source is searched, so that its age is known where that is limited."""
    limits = (view.features[name].constraints for name, how in view.aggregates().items() if how.of == source)
    return max((limit.freshness for limit in limits if limit.freshness is not None), default=NOTHING)


def sources_of(view: FeatureView) -> list[str]:
    """Every source that the view reads, the rows' own first."""
    looked_up = [lookup.source for feature in view.features.values() for lookup in feature.lookups()]
    aggregated = [how.of for how in view.events_read().values()]
    return list(dict.fromkeys([view.entity_source, *looked_up, *aggregated]))


def is_looked_up(view: FeatureView, source: str) -> bool:
    """True if a feature takes the newest copy of ``source``."""
    return any(lookup.source == source for feature in view.features.values() for lookup in feature.lookups())


def days_read(view: FeatureView, source: str, day: date, present: Iterable[date], dataset: DatasetSpec) -> list[date]:
    """Those of the ``present`` days of ``source`` that the features of ``day`` read, ascending.

    ``source``'s days within reach; where it is looked up the copies that were newest at some ``t`` of the day.
    """
    last = day if view.panel is None else view.panel.last_day(day)
    known = sorted(other for other in present if other <= last)
    first = first_day_read(view, source, day, dataset.partition.timezone)
    within = [] if first is None else [other for other in known if other >= first]
    copies = _copies_read(view, source, day, known, dataset) if is_looked_up(view, source) else []
    return sorted({*within, *copies})


def _copies_read(
    view: FeatureView, source: str, day: date, copies: Sequence[date], dataset: DatasetSpec
) -> Iterator[date]:
    """Copies that were known by the last ``t`` of the day, from the newest known at its first ``t``."""
    zone = ZoneInfo(dataset.partition.timezone)
    if view.panel is None:
        first, last = (first_instant(day + timedelta(days=later), zone) - view.lead for later in (0, 1))
    else:
        first = last = view.panel.moment(day)
    lookups = [lookup for feature in view.features.values() for lookup in feature.lookups() if lookup.source == source]
    for known in dict.fromkeys(dataset.known_time(source, lookup.column) for lookup in lookups):
        later = timedelta(days=known.anchor == "partition_end")
        instants = [(first_instant(copy + later, zone) + known.offset, copy) for copy in copies]
        begin = max((instant for instant, _ in instants if instant <= first), default=None)
        yield from (copy for instant, copy in instants if instant <= last and (begin is None or instant >= begin))


def is_affected(
    view: FeatureView, source: str, day: date, changed: date, present: Iterable[date], dataset: DatasetSpec
) -> bool:
    """Whether a new content of ``source``'s day ``changed`` can alter the features of ``day``."""
    return changed in days_read(view, source, day, {*present, changed}, dataset)

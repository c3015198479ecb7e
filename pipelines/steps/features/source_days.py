"""Which days of each source the features of a day read, derived from the declarations."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from pipelines.spec.aggregate import Aggregate
from pipelines.spec.features import FeatureView, LastValue, LatestObservation, Lookup, WindowMean
from pipelines.spec.partitions import first_instant


def first_day_read(view: FeatureView, source: str, day: date, timezone: str) -> date | None:
    """Earliest day of ``source`` that the features of ``day`` may read as of ``t``; None if they only look it up.

    The earliest ``t`` of a day is its local midnight minus the lead. A window reaches its own length further, and
    what became known in it was scheduled at most ``max_delay_hours`` before. No later day than ``day`` is ever
    read: what is known by ``t`` was scheduled before the event itself.
    """
    hours = 0.0 if source == view.entity_source else None
    for feature in view.features.values():
        spec = feature.transformation
        if isinstance(spec, WindowMean | LastValue) and source == view.entity_source:
            hours = max(hours or 0.0, view.lead_hours + spec.window_hours + view.max_delay_hours)
        if isinstance(spec, Aggregate) and (spec.of or view.entity_source) == source:
            late = view.max_delay_hours if spec.clock == "known" else 0.0
            hours = max(hours or 0.0, view.lead_hours + spec.window.total_seconds() / 3600 + late)
        if isinstance(spec, LatestObservation) and spec.source == source:
            hours = max(hours or 0.0, view.lead_hours + spec.max_age_hours)
    if hours is None:
        return None
    zone = ZoneInfo(timezone)
    return (first_instant(day, zone) - timedelta(hours=hours)).astimezone(zone).date()


def sources_of(view: FeatureView) -> list[str]:
    """Every source that the view reads, the entity's own first."""
    named = [
        feature.transformation.source
        for feature in view.features.values()
        if isinstance(feature.transformation, Lookup | LatestObservation)
    ]
    aggregated = [
        how.of for feature in view.features.values() if isinstance(how := feature.transformation, Aggregate) and how.of
    ]
    return list(dict.fromkeys([view.entity_source, *named, *aggregated]))


def is_looked_up(view: FeatureView, source: str) -> bool:
    """True if a feature takes the newest copy of ``source``."""
    return any(
        isinstance(feature.transformation, Lookup) and feature.transformation.source == source
        for feature in view.features.values()
    )


def days_read(view: FeatureView, source: str, day: date, present: Iterable[date], timezone: str) -> list[date]:
    """Those of the ``present`` days of ``source`` that the features of ``day`` read, ascending.

    ``source``'s days within reach, and the newest copy on or before the day where it is looked up.
    """
    known = sorted(other for other in present if other <= day)
    first = first_day_read(view, source, day, timezone)
    within = [] if first is None else [other for other in known if other >= first]
    copy = known[-1:] if is_looked_up(view, source) else []
    return sorted({*within, *copy})


def is_affected(view: FeatureView, source: str, day: date, changed: date, present: Iterable[date], zone: str) -> bool:
    """Whether a new content of ``source``'s day ``changed`` can alter the features of ``day``."""
    return changed in days_read(view, source, day, {*present, changed}, zone)

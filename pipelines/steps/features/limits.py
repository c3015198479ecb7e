"""Measures what a view's constraints limit beside ranges: values that are not allowed, and the age of what is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import TICK, Feature, FeatureView, Lookup
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN
from pipelines.steps.panel.events import source_events
from pipelines.tables.known_instants import known_instants

NOTHING = timedelta()


@dataclass(frozen=True)
class SourceAge:
    """Rows whose newest event or copy is too old or missing, and the greatest age (None: one is missing)."""

    stale_rows: int
    oldest: timedelta | None


def other_values(values: pl.Series, feature: Feature) -> dict[str, int] | None:
    """Values that are not allowed to their rows, ordered by these; None where any is allowed."""
    allowed = feature.allowed_values()
    if allowed is None:
        return None
    others = values.drop_nulls().filter(~values.drop_nulls().is_in(allowed)).alias("value")
    counts = others.value_counts(name="rows").sort(["rows", "value"], descending=[True, False])
    texts = (f"{value:g}" if isinstance(value, float) else f"{value}" for value in counts["value"])
    return dict(zip(texts, counts["rows"].to_list(), strict=True))


def source_ages(
    view: FeatureView, moments: pl.Series, frames: Mapping[str, pl.DataFrame], dataset: DatasetSpec
) -> dict[str, SourceAge]:
    """Of each feature with a ``freshness``, measured at the moments ``t`` of all rows.

    The age of events is that of the newest that was known, whatever its group and ``where``; of the rows' own source it
    is one before ``t``, as the row itself is no news. A copy's is the time since it was known.
    """
    aggregates = view.aggregates()
    ages = {}
    for name, feature in view.features.items():
        limit = feature.constraints.freshness
        if limit is None:
            continue
        if name in aggregates:
            how = aggregates[name]
            events = [source_events(frames[how.of], how.of, how.columns_read(), dataset).select(EVENT, KNOWN)]
            inclusive = how.of != view.entity_source or view.panel is not None
        else:
            events = [_copies(lookup, frames, dataset) for lookup in feature.lookups()]
            inclusive = True
        ages[name] = _age(moments, events, limit, inclusive=inclusive)
    return ages


def _copies(lookup: Lookup, frames: Mapping[str, pl.DataFrame], dataset: DatasetSpec) -> pl.DataFrame:
    """When each copy of a source was known, as the time of an event."""
    days = frames[lookup.source].select("day").unique()
    known = [dataset.known_time(lookup.source, lookup.column)]
    instants = known_instants(days, known, days["day"], dataset.partition.timezone)
    return pl.DataFrame({EVENT: instants, KNOWN: instants})


def _age(moments: pl.Series, sources: Iterable[pl.DataFrame], limit: timedelta, *, inclusive: bool) -> SourceAge:
    questions = (
        pl.DataFrame({"t": moments}).sort("t").with_columns(until=pl.col("t") - (NOTHING if inclusive else TICK))
    )
    ages = []
    for number, events in enumerate(sources):
        opens = events.drop_nulls().select(EVENT, opens=pl.max_horizontal(EVENT, KNOWN)).sort("opens")
        newest = opens.with_columns(pl.col(EVENT).cum_max())
        known = questions.join_asof(newest, left_on="until", right_on="opens", check_sortedness=False)
        ages.append(known.select((pl.col("t") - pl.col(EVENT)).alias(f"{number}")).to_series())
    is_known = pl.all_horizontal(pl.all().is_not_null())
    worst = pl.DataFrame(ages).select(age=pl.when(is_known).then(pl.max_horizontal(pl.all())))["age"]
    stale = worst.filter(worst.is_null() | (worst > limit))
    oldest = None if stale.null_count() else stale.max()
    return SourceAge(stale.len(), oldest if isinstance(oldest, timedelta) else None)

"""Looks values up in the newest copy of a reference source that was known at each row's moment."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView, Lookup
from pipelines.tables.known_instants import known_instants


class LookedUp:
    """The looked-up values of one view's rows; each copy is joined once for all that is looked up by the same key."""

    def __init__(
        self, view: FeatureView, rows: pl.DataFrame, frames: Mapping[str, pl.DataFrame], dataset: DatasetSpec
    ) -> None:
        """``rows`` have a ``prediction_time``; ``frames`` hold the copies, each row with the ``day`` of its copy."""
        self._rows, self._frames, self._dataset = rows, frames, dataset
        self._values: dict[str, pl.Series] = {}
        lookups = [lookup for feature in view.features.values() for lookup in feature.lookups()]
        for lookup in reversed(lookups):  # parents stand after what rests on them
            if _name(lookup) not in self._values:
                self._values |= self._join([other for other in lookups if _is_joined_with(other, lookup)])

    def of(self, lookup: Lookup) -> pl.Series:
        """One value per row, in their order; null where no copy was known, or it has no row with this key."""
        return self._values[_name(lookup)]

    def _join(self, alike: list[Lookup]) -> dict[str, pl.Series]:
        source, copies = alike[0].source, self._frames[alike[0].source]
        keys = self._dataset.sources[source].stored_key
        known = self._dataset.known_time(source, alike[0].column)
        days = copies.select("day").unique().sort("day")
        instants = known_instants(days, [known], days["day"], self._dataset.partition.timezone)
        landed = days.with_columns(instants.alias("__known")).rename({"day": "__copy"})
        values = {_name(lookup): pl.col(lookup.column) for lookup in alike}
        right = copies.select(
            *(pl.col(key).alias(f"__key_{number}") for number, key in enumerate(keys)),
            pl.col("day").alias("__copy"),
            *(value.alias(name) for name, value in values.items()),
        )
        on = [self._values[_name(value)] if isinstance(value, Lookup) else self._rows[value] for value in alike[0].on]
        names = [f"__key_{number}" for number in range(len(keys))]
        left = self._rows.select("prediction_time", *(value.alias(name) for value, name in zip(on, names, strict=True)))
        left = left.join_asof(landed, left_on="prediction_time", right_on="__known", check_sortedness=False)
        joined = left.join(right, on=[*names, "__copy"], how="left", maintain_order="left", validate="m:1")
        return {name: joined[name] for name in values}


def _name(lookup: Lookup) -> str:
    return lookup.model_dump_json()


def _is_joined_with(one: Lookup, other: Lookup) -> bool:
    return (one.source, one.on) == (other.source, other.on)

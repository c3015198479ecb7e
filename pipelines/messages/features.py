"""Requests and results of building and publishing the partitions of a feature view, and what their commits record."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from pipelines.messages.message import Message


class FeaturesRequest(Message):
    view: str
    day: date
    days: list[date] = []
    """Build exactly these; empty: ``day`` and the later days whose windows reach into it."""
    attempt: int = 0
    """Number of builds before this one in the same task, whose inputs were replaced meanwhile."""


class FeatureFacts(Message):
    """One feature of the built day."""

    name: str
    rows: int
    nulls: int
    minimum: float | None = None
    maximum: float | None = None
    other_values: dict[str, int] | None = None
    """Values that the view does not allow to their rows, the most frequent ones; None: not measured."""
    stale_rows: int | None = None
    """Rows at whose ``t`` what it reads was older than ``constraints.freshness``, or none was known; None: not
    measured."""
    oldest: timedelta | None = None
    """The greatest age of what these rows read; None: of a row nothing was known."""


class BuiltPartition(Message):
    """The features of one day as built, staged until a rule has judged them."""

    day: date
    rows: int
    without_entities: bool = False
    """True if the day was published without a row, which its source allows."""
    features: list[FeatureFacts]
    digest: str
    """Of the rows (``table_digest``), ordered by key."""
    staged: str
    """Path of the rows."""
    inputs: dict[str, int | None]
    """Validated table to the version that was read; None: there was no such table."""
    partitions: dict[str, list[str]] = {}
    """Validated table to the keys of its partitions that were read."""
    definition_digests: dict[str, str]


class FeaturesResult(Message):
    """The built partitions, in order of day."""

    view: str
    table: str
    partitions: list[BuiltPartition]

    def partition(self, day: date) -> BuiltPartition:
        return next(built for built in self.partitions if built.day == day)


class PublishFeaturesRequest(Message):
    """Partitions as built; those in ``refused`` (with every reason) are removed, the others are published."""

    view: str
    partitions: list[BuiltPartition]
    refused: dict[date, list[str]] = {}


class PublishFeaturesResult(Message):
    """What became of the partitions. A day can be in several lists."""

    view: str
    table: str
    version: int | None
    """Newest version of the table; None if there is none yet."""
    changed: list[date] = []
    """Days with other rows than before, or with none any more."""
    appeared: list[date] = []
    """Days with rows that had none before."""
    outdated: list[date] = []
    """Days to be built again: those of which another build published newer ones, and all of the view whose inputs
    were replaced since they were built."""


class FeatureRecord(Message):
    """What the commit of a partition of a feature table records; with ``refused`` its rows are not in the table."""

    digest: str
    rows: int
    inputs: dict[str, int | None]
    partitions: dict[str, list[str]] = {}
    definition_digests: dict[str, str]
    refused: list[str] = []


class FormerFeature(Message):
    """The version of a feature before the newest, with the features that it reads."""

    version: int
    digest: str
    features: dict[str, dict[str, Any]]
    """Name to its whole definition, the feature's own included."""


class FeatureDefinitions(Message):
    """Features as last built: name to (version, definition digest). Removed features stay listed."""

    view: str
    features: dict[str, tuple[int, str]] = {}
    declared: dict[str, dict[str, Any]] = {}
    """Name to its whole definition; those that were built before 0.2.0 have none."""
    former: dict[str, FormerFeature] = {}

"""Request and result of building one day of a feature view, and its feature definitions."""

from __future__ import annotations

from datetime import date

from pipelines.messages.message import Message


class FeaturesRequest(Message):
    view: str
    day: date


class FeatureFacts(Message):
    """One feature of the built day."""

    name: str
    rows: int
    nulls: int
    minimum: float | None = None
    maximum: float | None = None


class FeaturesResult(Message):
    """``days`` were rebuilt: the day itself and those later days whose windows reach into it.

    ``rows``, ``features`` and ``profile`` are those of ``day``; ``version`` is the table's after the last write."""

    view: str
    day: date
    days: list[date]
    rows: int
    without_entities: bool = False
    """True if the day was published without a row, which its source allows."""
    table: str
    version: int
    features: list[FeatureFacts]
    profile: str
    definition_digests: dict[str, str]


class FeatureDefinitions(Message):
    """Features as last built: name to (version, definition digest). Removed features stay listed."""

    view: str
    features: dict[str, tuple[int, str]] = {}

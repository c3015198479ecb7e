"""A clock for tests, which moves only by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FixedClock:
    """A clock that moves only by ``advance``."""

    def __init__(self, at: datetime = datetime(2013, 3, 1, 6, tzinfo=UTC)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, by: timedelta) -> None:
        self.at += by

"""The manifest that a source writes for each delivered day, and the receipt of each raw partition."""

from __future__ import annotations

from datetime import date

from pipelines.messages.message import Message


class LandedFile(Message):
    name: str
    rows: int
    sha256: str


class DeliveryManifest(Message):
    """``landing/<source>/<day>/_manifest.json``, written last: what was delivered for one source and day."""

    source: str
    day: date
    files: list[LandedFile]


class RawReceipt(Message):
    """Written after a raw partition: the delivery that it contains, and the table version that wrote it."""

    rows: int
    sha256: dict[str, str]
    version: int

"""The manifest that a source writes for each delivered partition, and the receipt of each raw partition."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from pydantic import AliasChoices, Field, field_validator

from pipelines.messages.message import Message


@dataclass(frozen=True)
class FileStamp:
    """What a listing of the store tells of a file."""

    etag: str
    """Changes when the file is written again."""
    written: datetime
    """When it was written last, aware, in UTC, by the clock of the storage."""


class LandedFile(Message):
    name: str
    rows: int
    sha256: str

    @field_validator("sha256")
    @classmethod
    def read_digest(cls, digest: str) -> str:
        """In small letters and without ``sha256:``, which some tools write before it."""
        return digest.strip().lower().removeprefix("sha256:")


class Extraction(Message):
    """How the rows of a delivery were read from a database: by which statement, when, and of which time."""

    connection: str
    """Id of the Airflow connection; its address and its secrets are in no record."""
    statement: str
    at: datetime
    begin: datetime | None = None
    """Of the window, inclusive; None: the table was read whole."""
    end: datetime | None = None


class DeliveryManifest(Message):
    """``landing/<dataset>/<source>/<partition>/_manifest.json``, written last: what was delivered there.

    A source that delivers by day may write ``day`` for ``partition``.
    """

    dataset: str | None = None
    """None: the folder says it."""
    source: str
    partition: str = Field(validation_alias=AliasChoices("partition", "day"))
    files: list[LandedFile]
    extraction: Extraction | None = None
    """None: the source delivered the files itself."""

    @property
    def rows(self) -> int:
        """Rows of all its files."""
        return sum(file.rows for file in self.files)

    @classmethod
    def read(cls, content: bytes) -> DeliveryManifest:
        """From JSON in any Unicode encoding, with or without a byte order mark. Raises pydantic's error."""
        try:
            text = content.decode(json.detect_encoding(content))
        except UnicodeDecodeError:
            text = content.decode("utf-8", errors="replace")
        return cls.model_validate_json(text)


class RawReceipt(Message):
    """Written after a raw partition: the delivery that it contains, and the table version that wrote it."""

    rows: int
    sha256: dict[str, str]
    version: int
    contract: str | None = None
    """Digest of the contract that the rows were checked against; None in a receipt that does not say it."""

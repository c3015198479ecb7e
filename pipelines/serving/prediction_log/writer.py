"""Appends answered rows to segments on disk, within 100 ms; a failed write is counted, not raised.

A segment is a file of records, each ``<length><crc32><msgpack>``. Its name ends in ``.open`` while its worker writes
it and in ``.seg`` when it is complete. Records on disk survive the death of the worker; a power failure may lose those
that the kernel had not written yet. Reading stops at the first incomplete or altered record.
"""

from __future__ import annotations

import itertools
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

RECORD_HEADER = struct.Struct("<II")
FLUSH_BYTES = 64 * 1024
FLUSH_SECONDS = 0.1
ROTATE_BYTES = 64 * 1024 * 1024
ROTATE_SECONDS = 60.0


class LogColumns(msgspec.Struct, array_like=True, tag="columns", frozen=True):
    """Names and types of the features of the answers that follow with this ``number``, and the version's role.

    ``role``: champion, candidate, control, variant (the arm of the caller's request), shadow or probe (no arm).
    """

    number: int
    model: str
    version: str
    names: list[str]
    types: list[str]
    role: str = "champion"
    rollout_id: str = ""


class LoggedAnswer(msgspec.Struct, array_like=True, tag="answer", frozen=True):
    """One answered request: feature values by column, one prediction per row; times in microseconds since 1970 UTC.

    ``bucket``: -1 without a random assignment. ``fallback``: the champion answered instead of the candidate.
    """

    columns: int
    prediction_time: int
    logged_at: int
    request_id: str
    correlation_id: str
    generation: int
    latency_us: int
    ids: list[str] | None
    values: list[Sequence[Any]]
    predictions: list[float]
    bucket: int = -1
    fallback: bool = False
    cache_hit: bool = False
    weight: float = 1.0
    """Number of answers that this one represents where only a sample is logged."""
    unit: int | None = None
    """The keyed hash of the routing key; None without a random assignment."""
    caller: str | None = None
    """Name of the caller's key or subject of its token; None for a caller without credentials."""


Record = LogColumns | LoggedAnswer
_encoder = msgspec.msgpack.Encoder()
decode_record = msgspec.msgpack.Decoder(Record).decode
UNREADABLE = (ValueError, OverflowError, RecursionError)
"""What ``decode_record`` raises for other bytes, texts that are not UTF-8 and too deep a nesting among them."""


def pack_record(record: Record) -> bytes:
    content = _encoder.encode(record)
    return RECORD_HEADER.pack(len(content), zlib.crc32(content)) + content


class LogWriter:
    """Appends to the worker's open segment from the event loop; it owns no thread and never raises to its caller.

    ``worker`` is unique among all workers that ever wrote into ``folder``. ``schedule(seconds, callback)`` calls back
    on the loop. A failed write drops the buffered rows and counts them in ``dropped``.
    """

    def __init__(
        self,
        folder: Path,
        worker: str,
        schedule: Callable[[float, Callable[[], None]], object],
        *,
        write: Callable[[int, bytes], int] = os.write,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._worker, self._schedule, self._write, self._clock = folder, worker, schedule, write, clock
        self._buffer = bytearray()
        self._buffered_rows = 0
        self._columns: dict[tuple[str, str, str, str], LogColumns] = {}
        self._numbers = itertools.count()
        self._in_segment: set[int] = set()
        self._segment = 0
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._size = 0
        self._opened_at = 0.0
        self._flush_scheduled = False
        self.dropped = 0
        """Answered rows that are not in the log."""

    def columns(
        self,
        model: str,
        version: str,
        names: Sequence[str],
        types: Sequence[str],
        role: str = "champion",
        rollout_id: str = "",
    ) -> LogColumns:
        """The columns record for answers of this version in this role; one per worker."""
        key = (model, version, role, rollout_id)
        if key not in self._columns or self._columns[key].names != list(names):
            number = next(self._numbers)
            self._columns[key] = LogColumns(number, model, version, list(names), list(types), role, rollout_id)
        return self._columns[key]

    def append(self, columns: LogColumns, answer: LoggedAnswer) -> None:
        """Add one answer; it is written to the file within ``FLUSH_SECONDS``."""
        buffer = self._buffer
        if columns.number not in self._in_segment:
            buffer += pack_record(columns)
            self._in_segment.add(columns.number)
        buffer += pack_record(answer)
        self._buffered_rows += len(answer.predictions)
        if len(buffer) >= FLUSH_BYTES:
            self.flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self._schedule(FLUSH_SECONDS, self._flush_by_timer)

    def _flush_by_timer(self) -> None:
        self._flush_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write the buffer, and start a new segment when this one is full."""
        if self._buffer:
            try:
                self._write_to_segment(bytes(self._buffer))
            except OSError:
                self.dropped += self._buffered_rows
                self._in_segment.clear()
                self._remove_partial_record()
            self._buffer.clear()
            self._buffered_rows = 0
        if self._size >= ROTATE_BYTES:
            self.rotate()

    def _write_to_segment(self, content: bytes) -> None:
        if self._descriptor is None:
            self._path = self._folder / f"{self._worker}-{self._segment:06d}.open"
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            self._size, self._opened_at = 0, self._clock()
        rest = content
        while rest:
            rest = rest[self._write(self._descriptor, rest) :]
        self._size += len(content)

    def _remove_partial_record(self) -> None:
        """Remove a partly written record after a failed write; if that fails too, begin a new segment."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
        except OSError:
            self.rotate()

    def segment_age(self) -> float:
        """Seconds since the open segment was begun; 0 if there is none."""
        return 0.0 if self._descriptor is None else self._clock() - self._opened_at

    def rotate(self) -> None:
        """Complete the open segment for compaction."""
        if self._buffer:
            self.flush()
        if self._descriptor is None or self._path is None:
            return
        try:
            os.close(self._descriptor)
            self._path.rename(self._path.with_suffix(".seg"))
        except OSError:
            pass  # the supervisor completes .open segments when this worker has ended
        self._descriptor = None
        self._segment += 1
        self._in_segment.clear()


def complete_segments(folder: Path, worker: str = "") -> None:
    """Complete the segments that a dead worker left open (all of them if no worker is named)."""
    for path in folder.glob(f"{worker}*.open"):
        path.rename(path.with_suffix(".seg"))


def read_segment(content: bytes) -> tuple[list[Record], int]:
    """All complete records, and the number of bytes after them (0: the segment is complete)."""
    records: list[Record] = []
    position = 0
    for record, end in _records(content):
        records.append(record)
        position = end
    return records, len(content) - position


def _records(content: bytes) -> Iterator[tuple[Record, int]]:
    position = 0
    while position + RECORD_HEADER.size <= len(content):
        size, checksum = RECORD_HEADER.unpack_from(content, position)
        start, end = position + RECORD_HEADER.size, position + RECORD_HEADER.size + size
        body = content[start:end]
        if len(body) < size or zlib.crc32(body) != checksum:
            return
        try:
            record = decode_record(body)
        except UNREADABLE:
            return
        yield record, end
        position = end

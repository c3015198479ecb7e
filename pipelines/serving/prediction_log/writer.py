"""Appends answered rows to segments on disk, within 100 ms; a failed write is counted, not raised.

A segment is a file of records, each ``<length><crc32><msgpack>``. It ends in ``.open`` while its worker writes it and
is renamed to ``.seg`` when it is complete. What is on disk survives the death of the worker; a power failure may
also take what the kernel had not yet written. Reading stops at the first incomplete or altered record.
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

HEADER = struct.Struct("<II")
FLUSH_BYTES = 64 * 1024
FLUSH_SECONDS = 0.1
ROTATE_BYTES = 64 * 1024 * 1024
ROTATE_SECONDS = 60.0


class LogColumns(msgspec.Struct, array_like=True, tag="columns", frozen=True):
    """Names and types of the features of the records that follow under ``number``, and the part the version plays.

    ``role``: champion, candidate, control, variant (who was to answer the caller), shadow or probe (nobody was).
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

    ``bucket``: -1 where none was drawn. ``fallback``: the champion answered in its role's place.
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
    """How many answers this one stands for where only a sample is logged."""
    unit: int | None = None
    """The keyed hash of the routing key; None where none was drawn."""


Record = LogColumns | LoggedAnswer
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def pack(record: Record) -> bytes:
    content = _encoder.encode(record)
    return HEADER.pack(len(content), zlib.crc32(content)) + content


class LogWriter:
    """Appends to the worker's open segment from the event loop; it owns no thread and never raises to its caller.

    ``worker`` is unique among all workers that ever wrote into ``folder``. ``schedule(seconds, callback)`` calls back
    later on the loop. A failed write drops the buffered rows, counts them in ``dropped`` and goes on.
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
        self._known: dict[tuple[str, str, str, str], LogColumns] = {}
        self._numbers = itertools.count()
        self._in_segment: set[int] = set()
        self._segment = 0
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._size = 0
        self._opened = 0.0
        self._pending = False
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
        """The description under which answers of this version in this role are logged; one per worker."""
        key = (model, version, role, rollout_id)
        if key not in self._known or self._known[key].names != list(names):
            number = next(self._numbers)
            self._known[key] = LogColumns(number, model, version, list(names), list(types), role, rollout_id)
        return self._known[key]

    def append(self, columns: LogColumns, answer: LoggedAnswer) -> None:
        """Add one answer; it is handed to the file system within ``FLUSH_SECONDS``."""
        if columns.number not in self._in_segment:
            self._buffer += pack(columns)
            self._in_segment.add(columns.number)
        self._buffer += pack(answer)
        self._buffered_rows += len(answer.predictions)
        if len(self._buffer) >= FLUSH_BYTES:
            self.flush()
        elif not self._pending:
            self._pending = True
            self._schedule(FLUSH_SECONDS, self._timer)

    def _timer(self) -> None:
        self._pending = False
        self.flush()

    def flush(self) -> None:
        """Write the buffer, and start a new segment when this one is full."""
        if self._buffer:
            try:
                self._put(bytes(self._buffer))
            except OSError:
                self.dropped += self._buffered_rows
                self._in_segment.clear()
                self._undo()
            self._buffer.clear()
            self._buffered_rows = 0
        if self._size >= ROTATE_BYTES:
            self.rotate()

    def _put(self, content: bytes) -> None:
        if self._descriptor is None:
            self._path = self._folder / f"{self._worker}-{self._segment:06d}.open"
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            self._size, self._opened = 0, self._clock()
        view = content
        while view:
            view = view[self._write(self._descriptor, view) :]
        self._size += len(content)

    def _undo(self) -> None:
        """Cut off what a failed write left behind; if even that fails, leave the segment to its complete records."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
        except OSError:
            self.rotate()

    def age(self) -> float:
        """Seconds since the open segment was begun; 0 if there is none."""
        return 0.0 if self._descriptor is None else self._clock() - self._opened

    def rotate(self) -> None:
        """Complete the open segment, so that it can be compacted."""
        if self._buffer:
            self.flush()
        if self._descriptor is None or self._path is None:
            return
        try:
            os.close(self._descriptor)
            self._path.rename(self._path.with_suffix(".seg"))
        except OSError:
            pass  # the supervisor takes over what is left under .open when this worker has ended
        self._descriptor = None
        self._segment += 1
        self._in_segment.clear()


def adopt(folder: Path, worker: str = "") -> None:
    """Complete the segments that a dead worker left open (all of them if no worker is named)."""
    for path in folder.glob(f"{worker}*.open"):
        path.rename(path.with_suffix(".seg"))


def read_segment(content: bytes) -> tuple[list[Record], int]:
    """All complete records, and how many bytes at the end were not one (0: the segment is whole)."""
    records: list[Record] = []
    position = 0
    for record, end in _records(content):
        records.append(record)
        position = end
    return records, len(content) - position


def _records(content: bytes) -> Iterator[tuple[Record, int]]:
    position = 0
    while position + HEADER.size <= len(content):
        size, checksum = HEADER.unpack_from(content, position)
        start, end = position + HEADER.size, position + HEADER.size + size
        body = content[start:end]
        if len(body) < size or zlib.crc32(body) != checksum:
            return
        try:
            yield _decoder.decode(body), end
        except (msgspec.DecodeError, msgspec.ValidationError):
            return
        position = end

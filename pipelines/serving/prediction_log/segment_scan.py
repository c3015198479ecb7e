"""Reads a segment past whatever is damaged in it: every intact record is found, and every other byte is reported."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.serving.prediction_log.writer import RECORD_HEADER, UNREADABLE, Record, decode_record

TAG = re.compile(rb"\xa6answer|\xa7columns")
"""How MessagePack writes the tag of either kind of record, which follows the header of the record's array."""
ARRAY_HEADER_SIZES = (1, 3)
"""Bytes of the header of an array of up to 15, and of up to 65,535 elements."""


class Stretch(NamedTuple):
    """``content[start:end]`` of a segment: one record, or bytes that are none with the ``fault`` that they have."""

    start: int
    end: int
    record: Record | None
    fault: str = ""


def scan_segment(content: bytes) -> Iterator[Stretch]:
    """Every stretch of a segment in order, but for the unfinished record at the end that a killed writer leaves."""
    position = 0
    while position < len(content):
        end = _record_end(content, position)
        if end is None:
            following = _next_record(content, position + 1)
            if following is None and not _is_complete(content, position):
                return
            end = len(content) if following is None else following
            yield Stretch(position, end, None, "its bytes were altered")
        else:
            try:
                yield Stretch(position, end, decode_record(content[position + RECORD_HEADER.size : end]))
            except UNREADABLE:
                yield Stretch(position, end, None, "it is no record of this version of the log")
        position = end


def _record_end(content: bytes, position: int) -> int | None:
    """End of the record that begins here; None if there is none with the right checksum."""
    if not _is_complete(content, position):
        return None
    size, checksum = RECORD_HEADER.unpack_from(content, position)
    end = position + RECORD_HEADER.size + int(size)
    return end if size and zlib.crc32(content[position + RECORD_HEADER.size : end]) == checksum else None


def _is_complete(content: bytes, position: int) -> bool:
    """Whether the segment goes on for as long as the length that stands here says."""
    if position + RECORD_HEADER.size > len(content):
        return False
    size, _ = RECORD_HEADER.unpack_from(content, position)
    return position + RECORD_HEADER.size + int(size) <= len(content)


def _next_record(content: bytes, start: int) -> int | None:
    """Position of the first intact record at or after ``start``, found by its tag."""
    for tag in TAG.finditer(content, start):
        for size in ARRAY_HEADER_SIZES:
            position = tag.start() - size - RECORD_HEADER.size
            if position >= start and _record_end(content, position) is not None:
                return position
    return None

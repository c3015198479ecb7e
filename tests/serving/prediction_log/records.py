"""Draws records of the prediction log with every type and bound, and says which of them are rows of a table."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import strategies as st

from pipelines.serving.prediction_log.writer import RECORD_HEADER, LogColumns, LoggedAnswer

COLUMNS = LogColumns(0, "flight_delay", "1", ["carrier", "distance"], ["categorical", "numeric"])
MOMENT = int(datetime(2013, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp() * 1e6)
FIRST_MOMENT = (datetime(1, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400_000_000
LAST_MOMENT = ((datetime(9999, 12, 31, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days + 1) * 86_400_000_000 - 1
INT64 = range(-(2**63), 2**63)

bounds = [0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]
moments = st.sampled_from([MOMENT, FIRST_MOMENT, FIRST_MOMENT - 1, LAST_MOMENT, LAST_MOMENT + 1, *bounds])
integers = st.one_of(st.sampled_from(bounds), st.integers(-(2**63), 2**64 - 1))
numbers = st.one_of(st.none(), integers, st.floats())
texts = st.one_of(
    st.none(), st.text(max_size=8), st.sampled_from(["answer", "columns", "\x00", "\U0010ffff", "a" * 300])
)
others = st.sampled_from([msgspec.msgpack.Ext(5, b"x"), datetime(9999, 12, 31, tzinfo=UTC), {"a": 1}, b"\xff", [1]])
values = st.one_of(numbers, texts, st.booleans(), others)


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The usual value nine times of ten."""
    return st.integers(0, 9).flatmap(lambda drawn: odd if drawn == 0 else usual)


@st.composite
def answers(draw: st.DrawFn) -> LoggedAnswer:
    """An answer with at most a few odd fields."""
    count = draw(st.integers(1, 3))
    length = mostly(st.just(count), st.integers(0, 4))

    def column(usual: st.SearchStrategy[Any]) -> list[Any]:
        size = draw(length)
        return draw(st.lists(mostly(usual, values), min_size=size, max_size=size))

    columns = [column(texts), column(numbers)]
    size = draw(length)
    ids = st.lists(st.text(max_size=4), min_size=size, max_size=size)
    return LoggedAnswer(
        columns=draw(mostly(st.just(0), st.integers(0, 3))),
        prediction_time=draw(mostly(st.just(MOMENT), moments)),
        logged_at=draw(mostly(st.just(MOMENT), moments)),
        request_id=draw(st.text(max_size=4)),
        correlation_id=draw(st.text(max_size=4)),
        generation=draw(mostly(st.integers(0, 9), integers)),
        latency_us=draw(mostly(st.integers(0, 9), integers)),
        ids=draw(st.one_of(st.none(), ids)),
        values=draw(mostly(st.just(columns), st.just(columns[:1]))),
        predictions=draw(st.lists(st.floats(), min_size=count, max_size=count)),
        bucket=draw(mostly(st.integers(-1, 9999), integers)),
        fallback=draw(st.booleans()),
        weight=draw(st.floats()),
        unit=draw(st.one_of(st.none(), integers)),
    )


def is_convertible(answer: LoggedAnswer) -> bool:
    """Whether it is rows of the table of ``COLUMNS``, said without the code that converts it."""
    count = len(answer.predictions)
    if answer.columns != 0 or len(answer.values) != 2 or any(len(column) != count for column in answer.values):
        return False
    if answer.ids is not None and len(answer.ids) != count:
        return False
    texts_fit = all(value is None or type(value) is str for value in answer.values[0])
    numbers_fit = all(value is None or type(value) in (int, float) for value in answer.values[1])
    moments_fit = all(FIRST_MOMENT <= at <= LAST_MOMENT for at in (answer.prediction_time, answer.logged_at))
    integers_fit = all(number in INT64 for number in (answer.generation, answer.latency_us, answer.bucket))
    return texts_fit and numbers_fit and moments_fit and integers_fit


def pack_body(body: bytes) -> bytes:
    """A record with the right length and checksum, whatever its body is."""
    return RECORD_HEADER.pack(len(body), zlib.crc32(body)) + body


odd_bodies = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.binary(max_size=8).map(lambda name: b"\x91" + bytes([0xA0 + len(name)]) + name),
    st.sampled_from([b"\x91" * 5000, b"\xc7\x0c\xff" + b"\xff" * 12, b"\x91\xd6\xff\xff\xff\xff\xff"]),
    st.recursive(values, lambda inner: st.lists(inner, max_size=3), max_leaves=5).map(msgspec.msgpack.encode),
    st.lists(values, max_size=17).map(lambda fields: msgspec.msgpack.encode(["answer", *fields])),
    st.lists(values, max_size=8).map(lambda fields: msgspec.msgpack.encode(["columns", *fields])),
)
"""Bodies of any bytes, any text in the place of a tag, any nesting, any MessagePack, any fields behind a tag."""

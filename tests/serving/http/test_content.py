"""A body is taken as its headers describe it, within the limit of a body, or refused with what is taken."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest

from pipelines.serving.http.content import check_content, read_content
from pipelines.serving.http.response import Problem

LIMIT = 10_000
CONTENT = '{"a": "größer", "b": [1, 2]}'
BODY = CONTENT.encode()


def taken(body: bytes, **headers: str) -> bytes:
    """The body as the gateway takes it; an underscore in a header's name is a hyphen."""
    fields = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    check_content(fields)
    return read_content(fields, body, LIMIT)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF8",
        'application/json; a=1; charset="utf-8"',
    ],
)
def test_json_is_taken_as_it_stands(content_type: str) -> None:
    assert taken(BODY, content_type=content_type) == BODY


def test_without_a_content_type_the_body_is_taken_for_json() -> None:
    assert taken(BODY) == BODY


@pytest.mark.parametrize(
    "charset", ["iso-8859-1", "latin1", "Windows-1252", "utf-16", "UTF-16LE", "utf-16-be", "utf-32"]
)
def test_another_charset_is_decoded(charset: str) -> None:
    assert taken(CONTENT.encode(charset), content_type=f"application/json; charset={charset}") == BODY


def test_json_that_curl_calls_a_form_is_taken_and_a_form_is_not() -> None:
    form = "application/x-www-form-urlencoded"
    assert taken(b"\n " + BODY, content_type=form) == b"\n " + BODY
    for body in (b"a=1&b=2", b"", b"[1]"):
        with pytest.raises(Problem) as refused:
            taken(body, content_type=form)
        assert (refused.value.status, "send application/json" in refused.value.faults[0]) == (415, True)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_gzip_is_decompressed(encoding: str) -> None:
    assert taken(gzip.compress(BODY), content_encoding=encoding) == BODY
    packed = gzip.compress(CONTENT.encode("utf-16"))
    assert taken(packed, content_encoding=encoding, content_type="application/json; charset=utf-16") == BODY


def test_identity_is_no_compression() -> None:
    assert taken(BODY, content_encoding="identity") == BODY


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"content_type": "text/csv"}, "content type 'text/csv' is not taken; send application/json"),
        ({"content_type": "application/jsonlines"}, "application/json"),
        ({"content_type": "application/xml; charset=utf-8"}, "'application/xml'"),
        ({"content_type": "text/plain"}, "'text/plain'"),
        ({"content_type": "multipart/form-data; boundary=x"}, "'multipart/form-data'"),
        ({"content_type": ""}, "content type ''"),
        ({"content_type": "application/json; charset=ebcdic"}, "charset 'ebcdic' is not taken; send utf-8"),
        ({"content_type": "application/json; charset=zip"}, "charset 'zlib'"),
        ({"content_type": "application/json; charset=unicode_escape"}, "charset 'unicode-escape'"),
        ({"content_type": "application/json; charset=\x00"}, "charset"),
        ({"content_encoding": "br"}, "content encoding 'br' is not taken; send gzip or none"),
        ({"content_encoding": "deflate"}, "'deflate'"),
        ({"content_encoding": "gzip, gzip"}, "'gzip, gzip'"),
        ({"inference_header_content_length": "10"}, "binary tensors are not taken"),
    ],
)
def test_anything_else_is_refused_with_what_is_taken(headers: dict[str, str], named: str) -> None:
    with pytest.raises(Problem) as refused:
        taken(BODY, **headers)
    assert refused.value.status == 415
    assert named in refused.value.faults[0]
    assert dict(refused.value.headers) == {b"accept": b"application/json", b"accept-encoding": b"gzip"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "fault"),
    [
        (BODY, {"content_encoding": "gzip"}, 400, "is not gzip"),
        (b"", {"content_encoding": "gzip"}, 400, "ends too early"),
        (gzip.compress(BODY, mtime=0)[:-1], {"content_encoding": "gzip"}, 400, "ends too early"),
        (gzip.compress(BODY, mtime=0)[:-8] + bytes(8), {"content_encoding": "gzip"}, 400, "is not gzip"),
        (gzip.compress(BODY, mtime=0) * 2, {"content_encoding": "gzip"}, 400, "one gzip member"),
        (zlib.compress(BODY), {"content_encoding": "gzip"}, 400, "is not gzip"),
        (gzip.compress(b" " * (LIMIT + 1), mtime=0), {"content_encoding": "gzip"}, 413, f"larger than {LIMIT} bytes"),
        (b"\xd8\x00", {"content_type": "application/json; charset=utf-16-be"}, 400, "is not in the charset utf-16-be"),
        (("ü" * LIMIT).encode("latin-1"), {"content_type": "application/json; charset=latin1"}, 413, "larger than"),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_or_too_large_is_refused(
    body: bytes, headers: dict[str, str], status: int, fault: str
) -> None:
    with pytest.raises(Problem) as refused:
        taken(body, **headers)
    assert refused.value.status == status
    assert fault in refused.value.faults[0]


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    body = json.dumps("x" * (LIMIT - 2)).encode()
    assert taken(gzip.compress(body), content_encoding="gzip") == body


def test_a_gzip_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(Problem) as refused:
            taken(bomb, content_encoding="gzip")
        assert tracemalloc.get_traced_memory()[1] < 50 * LIMIT
    finally:
        tracemalloc.stop()
    assert refused.value.status == 413

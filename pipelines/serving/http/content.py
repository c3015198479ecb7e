"""Takes a body as its headers describe it: JSON, perhaps compressed by gzip or in another charset; refuses the rest.

What is taken apart stays within the limit of a body, so that a small body cannot become a large one.
"""

from __future__ import annotations

import zlib
from codecs import lookup
from collections.abc import Mapping
from contextlib import suppress

from pipelines.serving.http.response import Problem

JSON_TYPE = b"application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
"""What curl and Python's urllib call every body that nobody names a type for."""
PLAIN_CONTENT_TYPES = frozenset(
    {
        None,
        JSON_TYPE,
        b"application/json; charset=utf-8",
        b"application/json;charset=utf-8",
        b"application/json; charset=UTF-8",
        b"application/json;charset=UTF-8",
    }
)
"""Content types whose body is taken as it stands; the first: none was sent."""
UTF8_CHARSETS = {"utf-8", "ascii"}
OTHER_CHARSETS = {"iso8859-1", "iso8859-15", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"}
"""Python's names of the charsets that are decoded."""
GZIP_FORMAT = 31
"""``wbits`` of zlib for gzip with its header and checksum."""
BINARY_TENSORS_HEADER = b"inference-header-content-length"
CODED_HEADERS = frozenset({b"content-encoding", BINARY_TENSORS_HEADER})


def is_plain_json(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the body is taken as it stands."""
    return headers.get(b"content-type") in PLAIN_CONTENT_TYPES and CODED_HEADERS.isdisjoint(headers)


def check_content(headers: Mapping[bytes, bytes]) -> None:
    """Raises ``Problem`` 415 for a body that is not taken, before it is read; the problem names what is taken."""
    if BINARY_TENSORS_HEADER in headers:
        raise _unsupported("binary tensors are not taken; send the tensors' data as JSON")
    media_type, charset = _media_type(headers)
    if media_type not in (JSON_TYPE.decode(), FORM_TYPE):
        raise _unsupported_type(media_type)
    if charset not in UTF8_CHARSETS | OTHER_CHARSETS:
        raise _unsupported(f"charset {charset[:40]!r} is not taken; send utf-8")
    encoding = _encoding(headers)
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise _unsupported(f"content encoding {encoding[:40]!r} is not taken; send gzip or none")


def read_content(headers: Mapping[bytes, bytes], body: bytes, max_bytes: int) -> bytes:
    """The body as UTF-8 without compression, of headers that ``check_content`` has passed.

    Raises ``Problem`` 413 for more than ``max_bytes``, 415 for a form, 400 for a body that is not what its headers say.
    """
    if _encoding(headers).endswith("gzip"):
        body = _decompress(body, max_bytes)
    media_type, charset = _media_type(headers)
    if charset in OTHER_CHARSETS:
        try:
            body = body.decode(charset).encode()
        except UnicodeError:
            raise Problem(400, [f"the body is not in the charset {charset} that its content type names"]) from None
        if len(body) > max_bytes:
            raise too_large_problem(max_bytes)
    if media_type == FORM_TYPE and not body.lstrip().startswith(b"{"):
        raise _unsupported_type(media_type)
    return body


def too_large_problem(max_bytes: int) -> Problem:
    return Problem(413, [f"the body is larger than {max_bytes} bytes; send fewer rows"])


def _decompress(body: bytes, max_bytes: int) -> bytes:
    gzip = zlib.decompressobj(GZIP_FORMAT)
    try:
        content = gzip.decompress(body, max_bytes + 1)
    except zlib.error:
        raise Problem(400, ["the body is not gzip, although its content encoding says so"]) from None
    if len(content) > max_bytes:
        raise too_large_problem(max_bytes)
    if not gzip.eof:
        raise Problem(400, ["the gzip body ends too early"])
    if gzip.unused_data:
        raise Problem(400, ["the gzip body is followed by other bytes; send one gzip member"])
    return content


def _media_type(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Media type in lower case, and Python's name of the charset, or the charset as sent if Python does not know it."""
    value = headers.get(b"content-type")
    if value in PLAIN_CONTENT_TYPES:
        return JSON_TYPE.decode(), "utf-8"
    media_type, *parameters = (value or b"").decode("latin-1").split(";")
    charset = "utf-8"
    for parameter in parameters:
        name, _, named = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = named.strip().strip("\"'").lower()
    with suppress(LookupError, ValueError):
        charset = lookup(charset).name
    return media_type.strip().lower(), charset


def _encoding(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()


def _unsupported_type(media_type: str) -> Problem:
    return _unsupported(f"content type {media_type[:60]!r} is not taken; send application/json")


def _unsupported(fault: str) -> Problem:
    return Problem(415, [fault], (b"accept", JSON_TYPE), (b"accept-encoding", b"gzip"))

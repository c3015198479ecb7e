"""Responses of the public listener; every refusal is one JSON document that lists all faults."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Header = tuple[bytes, bytes]


class Response(msgspec.Struct, frozen=True):
    """One HTTP response; ``headers`` without content type and length."""

    status: int
    body: bytes
    headers: Sequence[Header] = ()
    content_type: bytes = b"application/json"

    def as_http(self) -> bytes:
        """The response as it is sent by HTTP/1.1."""
        body = self.body
        entity_headers = b"content-type: %b\r\ncontent-length: %d\r\n" % (self.content_type, len(body))
        parts = [STATUS_LINE[self.status], entity_headers]
        for name, value in self.headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", body)
        return b"".join(parts)


class Problem(Exception):
    """The request is refused with ``status`` and ``faults``."""

    def __init__(self, status: int, faults: Sequence[str], *headers: Header) -> None:
        self.status, self.faults, self.headers = status, faults, headers

    def response(self, *headers: Header) -> Response:
        """The response with its JSON document; ``headers`` come before its own."""
        error = self.faults[0] if len(self.faults) == 1 else f"{len(self.faults)} faults"
        return Response(self.status, orjson.dumps({"error": error, "faults": self.faults}), (*headers, *self.headers))

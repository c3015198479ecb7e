"""Every answer of the public listener is one whole, and every refusal one document that lists all that is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

Header = tuple[bytes, bytes]


class Response(msgspec.Struct, frozen=True):
    """What a caller is answered; ``headers`` beside the type and the length of the body."""

    status: int
    body: bytes
    headers: Sequence[Header] = ()
    content_type: bytes = b"application/json"


class Problem(Exception):
    """The request gets no other answer than ``status`` and its ``faults``."""

    def __init__(self, status: int, faults: Sequence[str], *headers: Header) -> None:
        self.status, self.faults, self.headers = status, faults, headers

    def response(self, *headers: Header) -> Response:
        """As a document; ``headers`` come before its own."""
        error = self.faults[0] if len(self.faults) == 1 else f"{len(self.faults)} faults"
        return Response(self.status, orjson.dumps({"error": error, "faults": self.faults}), (*headers, *self.headers))

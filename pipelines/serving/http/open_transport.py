"""Writes to a connection while it is open; an answer to a caller who has just left is dropped without a fault."""

from __future__ import annotations

from typing import Any


class OpenTransport:
    """A transport while it is open: one that was closed in this turn of the loop takes nothing, and raises nothing."""

    __slots__ = ("_transport", "close", "is_closing")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.close, self.is_closing = transport.close, transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

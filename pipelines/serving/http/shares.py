"""What each address holds of one worker's connections and memory; whoever holds the most gives way where room ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pipelines.serving.http.response import Problem

RETRY_SOON = (b"retry-after", b"1")


class HeldConnection(Protocol):
    """A connection as its listener weighs it."""

    holder: Holder
    arriving_bytes: int
    """Bytes of the request that is arriving which are kept."""
    is_silent: bool
    """Whether nothing was sent on it yet."""

    @property
    def is_idle(self) -> bool:
        """Whether its requests are answered and no further one has begun."""
        ...

    @property
    def is_unanswered(self) -> bool:
        """Whether a request that came completely waits for its answer."""
        ...

    def shed(self, limit: str, fault: str, status: int = 503) -> None:
        """Give up what arrives for the sake of ``limit``, an idle connection without a word."""
        ...


class Holder:
    """One address: its connections in the order of their arrival, and bytes of its requests that are not answered."""

    __slots__ = ("address", "bytes", "connections", "is_proxy", "users")

    def __init__(self, address: str, *, is_proxy: bool = False) -> None:
        self.address, self.is_proxy = address, is_proxy
        self.bytes = 0
        self.users = 0
        """Connections whose request counts for this address."""
        self.connections: dict[HeldConnection, None] = {}


class Shares:
    """Connections and bytes of one listener in one process, by address."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        """Bytes of requests that came and are not answered yet."""
        self.connections = 0
        self._holders: dict[str, Holder] = {}

    def holder(self, address: str, *, is_proxy: bool = False) -> Holder:
        """The holder of that address; give it back by ``drop_if_empty`` once it holds nothing."""
        holder = self._holders.get(address)
        if holder is None:
            holder = self._holders[address] = Holder(address, is_proxy=is_proxy)
        return holder

    def drop_if_empty(self, holder: Holder) -> None:
        if not holder.connections and not holder.bytes and not holder.users:
            self._holders.pop(holder.address, None)

    def enter(self, connection: HeldConnection, peer: Holder) -> None:
        peer.connections[connection] = None
        self.connections += 1

    def leave(self, connection: HeldConnection, peer: Holder) -> None:
        """Uncount a connection; it may have left already."""
        if connection in peer.connections:
            del peer.connections[connection]
            self.connections -= 1
            self.drop_if_empty(peer)

    def release(self, holder: Holder, size: int) -> None:
        if not size and holder.connections:
            return
        holder.bytes -= size
        self.bytes -= size
        if not holder.connections:
            self.drop_if_empty(holder)

    def displaceable(self, newcomer: HeldConnection, peer: Holder) -> HeldConnection | None:
        """The connection that makes room for ``newcomer`` from ``peer``; None if no one has to.

        It belongs to the address with the most connections, and waits for no answer: first a silent one, then an idle
        one, and of another address one whose request is still arriving. Trusted proxies never give way to others.
        """
        others = [holder for holder in self._holders.values() if not holder.is_proxy or holder is peer]
        largest = max(others, key=lambda holder: len(holder.connections), default=peer)
        if len(largest.connections) <= len(peer.connections):
            largest = peer
        idle = arriving = None
        for connection in largest.connections:
            if connection is newcomer:
                continue
            if connection.is_silent:
                return connection
            if connection.is_idle:
                idle = idle or connection
            elif largest is not peer and not connection.is_unanswered:
                arriving = arriving or connection
        return idle or arriving

    def largest_arriving(self, connection: HeldConnection) -> HeldConnection:
        """The connection whose body has to give way: of the address with the most bytes, the largest one arriving.

        ``connection`` itself where no address holds more than its own.
        """
        holder = max(self._holders.values(), key=lambda holder: holder.bytes, default=connection.holder)
        if holder.bytes <= connection.holder.bytes:
            return connection
        arriving = [
            other
            for peer in self._holders.values()
            for other in peer.connections
            if other.holder is holder and other.arriving_bytes
        ]
        return max(arriving, key=lambda other: other.arriving_bytes, default=connection)

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count bytes that a request grew by, such as by decompression. Raises ``Problem`` 503 if there is no room."""
        if self.bytes + size > self.max_bytes:
            raise Problem(503, ["too many bytes of requests wait for an answer; try again"], RETRY_SOON)
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size

"""A client that asks too often is told when to come back, at the cost of one number per client."""

from __future__ import annotations

from collections import OrderedDict

CLIENTS = 50_000
"""Clients remembered per worker; the one that was longest away is forgotten first."""


class TokenBuckets:
    """Token buckets by the generic cell rate algorithm (ITU-T I.371): per client, the time at which it is full again.

    ``per_minute`` and ``burst`` are this worker's share.
    """

    def __init__(self, per_minute: float, burst: float, clients: int = CLIENTS) -> None:
        self._interval = 60.0 / per_minute
        self._depth = self._interval * max(1.0, burst)
        self._full: OrderedDict[str, float] = OrderedDict()
        self._clients = clients

    def take(self, client: str, now: float) -> float:
        """Take one token; 0 if there was one, else the seconds until there is one. ``now`` in monotonic seconds."""
        full = max(self._full.get(client, now), now) + self._interval
        wait = full - now - self._depth
        if wait > 1e-9:
            return wait
        self._full[client] = full
        self._full.move_to_end(client)
        if len(self._full) > self._clients:
            self._full.popitem(last=False)
        return 0.0

    def empty(self, client: str, now: float) -> float:
        """Seconds until there is a token, none of which is taken."""
        return max(0.0, self._full.get(client, now) + self._interval - now - self._depth)

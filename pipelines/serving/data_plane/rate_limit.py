"""Rate limits per client by token buckets, with one number stored per client."""

from __future__ import annotations

from collections import OrderedDict

MAX_CLIENTS = 50_000
"""Clients stored per worker; the least recently seen one is dropped first."""


class TokenBuckets:
    """Token buckets by the generic cell rate algorithm (ITU-T I.371): stores when a client's bucket is full again.

    ``per_minute`` and ``burst`` are this worker's share.
    """

    def __init__(self, per_minute: float, burst: float, max_clients: int = MAX_CLIENTS) -> None:
        self._interval = 60.0 / per_minute
        self._burst_seconds = self._interval * max(1.0, burst)
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._max_clients = max_clients

    def take(self, client: str, now: float) -> float:
        """Take one token; 0 if there was one, else the seconds until there is one. ``now`` in monotonic seconds."""
        full_at = self._full_at.get(client, now)
        full_at = (now if full_at < now else full_at) + self._interval
        seconds = full_at - now - self._burst_seconds
        if seconds > 1e-9:
            return seconds
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._max_clients:
            self._full_at.popitem(last=False)
        return 0.0

    def seconds_until_token(self, client: str, now: float) -> float:
        """Seconds until there is a token; takes none."""
        return max(0.0, self._full_at.get(client, now) + self._interval - now - self._burst_seconds)

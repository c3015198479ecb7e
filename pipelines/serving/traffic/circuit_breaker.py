"""A circuit breaker: after repeated failures no request passes for a while, then one, whose outcome decides."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from pipelines.rollout.plan import BreakerLimits


class CircuitBreaker:
    """Closed: requests pass. Open: none pass for ``open_for`` seconds. Then one passes, and its outcome decides."""

    def __init__(self, limits: BreakerLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._failures: deque[float] = deque(maxlen=limits.failures)
        self._open_until = 0.0
        self._probing = False
        self.opened = 0
        """How often it opened."""

    def passes(self) -> bool:
        """Whether this request may be tried."""
        if not self._open_until:
            return True
        if self._probing or self._clock() < self._open_until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """A request that was let through went well."""
        if self._probing:
            self._probing, self._open_until = False, 0.0
            self._failures.clear()

    def failed(self) -> bool:
        """A request that was let through failed; True if the breaker opens by it."""
        now = self._clock()
        self._failures.append(now)
        full = len(self._failures) == self._limits.failures
        if not self._probing and not (full and now - self._failures[0] <= self._limits.window):
            return False
        opens = self._probing or not self._open_until
        self._probing = False
        self._open_until = now + self._limits.open_for
        self.opened += opens
        return opens

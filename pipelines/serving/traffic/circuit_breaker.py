"""A circuit breaker: opens after repeated failures, then lets one trial request decide whether it closes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from pipelines.rollout.plan import BreakerLimits


class CircuitBreaker:
    """Closed: requests pass. Open: none pass for ``open_for`` seconds, then a trial request closes or reopens it."""

    def __init__(self, limits: BreakerLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._failures: deque[float] = deque(maxlen=limits.failures)
        self._open_until = 0.0
        self._trial_running = False
        self.times_opened = 0
        """How many times it opened."""

    def allows_request(self) -> bool:
        """Whether this request may be sent."""
        if not self._open_until:
            return True
        if self._trial_running or self._clock() < self._open_until:
            return False
        self._trial_running = True
        return True

    def record_success(self) -> None:
        """Record that an allowed request succeeded."""
        if self._trial_running:
            self._trial_running, self._open_until = False, 0.0
            self._failures.clear()

    def record_failure(self) -> bool:
        """Record that an allowed request failed; returns True if this opens the breaker."""
        now = self._clock()
        self._failures.append(now)
        full = len(self._failures) == self._limits.failures
        if not self._trial_running and not (full and now - self._failures[0] <= self._limits.window):
            return False
        opens = self._trial_running or not self._open_until
        self._trial_running = False
        self._open_until = now + self._limits.open_for
        self.times_opened += opens
        return opens

"""The plan of a rollout: strategy, lease, guard and routing; ``faults`` lists why a plan is not valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from pipelines.errors import Refused

Strategy = Literal["all_at_once", "canary", "ab", "shadow", "blue_green"]
OnExpiry = Literal["rollback", "hold", "stop_mirror"]
DEFAULT_EXPIRY: dict[Strategy, OnExpiry] = {
    "all_at_once": "rollback",
    "canary": "rollback",
    "blue_green": "rollback",
    "ab": "hold",
    "shadow": "stop_mirror",
}
MAX_LEASE_SECONDS = 31 * 86400.0


class LatencyLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most ``max_share`` of the requests take longer than ``over_ms`` milliseconds."""

    over_ms: float
    max_share: float


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Absolute limits that the gateway itself enforces. ``alpha``: chance of a false rollback over a whole rollout."""

    max_error_rate: float | None = None
    latency: tuple[LatencyLimit, ...] = ()
    alpha: float = 0.05


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For so many ``seconds`` after the promotion the guard takes the former champion back if a limit is broken.

    The limits are those of ``guard``, with ``max_error_rate`` in place of its own if it is given. 0 s: no watch.
    """

    seconds: float = 0.0
    max_error_rate: float | None = None


class BreakerLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """After ``failures`` within ``window`` seconds the candidate gets no request for ``open_for`` seconds."""

    failures: int = 20
    window: float = 10.0
    open_for: float = 5.0


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests whose ``header`` equals ``equals`` go to ``arm``, before any hashing."""

    header: str
    equals: str
    arm: Literal["champion", "candidate"]


class RoutingPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``key``: ``request_id``, ``header:<name>`` or ``field:ids`` (the first row's id). An empty ``salt`` means the id
    of the rollout, which makes two rollouts independent of each other."""

    key: str = "request_id"
    salt: str = ""
    segments: tuple[Segment, ...] = ()

    @property
    def counts_keys(self) -> bool:
        """Whether distinct routing keys are counted; otherwise every request is its own unit."""
        return self.key != "request_id" or bool(self.segments)


class ComparisonPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a mirrored answer differs: by more than ``tolerance``, or on the other side of ``threshold``."""

    tolerance: float = 0.05
    threshold: float = 0.5


class RolloutPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of a rollout. They do not change once the rollout is created."""

    strategy: Strategy
    lease_seconds: float = 0.0
    guard: Guard = Guard()
    watch: Watch = Watch()
    on_lease_expiry: OnExpiry | None = None
    """None: by strategy, hold for ab, stop_mirror for shadow, else rollback."""
    routing: RoutingPlan = RoutingPlan()
    breaker: BreakerLimits = BreakerLimits()
    comparison: ComparisonPlan = ComparisonPlan()
    deadline_ms: float = 1000.0
    """Time after which the champion answers in place of a candidate."""

    @property
    def expiry_action(self) -> OnExpiry:
        return self.on_lease_expiry or DEFAULT_EXPIRY[self.strategy]

    def faults(self) -> list[str]:
        """Every reason why this plan is not valid."""
        faults = []
        if not 0 < self.lease_seconds <= MAX_LEASE_SECONDS:
            faults.append(
                f"lease_seconds is {self.lease_seconds:g}; it must be above 0 and at most {MAX_LEASE_SECONDS:g}"
            )
        if self.guard.max_error_rate is None and not self.guard.latency:
            faults.append("guard has no limit, so the rollout could not fail; declare max_error_rate or latency")
        if self.guard.max_error_rate is not None and not 0 < self.guard.max_error_rate < 1:
            faults.append(f"guard.max_error_rate is {self.guard.max_error_rate:g}; it must lie between 0 and 1")
        faults += [
            f"guard.latency {limit.over_ms:g} ms for {limit.max_share:g}; the share must lie between 0 and 1"
            for limit in self.guard.latency
            if limit.over_ms <= 0 or not 0 < limit.max_share < 1
        ]
        if not 0 <= self.watch.seconds <= MAX_LEASE_SECONDS:
            faults.append(f"watch.seconds is {self.watch.seconds:g}; it must be 0 to {MAX_LEASE_SECONDS:g}")
        if self.watch.max_error_rate is not None and not 0 < self.watch.max_error_rate < 1:
            faults.append(f"watch.max_error_rate is {self.watch.max_error_rate:g}; it must lie between 0 and 1")
        if not 0 < self.guard.alpha < 1:
            faults.append(f"guard.alpha is {self.guard.alpha:g}; it must lie between 0 and 1")
        key = self.routing.key
        if key not in ("request_id", "field:ids") and not (key.startswith("header:") and len(key) > len("header:")):
            faults.append(f"routing.key is {key!r}; it must be request_id, field:ids or header:<name>")
        if len(self.routing.salt.encode()) > 64:
            faults.append("routing.salt is longer than 64 bytes")
        if self.deadline_ms <= 0:
            faults.append(f"deadline_ms is {self.deadline_ms:g}; it must be more than 0")
        if min(self.breaker.failures, self.breaker.window, self.breaker.open_for) <= 0:
            faults.append("breaker.failures, window and open_for must all be more than 0")
        return faults


def parse_plan(content: Mapping[str, Any]) -> RolloutPlan:
    """Parse the body of a request to create a rollout, without its ``supersede``. ``Refused`` if it is not valid."""
    try:
        return msgspec.convert({name: value for name, value in content.items() if name != "supersede"}, RolloutPlan)
    except msgspec.ValidationError as error:
        raise Refused(f"this is not a valid plan of a rollout: {error}") from error

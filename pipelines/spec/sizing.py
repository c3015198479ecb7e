"""A deployment's resources, health check, load balancing, cache and load test, as a model declares them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.runner import Size, mebibytes

Cpu = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]*m|[1-9][0-9]*(\.[0-9]+)?|0\.[0-9]+)$")]
"""Cores, as in ``500m`` or ``2``."""


class Autoscaling(DeclarationBlock):
    """Adds replicas above ``target_value`` requests per second and replica, or above a utilization."""

    enabled: bool = True
    metric: Literal["requests-per-second", "cpu"] = "requests-per-second"
    target_value: float = Field(default=100, gt=0)
    """Requests per second and replica, or percent of the requested CPU."""
    cpu_utilization: int | None = Field(default=None, ge=1, le=100)
    memory_utilization: int | None = Field(default=None, ge=1, le=100)


class Resources(DeclarationBlock):
    replicas: int = Field(default=1, ge=1, le=1000)
    min_replicas: int | None = Field(default=None, ge=1)
    max_replicas: int | None = Field(default=None, ge=1)
    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Size | None = None
    memory_limit: Size | None = None
    accelerator: Literal["none", "gpu"] = "none"
    autoscaling: Autoscaling | None = None

    @model_validator(mode="after")
    def check_consistency(self) -> Self:
        faults = []
        least, most = self.min_replicas or self.replicas, self.max_replicas or self.replicas
        if not least <= self.replicas <= most:
            faults.append(f"replicas {self.replicas} lies outside min_replicas {least} to max_replicas {most}")
        if self.cpu_request and self.cpu_limit and parse_cores(self.cpu_request) > parse_cores(self.cpu_limit):
            faults.append(f"cpu_request {self.cpu_request} > cpu_limit {self.cpu_limit}")
        if self.memory_request and self.memory_limit and mebibytes(self.memory_request) > mebibytes(self.memory_limit):
            faults.append(f"memory_request {self.memory_request} > memory_limit {self.memory_limit}")
        if self.autoscaling and self.autoscaling.enabled and most == least:
            faults.append("autoscaling needs max_replicas above min_replicas")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class HealthCheck(DeclarationBlock):
    """Times in seconds."""

    enabled: bool = True
    path: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/_.-]*$")] = "/ready"
    interval: int = Field(default=10, ge=1)
    timeout: int = Field(default=5, ge=1)
    success_threshold: int = Field(default=1, ge=1)
    failure_threshold: int = Field(default=3, ge=1)
    initial_delay: int = Field(default=0, ge=0)


class SessionAffinity(DeclarationBlock):
    enabled: bool = False
    timeout: int = Field(default=3600, ge=1, le=86400)


class GeoRouting(DeclarationBlock):
    enabled: bool = False
    regions: list[str] = []


class LoadBalancing(DeclarationBlock):
    algorithm: Literal["round-robin", "least-connections"] = "round-robin"
    health_check_interval: int | None = Field(default=None, ge=1)
    session_affinity: SessionAffinity = SessionAffinity()
    geo_routing: GeoRouting = GeoRouting()


class AtMost(DeclarationBlock):
    max: float = Field(gt=0)


class Assertions(DeclarationBlock):
    """Limits of a load test; latencies in milliseconds from the time at which a request was due."""

    p95_latency: AtMost | None = None
    p99_latency: AtMost | None = None
    error_rate: AtMost | None = None

    @model_validator(mode="after")
    def check_has_assertion(self) -> Self:
        if self.p95_latency is None and self.p99_latency is None and self.error_rate is None:
            raise ValueError("declare p95_latency, p99_latency or error_rate, so that the test can fail")
        if self.error_rate is not None and self.error_rate.max >= 1:
            raise ValueError(f"error_rate.max is {self.error_rate.max:g}; it must be a share below 1")
        return self


class LoadTestSpec(DeclarationBlock):
    """Requests at a fixed rate that does not depend on the candidate's answers (open loop)."""

    duration: float = Field(default=60, gt=0, le=4 * 3600)
    """Seconds, including the ramp."""
    target_rps: float = Field(default=50, gt=0, le=20000)
    ramp_up_time: float = Field(default=10, ge=0)
    rows: int = Field(default=1, ge=1, le=1000)
    """Rows per request."""
    assertions: Assertions

    @model_validator(mode="after")
    def check_has_plateau(self) -> Self:
        if self.ramp_up_time >= self.duration:
            raise ValueError(f"ramp_up_time {self.ramp_up_time:g} must be below duration {self.duration:g}")
        return self


class TargetCache(DeclarationBlock):
    """A cache of answers by version and rows. No target supports ``enabled: true``: use ``gateway.yaml``."""

    enabled: bool = False
    backend: Literal["memory", "redis"] = "memory"
    ttl: float = Field(default=300, gt=0)
    key_pattern: str | None = None
    max_size: Size = "32Mi"


def parse_cores(cpu: str) -> float:
    """``500m`` to 0.5."""
    return int(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)

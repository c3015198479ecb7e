"""Samples what a training costs its machine in CPU and memory, at most once a second."""

from __future__ import annotations

import time

import psutil

SAMPLE_SECONDS = 1.0
MEGABYTE = 1024 * 1024


class SystemMetrics:
    """Samples of this process and its machine under MLflow's names for them.

    ``system/cpu_utilization_percentage``: of the whole machine since the sample before; ``system/process_*``: of this
    process, its CPU as a percentage of one core.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()
        psutil.cpu_percent()
        self._next = time.monotonic() + SAMPLE_SECONDS

    def sample(self, *, now: bool = False) -> dict[str, float] | None:
        """A sample if one is due, or if ``now`` is true."""
        if not now and time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + SAMPLE_SECONDS
        memory = psutil.virtual_memory()
        return {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": (memory.total - memory.available) / MEGABYTE,
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_cpu_percentage": self._process.cpu_percent(),
            "system/process_memory_megabytes": self._process.memory_info().rss / MEGABYTE,
        }

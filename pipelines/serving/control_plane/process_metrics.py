"""Prometheus text about the gateway's processes: CPU and memory of each, and what the machine or container allows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from pipelines.serving.ipc.metrics import format_labels, metric_head

CGROUP_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files of version 2 and 1 of control groups; ``max`` or a number beyond the machine's memory is no limit."""


def process_lines(processes: Mapping[str, int]) -> str:
    """CPU seconds and resident bytes of each process by its name; one that has ended meanwhile is left out.

    ``processes``: name to process id.
    """
    cpu, memory = [], []
    for name, pid in sorted(processes.items()):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(pid)
            times, labels = process.cpu_times(), format_labels(process=name)
            cpu.append(f"airworthy_process_cpu_seconds_total{labels} {times.user + times.system:.3f}")
            memory.append(f"airworthy_process_resident_bytes{labels} {process.memory_info().rss}")
    lines = [
        *metric_head("airworthy_process_cpu_seconds_total", "counter", "CPU time of one process of the gateway."),
        *cpu,
        *metric_head("airworthy_process_resident_bytes", "gauge", "Memory of one process of the gateway."),
        *memory,
        *metric_head("airworthy_memory_limit_bytes", "gauge", "Memory that the gateway's processes have together."),
        f"airworthy_memory_limit_bytes {memory_limit()}",
        *metric_head("airworthy_cpus", "gauge", "CPUs that the gateway's processes may use."),
        f"airworthy_cpus {len(os.sched_getaffinity(0))}",
    ]
    return "".join(f"{line}\n" for line in lines)


def memory_limit(limits: Iterable[Path] = CGROUP_MEMORY_LIMITS) -> int:
    """Bytes: the limit of the container, or the memory of the machine where there is none."""
    available = psutil.virtual_memory().total
    for path in limits:
        with contextlib.suppress(OSError, ValueError):
            available = min(available, int(path.read_text()))
    return int(available)

"""Draws a load test: the rate and the slowest answer over time, and the share of requests slower than each latency."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipelines.messages.release import LoadTestResult
from pipelines.spec.sizing import LoadTestSpec

BLUE, ORANGE, GREY, RED = "#1f5fa8", "#d1782f", "#8a8f98", "#b3261e"
TAIL_SHARES = {"p95": 0.05, "p99": 0.01}


def draw(result: LoadTestResult, declared: LoadTestSpec) -> bytes:
    """PNG, without a display."""
    figure = Figure(figsize=(8.6, 9.6), layout="constrained")
    title = f"{result.model} version {result.version} at {declared.target_rps:g} requests/s"
    figure.suptitle(title, fontsize=13, fontweight="bold", x=0.02, ha="left")
    rate, latency, tail = figure.subplots(3, 1)
    seconds = np.array(result.per_second or [[0.0] * 5], dtype=np.float64)
    limits = {"p95": declared.assertions.p95_latency, "p99": declared.assertions.p99_latency}
    asserted = {name: limit.max for name, limit in limits.items() if limit is not None}
    _plot_rate(rate, seconds, declared)
    _plot_latency(latency, seconds, asserted)
    _plot_tail(tail, result, asserted)
    content = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _plot_rate(axes: Any, seconds: Any, declared: LoadTestSpec) -> None:
    x_label = [0.0, declared.ramp_up_time, declared.duration]
    declared_rps = [0.0 if declared.ramp_up_time else declared.target_rps, declared.target_rps, declared.target_rps]
    axes.plot(x_label, declared_rps, color=GREY, linewidth=1, linestyle="--", label="declared")
    axes.plot(seconds[:, 0] + 0.5, seconds[:, 1], color=BLUE, linewidth=2, label="sent")
    axes.plot(seconds[:, 0] + 0.5, seconds[:, 2], color=ORANGE, linewidth=1.5, label="answered")
    if seconds[:, 3].any():
        axes.plot(seconds[:, 0] + 0.5, seconds[:, 3], color=RED, linewidth=1.5, label="errors")
    axes.set_ylim(bottom=0)
    _label_axes(axes, "Seconds at which they were due", "Requests per second")


def _plot_latency(axes: Any, seconds: Any, asserted: dict[str, float]) -> None:
    axes.plot(seconds[:, 0] + 0.5, np.maximum(seconds[:, 4], 0.01), color=BLUE, linewidth=1.5, label="slowest answer")
    for name, limit in asserted.items():
        axes.axhline(limit, color=RED, linewidth=1, linestyle="--", label=f"{name} at most {limit:g} ms")
    axes.set_yscale("log")
    _label_axes(axes, "Seconds at which they were due", "Milliseconds since due")


def _plot_tail(axes: Any, result: LoadTestResult, asserted: dict[str, float]) -> None:
    """Share of the requests that took longer; an unanswered one took longer than any latency."""
    edges = np.array([float(edge) for edge in result.histogram if edge != "never"])
    counts = np.array([count for edge, count in result.histogram.items() if edge != "never"], dtype=np.float64)
    total = float(sum(result.histogram.values()))
    if total:
        beyond = np.maximum(total - np.cumsum(counts), 0) / total
        axes.step(edges, np.maximum(beyond, 0.1 / total), where="post", color=BLUE, linewidth=2, label="measured")
        axes.set_ylim(0.5 / total, 1.2)
    for name, limit in asserted.items():
        axes.plot(
            [limit], [TAIL_SHARES[name]], marker="v", markersize=9, color=RED, linestyle="none", label=f"{name} limit"
        )
    if len(edges) or asserted:  # a logarithmic axis needs data
        axes.set_xscale("log")
        axes.set_yscale("log")
    _label_axes(axes, "Milliseconds since due", "Share that took longer")


def _label_axes(axes: Any, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)

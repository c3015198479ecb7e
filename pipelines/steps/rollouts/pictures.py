"""Draws how two versions differed in a shadow or an A/B test, as PNG without a display."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from pipelines.messages.comparison import ExperimentMeasure, MetricInterval, ShadowMeasure
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import Shadow
from pipelines.verdict import significant

CANDIDATE, CHAMPION, GREY, RED = "#1f5fa8", "#d1782f", "#8a8f98", "#b3261e"
MAX_POINTS = 2000
"""Points of the scatter (drawn at random) and of a line at most."""
MAX_TIME_SLOTS = 40
"""Slots of the averages over time at most."""


def shadow_picture(measure: ShadowMeasure, pairs: pl.DataFrame, spec: ModelSpec) -> bytes:
    """Disagreement over time, score against score, the scores' distributions, and the latencies."""
    shadow = spec.deployment.shadow_plan or Shadow()
    figure = Figure(figsize=(11, 8.6), layout="constrained")
    (over_time, scatter), (scores, latency) = figure.subplots(2, 2)
    counts = f"{measure.compared:,} answers compared, {measure.disagreed:,} differ by more than {shadow.tolerance:g}"
    subject = f"{measure.model}: version {measure.version} in the shadow of version {measure.champion}"
    figure.suptitle(f"{subject}\n{counts}", x=0.01, ha="left", fontsize=12, fontweight="bold")
    _plot_disagreement(over_time, pairs, shadow)
    _plot_scatter(scatter, pairs, shadow)
    _plot_scores(scores, pairs, measure)
    _plot_latencies(latency, pairs, measure)
    return _png(figure)


def _plot_disagreement(axes: Any, pairs: pl.DataFrame, shadow: Shadow) -> None:
    differs = (pl.col("candidate") - pl.col("champion")).abs() > shadow.tolerance
    ordered = pairs.sort("logged_at").select("logged_at", differs.alias("differs"))
    size = max(1, -(-ordered.height // MAX_TIME_SLOTS))
    slots = (
        ordered.with_row_index("place")
        .group_by(pl.col("place") // size, maintain_order=True)
        .agg(pl.col("logged_at").last(), pl.col("differs").mean().alias("share"))
    )
    times, limit = slots["logged_at"].to_list(), 100 * shadow.max_disagreement
    running = ordered.with_columns((pl.col("differs").cum_sum() / pl.int_range(1, pl.len() + 1)).alias("share"))
    running = running.gather_every(max(1, ordered.height // MAX_POINTS))
    axes.plot(
        times, 100 * slots["share"].to_numpy(), color=GREY, marker=".", linewidth=1, label=f"per {size:,} answers"
    )
    so_far = 100 * running["share"].to_numpy()
    axes.plot(running["logged_at"].to_list(), so_far, color=CANDIDATE, linewidth=2, label="so far")
    axes.axhline(limit, color=RED, linestyle="--", linewidth=1.2, label=f"limit {limit:g} %")
    axes.set_ylim(0, max(1.5 * limit, 140 * float(slots["share"].to_numpy().max())))
    locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    _label_axes(axes, "Disagreement over time", "UTC", "Share that differs (%)", legend="upper right")


def _plot_scatter(axes: Any, pairs: pl.DataFrame, shadow: Shadow) -> None:
    drawn = pairs.sample(min(MAX_POINTS, pairs.height), seed=0)
    champion, candidate = drawn["champion"].to_numpy(), drawn["candidate"].to_numpy()
    low, high = float(min(champion.min(), candidate.min())), float(max(champion.max(), candidate.max()))
    room = 0.04 * (high - low) or 0.5
    ends = np.array([low - room, high + room])
    band = f"within {shadow.tolerance:g}"
    axes.fill_between(ends, ends - shadow.tolerance, ends + shadow.tolerance, color=GREY, alpha=0.18, label=band, lw=0)
    axes.scatter(champion, candidate, s=9, alpha=0.35, color=CANDIDATE, linewidths=0)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    shown = f"{drawn.height:,} of {pairs.height:,} answers"
    _label_axes(axes, f"The same requests, answered by both ({shown})", "Champion", "Candidate", legend="upper left")


def _plot_scores(axes: Any, pairs: pl.DataFrame, measure: ShadowMeasure) -> None:
    both = np.concatenate([pairs[name].to_numpy() for name in ("champion", "candidate")])
    edges = np.linspace(both.min(), both.max() if both.max() > both.min() else both.min() + 1, 41)
    for name, colour, version in (("champion", CHAMPION, measure.champion), ("candidate", CANDIDATE, measure.version)):
        values = pairs[name].to_numpy()
        label = f"{name}, version {version} (mean {significant(values.mean())})"
        axes.hist(values, bins=edges, histtype="step", linewidth=2, color=colour, label=label)
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    shift = "not measured" if measure.score_psi is None else f"{measure.score_psi:.3f}"
    _label_axes(axes, f"Scores (stability index {shift})", "Prediction", "Answers", legend="upper right")


def _plot_latencies(axes: Any, pairs: pl.DataFrame, measure: ShadowMeasure) -> None:
    for name, colour, what in (
        ("champion_us", CHAMPION, "champion, the whole request"),
        ("candidate_us", CANDIDATE, "candidate, the prediction alone"),
    ):
        values = np.sort(pairs[name].drop_nulls().to_numpy()) / 1000
        if len(values):
            label = (
                f"{what} (median {significant(np.median(values))} ms, p99 {significant(np.quantile(values, 0.99))} ms)"
            )
            shares = np.linspace(0, 1, min(len(values), MAX_POINTS))
            axes.plot(np.maximum(np.quantile(values, shares), 1e-3), shares, color=colour, label=label)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.35)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ratio = "not measured" if measure.latency_ratio is None else f"{measure.latency_ratio:.2f}"
    _label_axes(axes, f"Latency (ratio of the medians {ratio})", "Milliseconds", "Share answered by then", "upper left")


def experiment_picture(measure: ExperimentMeasure, spec: ModelSpec) -> bytes:
    """The interval of each metric's difference, each on a scale of its own; dashed: the accepted loss."""
    declared = spec.deployment.ab
    margin = declared.margin if declared else 0.0
    figure = Figure(figsize=(9.6, 2.4 + 1.05 * len(measure.metrics)), layout="constrained")
    grid = figure.subplots(len(measure.metrics), 1, squeeze=False)[:, 0]
    users = f"{measure.variant_units:,} users of the variant, {measure.control_units:,} of the control"
    subject = f"{measure.model}: version {measure.variant} against version {measure.control}"
    figure.suptitle(f"{subject}\n{users}", x=0.01, ha="left", fontsize=12, fontweight="bold")
    for place, (axes, metric) in enumerate(zip(grid, measure.metrics, strict=True)):
        _plot_interval(axes, metric, margin if place else 0.0, decides=place == 0)
    grid[-1].set_xlabel("variant minus control, each in its own unit (latency: relative)", fontsize=9)
    return _png(figure)


def _plot_interval(axes: Any, metric: MetricInterval, margin: float, *, decides: bool) -> None:
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks([0], [metric.metric + (" (decides)" if decides else "")])
    axes.set_ylim(-1, 1)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    means = f"control {_format_number(metric.control)}, variant {_format_number(metric.variant)}"
    if metric.estimate is None or metric.low is None or metric.high is None:
        axes.set_title(f"{means}: no interval yet", fontsize=9, loc="left", color="#505762")
        axes.set_xticks([])
        return
    sign = {"higher": 1, "lower": -1, "same": 0}[metric.better]
    colour = GREY
    if sign and metric.low > 0:
        colour = CANDIDATE if sign > 0 else RED
    elif sign and metric.high < 0:
        colour = RED if sign > 0 else CANDIDATE
    if margin:
        for end in (-margin, margin) if metric.better == "same" else (-sign * margin,):
            axes.axvline(end, color=RED, linestyle="--", linewidth=1)
    axes.plot([metric.low, metric.high], [0, 0], color=colour, linewidth=4, solid_capstyle="butt")
    axes.plot([metric.estimate], [0], marker="o", markersize=8, color=colour, markeredgecolor="white")
    better = {"higher": "more is better", "lower": "less is better", "same": "should stay"}[metric.better]
    span = f"{metric.estimate:+.4g} [{metric.low:+.4g}, {metric.high:+.4g}]"
    axes.set_title(f"{span}, {better}; {means}", fontsize=9, loc="left", color="#505762")


def _format_number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _label_axes(axes: Any, title: str, x_label: str, y_label: str, legend: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc=legend, frameon=False, fontsize=8)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()

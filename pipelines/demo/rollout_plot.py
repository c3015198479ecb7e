"""Draws a rollout as one picture: which version answered, which requests failed, and each decision."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipelines.ports import LedgerEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BIN_SECONDS = 2.0
LETTER_WIDTH = 0.0054
"""Width of a letter of the labels, as a share of the panel's."""
PROMOTION_SECONDS = 0.5
"""Seconds after which an answer shows who the champion is: a promotion reaches all workers by then."""
COLORS = ("#9fb8d0", "#e8a33d", "#7fb069", "#b07fa6")
EVENT_COLORS = {
    "passed": "#7f8c8d",
    "shift": "#555555",
    "approval": "#3d7ab5",
    "promoted": "#2e8b57",
    "rolled back": "#c0392b",
    "trouble": "#8e44ad",
}
PASSED_LABELS = {"load_test": "load test passed", "shadow_comparison": "shadow passed"}
"""Practices whose pass is shown."""

TimelineEvent = tuple[float, str, str]
"""Seconds since 1970, kind (of ``EVENT_COLORS``), text."""


def read_timeline(lines: list[LedgerEntry], since: float) -> list[TimelineEvent]:
    """The decisions in the ledger since then, oldest first."""
    timeline: list[TimelineEvent] = []
    for line in lines:
        at, details = line.at.timestamp(), line.details
        if at < since:
            continue
        if line.kind == "approval_answer" and details.get("choice") == "approve":
            timeline.append((at, "approval", str(details.get("person") or details.get("role"))))
        elif line.kind == "release":
            timeline.append((at, "promoted", f"version {line.version} is champion"))
        elif line.kind == "rollback":
            timeline.append((at, "rolled back", f"version {details.get('from')} rolled back"))
        elif line.kind == "rollout" and details.get("practice") in PASSED_LABELS and details.get("outcome") == "pass":
            timeline.append((at, "passed", PASSED_LABELS[details["practice"]]))
        elif line.kind == "rollout" and details.get("practice") == "canary_step":
            share = details.get("share") or (details.get("facts") or {}).get("share")
            timeline.append((at, "shift", f"{float(share) / 100:g} %" if share is not None else "shift"))
    return timeline


def count_answers(answers: pl.DataFrame) -> pl.DataFrame:
    """Per bin of two seconds, version and arm: ``second``, ``version``, ``arm``, ``answers``, ``errors``, ``instead``
    (the champion answered in the candidate's place)."""
    start = float(answers["at"].min() or 0.0)  # type: ignore[arg-type]
    return (
        answers.sort("at")
        .with_columns(instead=_is_fallback(answers))
        .with_columns(second=((pl.col("at") - start) / BIN_SECONDS).floor() * BIN_SECONDS)
        .group_by("second", "version", "arm")
        .agg(answers=pl.len(), errors=(pl.col("status") != 200).sum(), instead=pl.col("instead").sum())
        .sort("second", "version", "arm")
    )


def _is_fallback(answers: pl.DataFrame) -> pl.Series:
    """For each answer, by time: whether it came from the version that was the champion a moment before, though the
    request was the candidate's."""
    ordered = answers.sort("at")
    champions = ordered.filter(pl.col("arm") == "champion", pl.col("status") == 200)
    known = champions.select(pl.col("at") + PROMOTION_SECONDS, champion="version")
    joined = ordered.join_asof(known, on="at")
    return ((joined["arm"] == "candidate") & (joined["version"] == joined["champion"]).fill_null(False)).cast(pl.Int64)


def draw(answers: pl.DataFrame, timeline: list[TimelineEvent], path: Path, *, title: str) -> None:
    """Write the picture as PNG: above the shares of the answers by version, below the errors and fallbacks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    begun, bins = float(answers["at"].min() or 0.0), count_answers(answers)  # type: ignore[arg-type]
    figure = Figure(figsize=(11, 6.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _plot_shares(upper, bins)
    _plot_errors(lower, bins)
    for axes in (upper, lower):
        for at, kind, _ in timeline:
            axes.axvline(
                at - begun,
                color=EVENT_COLORS[kind],
                linewidth=1,
                linestyle="--" if kind in ("shift", "passed") else "-",
            )
    _label_events(upper, [(at - begun, kind, text) for at, kind, text in timeline])
    moment = datetime.fromtimestamp(begun, UTC)
    lower.set_xlabel(f"seconds since {moment:%Y-%m-%d %H:%M:%S} UTC")
    figure.suptitle(title, fontsize=12)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _plot_shares(axes: Axes, bins: pl.DataFrame) -> None:
    good = bins.filter(pl.col("version") != "").group_by("second", "version").agg(pl.col("answers").sum())
    wide = good.pivot(on="version", index="second", values="answers").fill_null(0).sort("second")
    versions = sorted((name for name in wide.columns if name != "second"), key=lambda name: (len(name), name))
    total = sum((wide[name] for name in versions), start=wide["second"] * 0)
    heights = [(wide[name] / total * 100).to_list() for name in versions]
    labels = [f"version {name}" for name in versions]
    axes.stackplot(wide["second"].to_list(), heights, labels=labels, colors=COLORS, step="post")
    axes.set_ylabel("share of the answers, %")
    axes.set_ylim(0, 100)
    axes.margins(x=0)
    axes.legend(loc="lower left", framealpha=0.9, ncols=len(versions))


def _plot_errors(axes: Axes, bins: pl.DataFrame) -> None:
    """Callers' errors, and the share of the candidate's requests that the champion had to answer."""
    every = bins.group_by("second").agg(pl.col("answers").sum(), pl.col("errors").sum()).sort("second")
    rate = (every["errors"] / every["answers"] * 100).to_list()
    axes.step(every["second"].to_list(), rate, where="post", color="#c0392b", label="callers' errors, all arms")
    mine = bins.filter(pl.col("arm") == "candidate").group_by("second").agg(pl.col("answers", "instead").sum())
    if mine.height:
        share = (mine["instead"] / mine["answers"] * 100).to_list()
        label = "candidate's requests that the champion answered"
        axes.bar(mine["second"].to_list(), share, width=BIN_SECONDS, align="edge", color="#8e44ad", label=label)
    axes.set_ylabel("%")
    axes.set_ylim(-3, 103)
    axes.margins(x=0)
    axes.legend(loc="upper left", framealpha=0.9)


def _label_events(axes: Axes, timeline: list[TimelineEvent]) -> None:
    """Texts above the upper panel, on levels so that neighbours do not cover each other."""
    low, high = axes.get_xlim()
    free = [low] * 6
    for at, kind, text in timeline:
        level = next((number for number, until in enumerate(free) if until <= at), len(free) - 1)
        free[level] = at + (len(text) + 2) * (high - low) * LETTER_WIDTH
        axes.annotate(
            text,
            xy=(at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(1, 3 + 11 * level),
            textcoords="offset points",
            fontsize=7.5,
            color=EVENT_COLORS[kind],
        )

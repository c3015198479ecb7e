"""Draws how soon each harmful stream was found, by kind, as PNG without a display."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipelines.prove.proof import DRIFT, FOLLOWED, Outcome
from pipelines.prove.streams import HARMFUL

BY_INPUTS, BY_LABELS, MISSED = "#1f5fa8", "#d1782f", "#8a8f98"
BESIDE = 0.11
"""How far streams that were found on one day stand from one another."""
TICKS = (1, 2, 3, 7, 14, 30, 60, FOLLOWED)
NOT_FOUND = 1.5 * FOLLOWED


def delays_plot(model: str, outcomes: Sequence[Outcome]) -> bytes:
    """One point a stream: the day on which it was found, beyond the last day if it was not."""
    harmful = [outcome for outcome in outcomes if outcome.is_harmful]
    kinds = [kind for kind in HARMFUL if any(outcome.kind == kind for outcome in harmful)][::-1]
    figure = Figure(figsize=(8, 0.9 + 0.62 * max(len(kinds), 1)), dpi=120, layout="constrained")
    axes = figure.subplots()
    placed: Counter[tuple[str, int | None]] = Counter()
    shown: set[str] = set()
    for outcome in sorted(harmful, key=lambda each: each.number):
        place = placed[outcome.kind, outcome.found_after]
        placed[outcome.kind, outcome.found_after] += 1
        height = kinds.index(outcome.kind) + BESIDE * ((place + 1) // 2) * (-1 if place % 2 else 1)
        label, colour = _lane(outcome)
        day = NOT_FOUND if outcome.found_after is None else outcome.found_after
        axes.plot(day, height, "o", markersize=5, color=colour, alpha=0.8, label=None if label in shown else label)
        shown.add(label)
    axes.set_xscale("log")
    axes.set_xticks([*TICKS, NOT_FOUND], [*map(str, TICKS), "not"])
    axes.minorticks_off()
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set_xlim(0.85, NOT_FOUND * 1.25)
    axes.set_ylim(-0.6, len(kinds) - 0.4)
    axes.grid(axis="x", color="#e4e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("day after the onset on which it was found")
    axes.set_title(f"{model}: how soon harm is found ({len(harmful)} streams)", loc="left")
    if shown:
        axes.legend(loc="lower left", bbox_to_anchor=(0, -0.42), ncols=3, frameon=False)
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)  # type: ignore[no-untyped-call]
    return png.getvalue()


def _lane(outcome: Outcome) -> tuple[str, str]:
    if outcome.found_after is None:
        return "not found", MISSED
    return ("by the inputs", BY_INPUTS) if outcome.by == DRIFT else ("by the labels", BY_LABELS)

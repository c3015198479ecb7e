"""Draws the evaluation plots of a candidate, with the champion on the same rows, as PNG without a display."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn import metrics as sk

from pipelines.steps.evaluation.metrics import Array

CANDIDATE, CHAMPION, GREY = "#1f5fa8", "#d1782f", "#8a8f98"
COLOURS = (CANDIDATE, CHAMPION)
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class PlotInput:
    """The target of the compared rows and each model's answers by legend name, candidate first.

    ``title`` names model and rows; ``threshold`` is from where on a probability is a yes.
    """

    title: str
    target: Array
    answers: Mapping[str, Array]
    threshold: float = 0.5


def draw(problem: str, drawing: PlotInput) -> dict[str, bytes]:
    """Plot name to PNG. A classification with one class only has no ROC and no precision-recall curve."""
    target = drawing.target
    if len(target) == 0:
        return {}
    if problem == "regression":
        plots: dict[str, Callable[[PlotInput], Figure]] = {
            "residuals": residuals,
            "predicted_vs_actual": predicted_vs_actual,
        }
    else:
        plots = {"calibration": calibration, "confusion": confusion}
        if target.min() < target.max():
            plots = {"roc": roc, "precision_recall": precision_recall, **plots}
    return {name: _png(plot(drawing)) for name, plot in plots.items()}


def roc(drawing: PlotInput) -> Figure:
    figure, axes = _square_axes("ROC curve", drawing.title)
    for (name, answers), colour in zip(drawing.answers.items(), COLOURS, strict=False):
        false_rate, true_rate, thresholds = sk.roc_curve(drawing.target, answers)
        area = sk.roc_auc_score(drawing.target, answers)
        axes.plot(
            false_rate,
            true_rate,
            color=colour,
            linewidth=2,
            label=f"{name}  (area {area:.3f}; ● at {drawing.threshold:g})",
        )
        _mark_threshold(axes, false_rate, true_rate, thresholds, drawing.threshold, colour)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="chance  (area 0.500)")
    _label_axes(axes, "False positive rate", "True positive rate", legend="lower right")
    return figure


def precision_recall(drawing: PlotInput) -> Figure:
    figure, axes = _square_axes("Precision and recall", drawing.title)
    for (name, answers), colour in zip(drawing.answers.items(), COLOURS, strict=False):
        precision, recall, thresholds = sk.precision_recall_curve(drawing.target, answers)
        area = sk.average_precision_score(drawing.target, answers)
        # The first percent of recall comes from few rows and would look like a peak.
        steady = recall >= min(0.01, float(recall.max()))
        label = f"{name}  (average precision {area:.3f}; ● at {drawing.threshold:g})"
        axes.plot(recall[steady], precision[steady], color=colour, linewidth=2, label=label)
        _mark_threshold(axes, recall[:-1], precision[:-1], thresholds, drawing.threshold, colour)
    share = float(drawing.target.mean())
    axes.axhline(share, color=GREY, linewidth=1, linestyle="--", label=f"share of positives  ({share:.3f})")
    axes.set_ylim(0, 1.02)
    _label_axes(axes, "Recall", "Precision", legend="upper right")
    return figure


def calibration(drawing: PlotInput) -> Figure:
    """Mean prediction against the observed share, in ten bins of equally many rows, over the predictions' histogram."""
    figure = Figure(figsize=(6.4, 7.2), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    _title(figure, axes, "Calibration", drawing.title)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfect")
    for (name, answers), colour in zip(drawing.answers.items(), COLOURS, strict=False):
        bins = [part for part in np.array_split(np.argsort(answers, kind="stable"), CALIBRATION_BINS) if len(part)]
        predicted = [float(answers[part].mean()) for part in bins]
        observed = [float(drawing.target[part].mean()) for part in bins]
        axes.plot(predicted, observed, color=colour, linewidth=2, marker="o", markersize=5, label=name)
        below.hist(answers, bins=50, range=(0, 1), histtype="step", color=colour, linewidth=1.5)
    axes.set_ylim(-0.02, 1.02)
    below.set_xlim(-0.02, 1.02)
    _label_axes(axes, "", "Observed share", legend="upper left")
    _label_axes(below, "Predicted probability", "Rows")
    return figure


def confusion(drawing: PlotInput) -> Figure:
    """Counts and row shares at the declared threshold, one matrix per model."""
    figure = Figure(figsize=(4.6 * len(drawing.answers) + 0.6, 5.0), layout="constrained")
    grid = figure.subplots(1, len(drawing.answers), squeeze=False)[0]
    figure.suptitle(f"Confusion at threshold {drawing.threshold:g}\n{drawing.title}", fontsize=11, x=0.02, ha="left")
    for axes, (name, answers) in zip(grid, drawing.answers.items(), strict=True):
        counts = sk.confusion_matrix(drawing.target == 1, answers >= drawing.threshold, labels=[False, True])
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(2, 2):
            ink = "white" if shares[row, column] > 0.55 else "#202428"
            text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=12)
        axes.set_xticks([0, 1], ["no", "yes"])
        axes.set_yticks([0, 1], ["no", "yes"])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("Predicted")
        axes.set_ylabel("Actual")
    return figure


def residuals(drawing: PlotInput) -> Figure:
    """Actual minus predicted, as distributions that share their bins; the outer 0.5 % at each end go to the edges."""
    figure, axes = _square_axes("Residuals", drawing.title)
    errors = {name: drawing.target - answers for name, answers in drawing.answers.items()}
    low, high = np.quantile(np.concatenate(list(errors.values())), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 61)
    for (name, values), colour in zip(errors.items(), COLOURS, strict=False):
        label = f"{name}  (mean {values.mean():+.2f}, mean size {np.abs(values).mean():.2f})"
        axes.hist(np.clip(values, low, high), bins=edges, histtype="step", linewidth=2, color=colour, label=label)
    axes.axvline(0, color=GREY, linewidth=1, linestyle="--")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.18)
    _label_axes(axes, "Actual minus predicted", "Rows", legend="upper right")
    return figure


def predicted_vs_actual(drawing: PlotInput) -> Figure:
    """The candidate's rows as a density, and for both models the median actual value per tenth of the predictions."""
    figure, axes = _square_axes("Predicted and actual", drawing.title)
    everything = np.concatenate([drawing.target, *drawing.answers.values()])
    low, high = np.quantile(everything, [0.005, 0.995])
    high = high if high > low else low + 1
    first = next(iter(drawing.answers.values()))
    axes.hexbin(first, drawing.target, gridsize=55, extent=(low, high, low, high), bins="log", cmap="Greys", mincnt=1)
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--", label="perfect")
    for (name, answers), colour in zip(drawing.answers.items(), COLOURS, strict=False):
        bins = [part for part in np.array_split(np.argsort(answers, kind="stable"), CALIBRATION_BINS) if len(part)]
        predicted = [float(np.median(answers[part])) for part in bins]
        actual = [float(np.median(drawing.target[part])) for part in bins]
        axes.plot(predicted, actual, color=colour, linewidth=2, marker="o", markersize=5, label=f"{name}: median")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    _label_axes(axes, "Predicted", "Actual", legend="upper left")
    return figure


def _square_axes(heading: str, title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.subplots()
    _title(figure, axes, heading, title)
    return figure, axes


def _title(figure: Figure, axes: Any, heading: str, title: str) -> None:
    figure.suptitle(heading, fontsize=13, fontweight="bold", x=0.02, ha="left")
    axes.set_title(title, fontsize=9, color="#505762", loc="left")


def _mark_threshold(axes: Any, x: Array, y: Array, thresholds: Array, threshold: float, colour: str) -> None:
    """Mark the operating point: the lowest of the curve's thresholds that is not below ``threshold``."""
    inside = np.flatnonzero(thresholds >= threshold)
    if len(inside):
        point = inside[np.argmin(thresholds[inside])]
        axes.plot(x[point], y[point], marker="o", markersize=8, color=colour, markeredgecolor="white")


def _label_axes(axes: Any, x_label: str, y_label: str, legend: str | None = None) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(loc=legend, frameon=False, fontsize=9)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()

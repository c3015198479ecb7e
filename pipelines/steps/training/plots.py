"""Draws the learning curves of a training and the 25 most important features, as PNG."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

MAX_SHOWN_FEATURES = 25


def learning_curves(curves: dict[str, list[float]], learning_rates: list[float], best_round: int | None) -> bytes:
    """PNG: one panel per metric with train and validation, and one for the learning rate; a line at the best round."""
    metrics = sorted({name.partition("/")[2] for name in curves})
    figure = Figure(figsize=(7, 2.6 * (len(metrics) + 1)), layout="constrained")
    axes = figure.subplots(len(metrics) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for axis, metric in zip(axes, metrics, strict=False):
        for part in ("train", "validation"):
            axis.plot(curves[f"{part}/{metric}"], label=part)
        axis.set_ylabel(metric)
        axis.legend()
    axes[-1].plot(learning_rates, color="tab:gray")
    axes[-1].set_ylabel("learning rate")
    axes[-1].set_xlabel("boosting round")
    if best_round is not None:
        for axis in axes:
            axis.axvline(best_round, color="black", linewidth=0.8, linestyle=":")
    return _png(figure)


def feature_importance(importance: dict[str, float]) -> bytes:
    """PNG: features by their share of the total gain, largest first."""
    total = sum(importance.values()) or 1.0
    shown = sorted(importance.items(), key=lambda item: item[1], reverse=True)[:MAX_SHOWN_FEATURES][::-1]
    figure = Figure(figsize=(7, 0.8 + 0.28 * len(shown)), layout="constrained")
    axis = figure.subplots()
    axis.barh([name for name, _ in shown], [value / total for _, value in shown])
    axis.set_xlabel("share of total gain")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=110)
    return target.getvalue()

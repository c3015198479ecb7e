"""Writes what a trial has shown: data, features, split, metrics with the baseline, leaks, and what would be refused."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.trial import Trial
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.verdict import counted, significant

MOST_SHOWN = 8
"""Lines of one kind; the rest is counted."""
NULLS_SHOWN = 0.001
"""Share of rows without a value from which a feature is named."""


def trial_lines(trial: Trial, spec: ModelSpec, view: FeatureView, width: int) -> Iterator[str]:
    yield from data_lines(trial, view, width)
    yield from _split_lines(trial, spec, view, width)
    yield from _metric_lines(trial, spec, width)
    for name, reasons in trial.leaks.items():
        yield hanging_lines("question: ", f"is {name} known when the question is put? {'; '.join(reasons)}", width)
    yield from refused_lines(trial, width)


def data_lines(trial: Trial, view: FeatureView, width: int) -> Iterator[str]:
    """Rows of the sources, features without a value, and what was left out."""
    for name, source in trial.sources.items():
        judged = f"{source.accepted:,} rows accepted, {source.quarantined:,} quarantined"
        yield hanging_lines(f"{name}: ", f"{judged}, {counted(source.partitions, 'partition')}", width)
        for reason, rows in sorted(source.reasons.items(), key=lambda item: -item[1])[:MOST_SHOWN]:
            yield hanging_lines("  ", f"{counted(rows, 'row')}: {reason}", width)
    nulls = {name: share for name, share in trial.null_shares.items() if share >= NULLS_SHOWN}
    if trial.null_shares:
        listed = sorted(nulls.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} {share:.1%}" for name, share in listed[:MOST_SHOWN])
        more = f" and {len(listed) - MOST_SHOWN} more" if len(listed) > MOST_SHOWN else ""
        text = f"{len(trial.null_shares)} of {view.view}; without a value: {shown or 'none'}{more}"
        yield hanging_lines("features: ", text, width)
    for note in trial.notes:
        yield hanging_lines("note: ", note, width)


def _split_lines(trial: Trial, spec: ModelSpec, view: FeatureView, width: int) -> Iterator[str]:
    if trial.snapshot is None:
        return
    parts = trial.snapshot.parts
    for name, part in parts.items():
        share = f", label true in {part.positives / part.rows:.1%}" if part.positives is not None and part.rows else ""
        span = (
            f", {part.first:%Y-%m-%d} to {part.last:%Y-%m-%d}" if part.first and part.last and not view.is_table else ""
        )
        yield hanging_lines(f"{name + ':':<12}", f"{counted(part.rows, 'row')}{span}{share}", width)
    if spec.problem == "regression" and trial.label_mean is not None:
        yield f"label:      mean {significant(trial.label_mean)}"


def _metric_lines(trial: Trial, spec: ModelSpec, width: int) -> Iterator[str]:
    if not trial.metrics:
        return
    compared = spec.evaluation.comparison.metric
    names = dict.fromkeys([compared, *spec.evaluation.minimum_metrics])
    for name in names:
        value, base = trial.metrics.get(name), trial.baseline.get(name)
        text = f"{_number(value)}, a model that learnt nothing {_number(base)}"
        interval = trial.interval
        if name == compared and interval is not None and interval.low is not None and interval.high is not None:
            unit = "row" if interval.unit == "entity_id" else interval.unit
            text += (
                f"; gain {interval.gain:+.4f}, {interval.confidence:.0%} between {interval.low:+.4f} and "
                f"{interval.high:+.4f} by {counted(interval.units, unit)}"
            )
        elif name == compared:
            text += "; too few days for an interval"
        yield hanging_lines(f"{name + ':':<12}", text, width)
    if trial.rounds is not None:
        yield f"rounds:     {trial.rounds}"


def refused_lines(trial: Trial, width: int) -> Iterator[str]:
    """Reasons that several days share are told once, with how often."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for stage, reason in trial.refused:
        kind, _, day = stage.partition(" ")
        grouped.setdefault((kind, reason), []).append(day)
    for (kind, reason), days in list(grouped.items())[:MOST_SHOWN]:
        of_days = f" {days[0]}" if len(days) == 1 else f" {days[0]} and {len(days) - 1} more"
        yield hanging_lines("refused: ", f"{kind}{of_days if days[0] else ''}: {reason}", width)
    if len(grouped) > MOST_SHOWN:
        yield f"refused: and {len(grouped) - MOST_SHOWN} more reasons"
    if not grouped:
        yield "nothing would be refused"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"

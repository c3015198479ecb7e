"""Measures how well each column alone tells the label: by its values, nulls, times, and by what its texts hold."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
from scipy.stats import rankdata

from pipelines.rules.leaks import ColumnFacts

MOST_ROWS = 50_000
SEED = 0
FEWEST_OF_A_CLASS = 10
"""Rows of each class, or rows of a number, below which nothing is said."""
BINS = 20
MOST_CATEGORIES = 1_000
SHORTEST_CONTAINED = 2
"""Characters of a value that is looked for in texts."""


def leak_facts(
    columns: pl.DataFrame,
    label: pl.Series,
    *,
    is_condition: bool,
    outcome: pl.Series | None = None,
    moments: pl.Series | None = None,
) -> list[ColumnFacts]:
    """Facts of each column, of at most 50,000 rows that are drawn evenly.

    ``label``: a number per row, 0 or 1 of a condition, null where there is none. ``outcome``: the column that the label
    reads, if it is one. ``moments``: when each row is asked about (UTC).
    """
    if not columns.width:
        return []
    frame = columns.with_columns(
        label.cast(pl.Float64).alias("__label"),
        *([] if outcome is None else [outcome.alias("__outcome")]),
        *([] if moments is None else [moments.alias("__moment")]),
    )
    if frame.height > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, seed=SEED)
    held = {name: frame[name] for name in frame.columns if name.startswith("__")}
    return [
        _facts(
            frame[name],
            held["__label"],
            held.get("__outcome", held["__label"]),
            held.get("__moment"),
            is_condition=is_condition,
        )
        for name in columns.columns
    ]


def _facts(
    values: pl.Series, label: pl.Series, outcome: pl.Series, moments: pl.Series | None, *, is_condition: bool
) -> ColumnFacts:
    labelled = label.is_not_null()
    target = label.filter(labelled).to_numpy()
    here = values.filter(labelled)
    separation = _separation(here, target, is_condition=is_condition)
    by_nulls = None
    if 0 < here.null_count() < len(here):
        by_nulls = _agreement(here.is_null().cast(pl.Float64).to_numpy(), target, is_condition=is_condition)
    without, unlabelled = values.is_null(), outcome.is_null()
    nulls_within = (
        without.sum() >= FEWEST_OF_A_CLASS
        and bool((~without | unlabelled).all())
        and 2 * unlabelled.sum() < len(values)
    )
    nulls_alike = 0 < without.sum() < len(values) and bool((without == unlabelled).all())
    return ColumnFacts(
        name=values.name,
        separation=separation,
        separation_by_nulls=by_nulls,
        nulls_alike=nulls_alike,
        nulls_within=nulls_within,
        later_share=_later_share(values, moments),
        contains=_containment(values, outcome),
    )


def _separation(values: pl.Series, target: np.ndarray, *, is_condition: bool) -> float | None:
    """The best of the rank of a number, and of the mean label of its category or bin in the other half of the rows."""
    present = values.is_not_null()
    target, values = target[present.to_numpy()], values.filter(present)
    if isinstance(values.dtype, pl.Date | pl.Datetime):
        values = values.to_physical()
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        numbers = values.cast(pl.Float64).to_numpy()
        keys = _binned(numbers)
        scores = [numbers, _encoded(keys, target)]
    elif values.dtype == pl.String and values.n_unique() <= min(MOST_CATEGORIES, len(values) // 2):
        keys = values.rank("dense").cast(pl.Int64).to_numpy() - 1
        scores = [_encoded(keys, target)]
    else:
        return None
    agreements = [_agreement(score, target, is_condition=is_condition) for score in scores]
    measured = [agreement for agreement in agreements if agreement is not None]
    return max(measured, default=None)


def _binned(numbers: np.ndarray) -> np.ndarray:
    different, codes = np.unique(numbers, return_inverse=True)
    if len(different) <= BINS:
        return codes
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, numbers, side="right")


def _encoded(keys: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Each row's mean label of its key among the rows of the other half, so that no row tells of itself."""
    halves = np.random.default_rng(SEED).permutation(len(keys)) % 2
    encoded = np.zeros(len(keys))
    size = int(keys.max()) + 1 if len(keys) else 0
    for half in (0, 1):
        learnt, encoded_half = halves != half, halves == half
        mean = target[learnt].mean() if learnt.any() else 0.0
        counts = np.bincount(keys[learnt], minlength=size)
        sums = np.bincount(keys[learnt], weights=target[learnt], minlength=size)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
        encoded[encoded_half] = means[keys[encoded_half]]
    return encoded


def _agreement(score: np.ndarray, target: np.ndarray, *, is_condition: bool) -> float | None:
    """Of a condition the area under the ROC curve, of a number the rank correlation; whatever the direction.

    None: there are too few rows of a class, or all values are one.
    """
    if is_condition:
        positives = int((target == 1).sum())
        negatives = len(target) - positives
        if min(positives, negatives) < FEWEST_OF_A_CLASS:
            return None
        ranks = rankdata(score)
        area = (ranks[target == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)
        return float(max(area, 1 - area))
    if len(target) < FEWEST_OF_A_CLASS or np.ptp(score) == 0 or np.ptp(target) == 0:
        return None
    return float(abs(np.corrcoef(rankdata(score), rankdata(target))[0, 1]))


def _later_share(values: pl.Series, moments: pl.Series | None) -> float:
    """Share of the rows with a time that is after the moment of their row."""
    if moments is None or not isinstance(values.dtype, pl.Date | pl.Datetime):
        return 0.0
    later = values > (moments.dt.date() if isinstance(values.dtype, pl.Date) else moments)
    share = later.drop_nulls().mean()
    return 0.0 if share is None else float(str(share))


def _containment(values: pl.Series, outcome: pl.Series) -> float:
    """How often a text holds the outcome of its own row, beyond chance: 0 is as often as that of another row, 1 always.

    Source: Cohen's kappa.
    """
    if values.dtype != pl.String or not (outcome.dtype == pl.String or outcome.dtype.is_numeric()):
        return 0.0
    both = pl.DataFrame({"text": values, "own": outcome.cast(pl.String)}).drop_nulls()
    both = both.filter(pl.col("own").str.len_chars() >= SHORTEST_CONTAINED)
    if both.height < 2 * FEWEST_OF_A_CLASS or both["own"].n_unique() < 2:
        return 0.0
    other = np.random.default_rng(SEED).permutation(both.height)
    pairs = zip(both["text"], both["own"], both["own"].gather(other), strict=True)
    held = [(_has(text, own), _has(text, strange)) for text, own, strange in pairs]
    own, strange = (sum(part) / len(held) for part in zip(*held, strict=True))
    return (own - strange) / (1 - strange) if strange < 1 else 0.0


def _has(text: str, value: str) -> bool:
    return re.search(rf"(?<![\w]){re.escape(value.lower())}(?![\w])", text.lower()) is not None

"""The chi-squared test of homogeneity on category counts, with rare categories pooled so that it is valid."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.special import chdtrc

from pipelines.steps.drift.sketch import Floats
from pipelines.tables.profile import BUCKETS, CategoricalProfile, bucket_of

RARE, NULL = "(rare)", "(none)"
SMALLEST_EXPECTED = 5.0
"""Cochran's rule: the chi-squared distribution is a fair approximation where each cell expects five rows."""
SMALLEST_BUCKET = 50
"""Rows that a cell of rare categories expects on the smaller side: fewer would make an effect of chance."""


def pooled_counts(reference: CategoricalProfile, current: CategoricalProfile) -> tuple[list[str], Floats, Floats]:
    """Categories and their rows on both sides, rare ones pooled by a hash of their value, nulls last.

    Rare is a value of which either side expects fewer than five rows, and one that a side lists while the other may
    have it among its further values. Hashed into cells of 50 rows or more, a thousand renamed categories differ, of
    which each alone has too few rows; with fewer rows, or a profile that has no hashes, all rare ones are one cell.
    """
    ref, cur = reference.counts, current.counts
    n, m = reference.valued + reference.nulls, current.valued + current.nulls
    smaller_share = min(n, m) / (n + m) if n + m else 0.0

    def is_rare(name: str) -> bool:
        hidden = (reference.other and name not in ref) or (current.other and name not in cur)
        return bool(hidden) or (ref.get(name, 0) + cur.get(name, 0)) * smaller_share < SMALLEST_EXPECTED

    common = [name for name in sorted(set(ref) | set(cur)) if not is_rare(name)]
    sides = [[float(side.get(name, 0)) for name in common] for side in (ref, cur)]
    rare = [_rare_rows(side, set(common)) for side in (reference, current)]
    names = list(common)
    if any(total for total, _ in rare):
        cells = _cells(min(total for total, _ in rare), all(total == hashed.total() for total, hashed in rare))
        names += [RARE] * cells
        for side, (total, hashed) in zip(sides, rare, strict=True):
            folded = np.zeros(cells)
            if cells == 1:
                folded[0] = total
            else:
                for bucket, rows in hashed.items():
                    folded[bucket % cells] += rows
            side.extend(folded)
    if reference.nulls or current.nulls:
        names.append(NULL)
        for side, column in zip(sides, (reference, current), strict=True):
            side.append(float(column.nulls))
    first, second = (np.array(side) for side in sides)
    return names, first, second


def _rare_rows(column: CategoricalProfile, common: set[str]) -> tuple[int, Counter[int]]:
    """Rows of all but the common categories, and those of them whose hash is known by that hash."""
    hashed = Counter(column.buckets)
    total = column.other
    for value, rows in column.counts.items():
        if value not in common:
            total += rows
            hashed[bucket_of(value)] += rows
    return total, hashed


def _cells(smaller_rows: int, are_hashed: bool) -> int:
    """The largest power of two with ``SMALLEST_BUCKET`` rows a cell, at most ``BUCKETS``."""
    if not are_hashed or smaller_rows < 2 * SMALLEST_BUCKET:
        return 1
    return int(min(2 ** int(np.log2(smaller_rows / SMALLEST_BUCKET)), BUCKETS))


def chi_squared_test(reference: Floats, current: Floats) -> tuple[float, float]:
    """Pearson's statistic and p-value, with ``k - 1`` degrees of freedom for ``k`` categories.

    A single category gives 0 and 1. Raises ``ValueError`` for an empty side.
    """
    n, m = reference.sum(), current.sum()
    if not n or not m:
        raise ValueError("each side needs at least one row")
    total = reference + current
    reference, current, total = reference[total > 0], current[total > 0], total[total > 0]
    if len(total) < 2:
        return 0.0, 1.0
    expected, other_expected = total * n / (n + m), total * m / (n + m)
    statistic = float(np.sum((reference - expected) ** 2 / expected + (current - other_expected) ** 2 / other_expected))
    return statistic, float(chdtrc(len(total) - 1, statistic))

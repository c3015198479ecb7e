"""The chi-squared test of homogeneity on category counts, with rare categories pooled so that it is valid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import chdtrc

from pipelines.steps.drift.sketch import Floats
from pipelines.tables.profile import OTHER_CATEGORY

NULL_CATEGORY = "__null__"
SMALLEST_EXPECTED = 5.0
"""Cochran's rule: the chi-squared distribution is a fair approximation where each cell expects five rows."""


def pooled_counts(
    reference: Mapping[str, int], current: Mapping[str, int], nulls: tuple[int, int] = (0, 0)
) -> tuple[list[str], Floats, Floats]:
    """Categories and their counts on both sides, rare ones pooled under ``__other__``.

    Nulls are a category. A value that one side lists while the other may have it under ``__other__`` is pooled too,
    since its count there is not known; so is a value of which either side expects fewer than five rows.
    """
    ref, cur = dict(reference), dict(current)
    if any(nulls):
        ref[NULL_CATEGORY], cur[NULL_CATEGORY] = nulls
    n, m = sum(ref.values()), sum(cur.values())
    smaller_share = min(n, m) / (n + m) if n + m else 0.0

    def is_rare(name: str) -> bool:
        hidden = (OTHER_CATEGORY in ref and name not in ref) or (OTHER_CATEGORY in cur and name not in cur)
        return hidden or (ref.get(name, 0) + cur.get(name, 0)) * smaller_share < SMALLEST_EXPECTED

    names = sorted(set(ref) | set(cur))
    common = [name for name in names if name != OTHER_CATEGORY and not is_rare(name)]
    rare = [name for name in names if name not in set(common)]
    first = [float(ref.get(name, 0)) for name in common]
    second = [float(cur.get(name, 0)) for name in common]
    if rare:
        common = [*common, OTHER_CATEGORY]
        first.append(float(sum(ref.get(name, 0) for name in rare)))
        second.append(float(sum(cur.get(name, 0) for name in rare)))
    return common, np.array(first), np.array(second)


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

"""The error of a statistic by blocks is the textbook's, and rows of one block count as one."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.statistics import block_jackknife as module
from pipelines.statistics.block_jackknife import BlockError, Weights, block_jackknife

VALUES = np.random.default_rng(1).normal(size=60)


def mean(weights: Weights) -> Weights:
    result: Weights = (weights @ VALUES) / weights.sum(axis=1)
    return result


def test_of_a_mean_over_single_rows_it_is_the_standard_error_of_the_mean() -> None:
    found = block_jackknife(mean, np.arange(60))
    assert found is not None
    assert found.standard_error == pytest.approx(VALUES.std(ddof=1) / np.sqrt(60))
    assert found.blocks == 60


def test_of_a_mean_over_blocks_of_one_size_it_is_that_of_the_block_means() -> None:
    found = block_jackknife(mean, np.repeat(np.arange(12), 5))
    blocks = VALUES.reshape(12, 5).mean(axis=1)
    assert found is not None
    assert found.standard_error == pytest.approx(blocks.std(ddof=1) / np.sqrt(12))


def test_batches_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = np.repeat(np.arange(12), 5)
    whole = block_jackknife(mean, blocks)
    monkeypatch.setattr(module, "BATCH_CELLS", 150)
    assert block_jackknife(mean, blocks) == whole


@pytest.mark.parametrize("blocks", [np.zeros(60, dtype=np.int64), np.zeros(0, dtype=np.int64)])
def test_one_block_or_none_has_no_error(blocks: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    assert block_jackknife(mean, blocks) is None


def test_a_statistic_that_needs_one_of_the_blocks_has_no_error() -> None:
    def needs_first(weights: Weights) -> Weights:
        return np.where(weights[:, 0] > 0, mean(weights), np.nan)

    assert block_jackknife(needs_first, np.repeat(np.arange(12), 5)) is None


def test_an_interval_uses_students_t_of_one_block_less() -> None:
    assert BlockError(1.0, 20).half_width(0.95) == pytest.approx(2.093, abs=0.001)
    assert BlockError(1.0, 2).half_width(0.95) == pytest.approx(12.706, abs=0.001)


def test_the_chance_to_pass_is_half_where_the_margin_is_the_half_width() -> None:
    error = BlockError(0.01, 40)
    assert error.chance_to_pass(error.half_width(0.95), 0.95) == pytest.approx(0.5)
    assert error.chance_to_pass(0.0, 0.95) == pytest.approx(0.025)
    assert BlockError(0.0, 40).chance_to_pass(0.0, 0.95) == 1.0

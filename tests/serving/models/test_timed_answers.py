"""An answer's time is the model's own: of other programs that had the processor meanwhile nothing counts."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.serving.models.bundle import BundleManifest, InputColumn
from pipelines.serving.models.predictor import Matrix, Predictor, own_seconds


def used(processor: float, taken: int, given: int) -> Any:
    """Use of a thread: seconds of processor time, and how often it lost the processor and gave it up."""
    return SimpleNamespace(ru_utime=processor, ru_stime=0.0, ru_nivcsw=taken, ru_nvcsw=given)


@pytest.mark.parametrize(
    ("taken", "given", "own"),
    [(0, 0, 0.040), (1, 0, 0.002), (3, 0, 0.002), (0, 1, 0.040), (1, 1, 0.040)],
    ids=["undisturbed", "taken once", "taken often", "waited", "taken and waited"],
)
def test_time_in_which_another_program_had_the_processor_is_none_of_the_models(
    taken: int, given: int, own: float
) -> None:
    assert own_seconds(used(1.0, 7, 9), used(1.002, 7 + taken, 9 + given), 0.040) == pytest.approx(own)


def test_processor_time_beyond_the_clock_counts_no_more_than_the_clock() -> None:
    assert own_seconds(used(1.0, 7, 9), used(1.5, 8, 9), 0.040) == 0.040


def test_a_model_that_sleeps_and_one_that_computes_take_the_time_that_they_took() -> None:
    def sleeps(matrix: Matrix) -> Matrix:
        time.sleep(0.03)
        return matrix[:, 0]

    def computes(matrix: Matrix) -> Matrix:
        end = time.thread_time() + 0.03
        while time.thread_time() < end:
            pass
        return matrix[:, 0]

    names = {"model": "m", "version": "1", "predictor": "onnx", "output": "value", "model_digest": "", "entry": ""}
    manifest = BundleManifest(**names, features=[InputColumn("x", "numeric")], files={})  # type: ignore[arg-type]
    for score in (sleeps, computes):
        answers, seconds = Predictor(manifest, {}, score).predict_timed([[1.0]], 1)
        assert (answers, seconds >= 0.028) == ([1.0], True)

"""Loads a verified bundle as a predictor of one number per row, and tests it on its golden rows."""

from __future__ import annotations

import math
import resource
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.serving.models.bundle import GOLDEN_FILE, BundleManifest, BundleRefused, GoldenRows, verify

Values = Sequence[Sequence[Any]]
"""Feature values by column, in the model's order of features."""
TimedAnswers = tuple[list[float], float]
"""Predictions, and the seconds that the model took for them."""
Matrix = NDArray[np.float32]
Scorer = Callable[[Matrix], NDArray[Any]]

GOLDEN_ROW_TOLERANCE = 1e-5
_NAN = math.nan
_FLOAT32 = np.dtype(np.float32)


def prediction_fault(answers: Sequence[float], count: int, output: str) -> str:
    """Why ``answers`` are not one finite number, or probability in 0..1, per row of ``count``; empty if they are."""
    if len(answers) != count:
        return f"{len(answers)} answers to {count} rows"
    for index, answer in enumerate(answers):
        if not math.isfinite(answer):
            return f"answer {index} is {answer}"
        if output == "probability" and not -GOLDEN_ROW_TOLERANCE <= answer <= 1 + GOLDEN_ROW_TOLERANCE:
            return f"answer {index} is {answer}, which is not a probability"
    return ""


class Predictor:
    """Scores rows of one version. ``predict(values, count)`` returns ``count`` floats."""

    vocabularies: Mapping[str, Sequence[str]] = MappingProxyType({})
    """The categories of each categorical feature that the model learnt."""

    def __init__(self, manifest: BundleManifest, vocabularies: Mapping[str, Sequence[str]], score: Scorer) -> None:
        self.manifest, self.vocabularies = manifest, vocabularies
        self._score = score
        self._codes: list[dict[str, float] | None] = [
            {value: float(code) for code, value in enumerate(vocabularies[feature.name])}
            if feature.type == "categorical"
            else None
            for feature in manifest.features
        ]
        self._row = struct.Struct(f"={len(self._codes)}f")

    def encode(self, values: Values, count: int) -> Matrix:
        """Rows as the model takes them: categories as index in the vocabulary, unknown and null as NaN.

        Raises ``OverflowError`` for a number beyond 32-bit floats.
        """
        if count == 1:
            row = [
                _NAN if column[0] is None else column[0] if codes is None else codes.get(column[0], _NAN)
                for codes, column in zip(self._codes, values)  # noqa: B905 - the protocol checked the number of columns
            ]
            packed = bytearray(self._row.size)
            try:
                self._row.pack_into(packed, 0, *row)
            except (struct.error, OverflowError):  # a number that may be too large
                return self._encode_rows(values, count)
            return np.ndarray((1, len(row)), _FLOAT32, packed)
        return self._encode_rows(values, count)

    def _encode_rows(self, values: Values, count: int) -> Matrix:
        matrix = np.empty((count, len(self._codes)), dtype=np.float32)
        with np.errstate(over="ignore"):
            for index, (codes, column) in enumerate(zip(self._codes, values, strict=True)):
                matrix[:, index] = column if codes is None else list(map(codes.get, column))
        if np.isinf(matrix).any():
            raise OverflowError("a number does not fit into 32 bits")
        return matrix

    def predict(self, values: Values, count: int) -> list[float]:
        """One prediction per row."""
        answers: list[float] = self._score(self.encode(values, count)).tolist()
        return answers

    def predict_timed(self, values: Values, count: int) -> TimedAnswers:
        """The same with its seconds: those of the model alone, whatever queue or process lies before it."""
        before, started = resource.getrusage(resource.RUSAGE_THREAD), time.perf_counter()
        answers = self.predict(values, count)
        seconds = time.perf_counter() - started
        return answers, own_seconds(before, resource.getrusage(resource.RUSAGE_THREAD), seconds)


def own_seconds(before: resource.struct_rusage, after: resource.struct_rusage, seconds: float) -> float:
    """Of the ``seconds`` between two uses of this thread, those that were its own.

    Where the processor was taken from it for another program, the wait says nothing of the model: then it is the
    processor time. Where it waited by itself as well, for a lock, a disk or a sleep, it is the whole time.
    """
    if after.ru_nivcsw == before.ru_nivcsw or after.ru_nvcsw != before.ru_nvcsw:
        return seconds
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return min(seconds, used)


def load_onnx(path: Path, probability: bool) -> Scorer:
    """An ONNX model with one thread and no spinning: requests run in parallel in the workers."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    output = session.get_outputs()[1 if probability else 0].name
    if probability:
        return lambda matrix: session.run([output], {name: matrix})[0][:, 1]
    return lambda matrix: session.run([output], {name: matrix})[0].reshape(-1)


def load_booster(path: Path) -> Scorer:
    import xgboost

    booster = xgboost.Booster(params={"nthread": 1})
    booster.load_model(path)
    return lambda matrix: np.asarray(booster.inplace_predict(matrix, validate_features=False))


def load_skops(content: bytes, probability: bool) -> Scorer:
    """A scikit-learn estimator without pickle. ``BundleRefused`` for types beyond those listed, and for functions."""
    from pipelines.serving.models import skops_file

    try:
        estimator = skops_file.load(content)
    except ValueError as error:
        raise BundleRefused("model.skops", [str(error)]) from error
    if probability:
        return lambda matrix: estimator.predict_proba(matrix)[:, 1]
    return lambda matrix: np.asarray(estimator.predict(matrix)).reshape(-1)


def load(folder: Path, sha256: str) -> Predictor:
    """Verify, load and test a bundle. Raises ``BundleRefused`` for one that is altered, broken, or predicts wrongly."""
    manifest = verify(folder, sha256)
    try:
        predictor = _create_predictor(folder, manifest)
        golden = msgspec.json.decode((folder / GOLDEN_FILE).read_bytes(), type=GoldenRows)
        answers = predictor.predict(list(zip(*golden.rows, strict=True)), len(golden.rows))
    except BundleRefused:
        raise
    except Exception as error:  # any error of a library refuses the bundle
        raise BundleRefused(str(folder), [f"cannot be loaded: {type(error).__name__}: {error}"]) from error
    if len(answers) != len(golden.predictions):
        raise BundleRefused(str(folder), [f"{len(answers)} answers to {len(golden.predictions)} golden rows"])
    wrong = [
        f"golden row {index}: answers {answer}, expected {expected}"
        for index, (answer, expected) in enumerate(zip(answers, golden.predictions, strict=True))
        if not math.isclose(answer, expected, rel_tol=GOLDEN_ROW_TOLERANCE, abs_tol=GOLDEN_ROW_TOLERANCE)
    ]
    if wrong:
        raise BundleRefused(str(folder), wrong[:10])
    return predictor


def known_categories(predictor: Predictor) -> dict[str, frozenset[str | None]]:
    """The categories of each categorical feature that are no surprise, and null.

    They are those that the contract lists, else those of the training rows.
    """
    return {
        feature.name: frozenset(
            [*(predictor.vocabularies[feature.name] if feature.allowed is None else feature.allowed), None]
        )
        for feature in predictor.manifest.features
        if feature.type == "categorical"
    }


def _create_predictor(folder: Path, manifest: BundleManifest) -> Predictor:
    entry = folder / manifest.entry
    vocabularies = msgspec.json.decode((folder / "categories.json").read_bytes(), type=dict[str, list[str]])
    is_probability = manifest.output == "probability"
    if manifest.predictor == "onnx":
        score = load_onnx(entry, is_probability)
    elif entry.suffix == ".skops":
        score = load_skops(entry.read_bytes(), is_probability)
    else:
        score = load_booster(entry)
    return Predictor(manifest, vocabularies, score)

"""Converts a fitted estimator to ONNX bytes that are the same each time, or raises ``NotConvertible`` with a reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

ONNX_OPSET = 15
ONNX_INPUT_NAME = "features"
Matrix = npt.NDArray[np.float32]
Score = Callable[[Matrix], npt.NDArray[np.float64]]


class NotConvertible(Exception):
    """The converter does not know this estimator; the next predictor is tried."""


def to_onnx(estimator: Any, width: int) -> bytes:
    """An ``xgboost.Booster`` or a scikit-learn estimator on ``width`` floats as ONNX. Raises ``NotConvertible``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _convert_booster(estimator, width) if _is_booster(estimator) else _convert_sklearn(estimator, width)
    except Exception as error:  # converters fail in many ways; each only means that there is no ONNX
        raise NotConvertible(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]:.200}") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _is_booster(estimator: Any) -> bool:
    return type(estimator).__module__.startswith("xgboost")


def _convert_booster(booster: Any, width: int) -> Any:
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    plain = booster.copy()
    plain.feature_names = None  # the converter names columns by number
    plain.feature_types = None
    return convert_xgboost(plain, "model", [(ONNX_INPUT_NAME, FloatTensorType([None, width]))], target_opset=ONNX_OPSET)


def _convert_sklearn(estimator: Any, width: int) -> Any:
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType

    return convert(
        estimator,
        name="model",
        initial_types=[(ONNX_INPUT_NAME, FloatTensorType([None, width]))],
        options={"zipmap": False} if hasattr(estimator, "predict_proba") else None,
        target_opset=ONNX_OPSET,
    )


def onnx_score(content: bytes, probability: bool) -> Score:
    """A function that scores with the ONNX model: the positive class's probability, or the value."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    output = session.get_outputs()[1 if probability else 0].name

    def score(matrix: Matrix) -> npt.NDArray[np.float64]:
        raw = session.run([output], {name: matrix})[0]
        return np.asarray(raw[:, 1] if probability else raw.reshape(-1), dtype=np.float64)

    return score


def booster_score(content: bytes) -> Score:
    """A function that scores with the booster read from its bytes."""
    import xgboost

    booster = xgboost.Booster(params={"nthread": 1})
    booster.load_model(bytearray(content))
    return lambda matrix: np.asarray(booster.inplace_predict(matrix, validate_features=False), dtype=np.float64)

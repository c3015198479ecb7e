"""The gateway turns a row into the very numbers that training made of it, though without training's libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.serving.models.bundle import BundleManifest, InputColumn
from pipelines.serving.models.predictor import Predictor
from pipelines.tables.encoding import FeatureInput, encode

VOCABULARY = ["AA", "UA", "é", ""]
FEATURES = [FeatureInput("carrier", "categorical", tuple(VOCABULARY)), FeatureInput("distance", "numeric")]
numbers = st.none() | st.floats(-3e38, 3e38, allow_nan=False) | st.integers(-(2**53), 2**53)
texts = st.none() | st.sampled_from(VOCABULARY) | st.text(max_size=3)


def predictor() -> Predictor:
    inputs = [InputColumn(feature.name, feature.type) for feature in FEATURES]
    manifest = BundleManifest("m", "1", "onnx", "probability", inputs, {}, "", "model.onnx")
    return Predictor(manifest, {"carrier": VOCABULARY}, lambda matrix: matrix[:, 0])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(texts, numbers), min_size=1, max_size=20))
def test_every_row_is_encoded_as_in_training(rows: list[tuple[Any, Any]]) -> None:
    columns = list(zip(*rows, strict=True))
    ours = predictor().encode(columns, len(rows))
    training = encode({"carrier": columns[0], "distance": columns[1]}, FEATURES)
    np.testing.assert_array_equal(ours, training)


@pytest.mark.parametrize("value", [1e300, -1e39, 10**400])
def test_a_number_beyond_32_bits_is_an_overflow(value: float) -> None:
    with pytest.raises(OverflowError):
        predictor().encode([["AA"], [value]], 1)

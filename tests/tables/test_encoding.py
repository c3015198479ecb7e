"""The same row becomes the same float32 numbers, from a frame or from columns, and a faulty one is named."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from pipelines.errors import Refused
from pipelines.tables.encoding import (
    FeatureInput,
    categories_json,
    encode,
    learn_inputs,
    vocabularies,
    with_vocabularies,
)

FRAME = pl.DataFrame({"carrier": ["UA", None, "AA", "UA"], "distance": [100.0, None, float("nan"), 2500.5], "x": 1})
TYPES = {"carrier": "categorical", "distance": "numeric"}
FEATURES = learn_inputs(FRAME, TYPES)  # type: ignore[arg-type]
NAN = float("nan")


def test_a_vocabulary_is_what_the_rows_hold_in_text_order_without_null() -> None:
    assert vocabularies(FEATURES) == {"carrier": ["AA", "UA"]}


def test_a_category_is_its_place_and_null_is_missing() -> None:
    found = encode(FRAME, FEATURES)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.array([[1, 100], [NAN, NAN], [0, NAN], [1, 2500.5]], dtype=np.float32))


def test_an_unseen_category_is_missing() -> None:
    assert np.isnan(encode({"carrier": ["ZZ"], "distance": [1.0]}, FEATURES)[0, 0])


def test_columns_give_the_numbers_that_a_frame_gives() -> None:
    columns = {name: FRAME[name].to_list() for name in ("distance", "carrier")}
    np.testing.assert_array_equal(encode(columns, FEATURES), encode(FRAME, FEATURES))


def test_whole_numbers_and_booleans_are_numbers() -> None:
    feature = [FeatureInput("a", "numeric"), FeatureInput("b", "numeric")]
    np.testing.assert_array_equal(encode(pl.DataFrame({"a": [3], "b": [True]}), feature), [[3, 1]])


def test_a_vocabulary_that_is_empty_makes_everything_missing() -> None:
    assert np.isnan(encode(FRAME, [FeatureInput("carrier", "categorical")])).all()


def test_no_rows_are_no_rows() -> None:
    assert encode(FRAME.head(0), FEATURES).shape == (0, 2)


def test_every_missing_column_is_named() -> None:
    with pytest.raises(Refused) as refused:
        encode(pl.DataFrame({"other": [1]}), FEATURES)
    assert refused.value.reasons == ["column 'carrier' is missing", "column 'distance' is missing"]


@pytest.mark.parametrize("value", [1e39, float("inf"), -1e300])
def test_a_number_beyond_32_bits_is_refused_by_name(value: float) -> None:
    with pytest.raises(Refused) as refused:
        encode({"carrier": ["AA"], "distance": [value]}, FEATURES)
    assert refused.value.reasons == ["distance"]


@pytest.mark.parametrize("distance", [["far"], [[1.0]]])
def test_a_number_that_is_none_is_refused(distance: list[object]) -> None:
    with pytest.raises(Refused):
        encode({"carrier": ["AA"], "distance": distance}, FEATURES)
    with pytest.raises(Refused):
        encode(pl.DataFrame({"carrier": ["AA"], "distance": distance}), FEATURES)


def test_stored_vocabularies_give_the_inputs_back() -> None:
    assert with_vocabularies(TYPES, json.loads(categories_json(FEATURES))) == FEATURES  # type: ignore[arg-type]


def test_a_lost_vocabulary_is_refused() -> None:
    with pytest.raises(Refused, match="carrier"):
        with_vocabularies(TYPES, {})  # type: ignore[arg-type]

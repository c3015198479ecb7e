"""Training, evaluation and serving encode the same row as the same float32 numbers.

A numeric feature is unchanged; a categorical one is its index in a vocabulary that was learnt from the training rows
and is stored with the model (``categories.json``). Null, and a value outside the vocabulary, are encoded as NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.errors import Refused

Matrix = npt.NDArray[np.float32]
Kind = Literal["categorical", "numeric"]


@dataclass(frozen=True)
class FeatureInput:
    """One column of the model's input. ``categories``: the vocabulary by index; empty for a numeric feature."""

    name: str
    type: Kind
    categories: tuple[str, ...] = ()


def learn_inputs(frame: pl.DataFrame, types: Mapping[str, Kind]) -> list[FeatureInput]:
    """Inputs in the order of ``types``; each vocabulary has the values of ``frame`` (the training rows), sorted."""
    check_columns(frame.columns, list(types))
    return [
        FeatureInput(name, kind, _vocabulary(frame[name]) if kind == "categorical" else ())
        for name, kind in types.items()
    ]


def vocabularies(features: Sequence[FeatureInput]) -> dict[str, list[str]]:
    """The content of ``categories.json``: the vocabulary of each categorical feature."""
    return {feature.name: list(feature.categories) for feature in features if feature.type == "categorical"}


def with_vocabularies(types: Mapping[str, Kind], stored: Mapping[str, Sequence[str]]) -> list[FeatureInput]:
    """The inputs with their stored vocabularies. ``Refused`` if a categorical feature has none."""
    missing = [name for name, kind in types.items() if kind == "categorical" and name not in stored]
    if missing:
        raise Refused("categories.json lacks vocabularies", missing)
    return [
        FeatureInput(name, kind, tuple(stored[name]) if kind == "categorical" else ()) for name, kind in types.items()
    ]


def encode(data: pl.DataFrame | Mapping[str, Sequence[Any]], features: Sequence[FeatureInput]) -> Matrix:
    """Rows x features, in the order of ``features``, C-contiguous.

    Raises ``Refused`` for a missing column, a column of the wrong kind, or a number beyond 32-bit floats.
    """
    frame = data if isinstance(data, pl.DataFrame) else _frame(data, features)
    check_columns(frame.columns, [feature.name for feature in features])
    try:
        columns = frame.select([_encoding_expression(feature) for feature in features])
    except pl.exceptions.PolarsError as error:
        raise Refused("features cannot be encoded; a numeric feature has other values", [str(error)]) from error
    matrix = np.empty((frame.height, len(features)), dtype=np.float32)
    for place, column in enumerate(columns.iter_columns()):
        matrix[:, place] = column.to_numpy()
    infinite = [feature.name for place, feature in enumerate(features) if np.isinf(matrix[:, place]).any()]
    if infinite:
        raise Refused("features have numbers beyond 32-bit floats; correct the source or add a constraint", infinite)
    return matrix


def check_columns(columns: Sequence[str], features: Sequence[str]) -> None:
    """``Refused`` with every feature that has no column."""
    missing = [f"column {name!r} is missing" for name in features if name not in columns]
    if missing:
        raise Refused("the rows lack features of the model", missing)


def categories_json(features: Sequence[FeatureInput]) -> bytes:
    return json.dumps(vocabularies(features), ensure_ascii=False, indent=1).encode()


def _vocabulary(column: pl.Series) -> tuple[str, ...]:
    return tuple(column.cast(pl.String).drop_nulls().unique().sort().to_list())


def _encoding_expression(feature: FeatureInput) -> pl.Expr:
    column = pl.col(feature.name)
    if feature.type == "numeric":
        return column.cast(pl.Float32).fill_null(float("nan"))
    codes = {value: float(code) for code, value in enumerate(feature.categories)}
    if not codes:
        return column.is_null().cast(pl.Float32) * float("nan")
    text = column.cast(pl.String)
    return text.replace_strict(codes, default=float("nan"), return_dtype=pl.Float32)


def _frame(data: Mapping[str, Sequence[Any]], features: Sequence[FeatureInput]) -> pl.DataFrame:
    check_columns(list(data), [feature.name for feature in features])
    types = {feature.name: pl.String if feature.type == "categorical" else pl.Float64 for feature in features}
    try:
        return pl.DataFrame({name: list(data[name]) for name in types}, schema=types, nan_to_null=False)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise Refused("the rows have values of the wrong kind", [str(error)]) from error

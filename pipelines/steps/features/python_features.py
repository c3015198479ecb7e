"""Computes features by functions of the owner, which see of each row what was visible to it and nothing else.

The code is trusted. What it answers is checked: a value for each row, the same in whatever order rows and events come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from pipelines.errors import Refused
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.python_function import HAPPENED, MOMENT, ROW_ID, PythonFunction
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, ROW
from pipelines.steps.panel.events import source_events

Function = Callable[[pl.DataFrame, pl.DataFrame], Any]
VALUE = "value"
OWN, PAIRS = "__own", "__pairs"
MAX_PAIRS = 2_000_000
"""Events of the groups of all rows of one call, so that memory is bounded; one row's alone may be more."""
CHECKED_ROWS = 1_000
"""Rows that are asked about again in another order."""
RELATIVE = 1e-9


def python_features(
    view: FeatureView, rows: pl.DataFrame, frames: Mapping[str, pl.DataFrame], dataset: DatasetSpec
) -> dict[str, pl.Series]:
    """Each such feature of the ``rows``, in their order.

    ``Refused`` with the function's own error, or with what is wrong with its answer.
    """
    columns = {}
    for name, feature in view.features.items():
        how = feature.transformation
        if not isinstance(how, PythonFunction):
            continue
        is_own = how.of == view.entity_source and view.panel is None
        own = [pl.col(ROW).alias(OWN)] if is_own else []
        events = source_events(frames[how.of], how.of, how.columns_read(), dataset)
        events = events.select(
            *(name for name in how.columns_read() if name != HAPPENED),
            pl.col(EVENT).alias(HAPPENED),
            pl.col(KNOWN),
            *own,
        ).drop_nulls([HAPPENED, KNOWN])
        row_moments = rows.select(*how.by, pl.col("prediction_time").alias(MOMENT), *own).with_row_index(ROW_ID)
        kind = pl.String() if feature.type == "categorical" else pl.Float64()
        answers = [
            _checked(name, how, *question, kind, again=number == 0)
            for number, question in enumerate(_questions(row_moments, events, how, is_own=is_own))
        ]
        empty = pl.Series(VALUE, [], dtype=kind)
        columns[name] = pl.concat([answer[VALUE] for answer in answers]) if answers else empty
    return columns


def _questions(
    asked: pl.DataFrame, events: pl.DataFrame, how: PythonFunction, *, is_own: bool
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Rows and the events that are visible to them, so many at a time that memory is bounded."""
    if asked.is_empty():
        return
    if how.by:
        sizes = asked.join(events.group_by(how.by).len(PAIRS), on=how.by, how="left", maintain_order="left")[PAIRS]
    else:
        sizes = pl.repeat(events.height, asked.height, dtype=pl.UInt32, eager=True)
    chunk = (sizes.fill_null(0).cast(pl.Int64).cum_sum() // MAX_PAIRS).to_numpy()
    begins = np.flatnonzero(np.diff(chunk, prepend=-1))
    for begin, end in zip(begins, [*begins[1:], len(chunk)], strict=True):
        some = asked.slice(int(begin), int(end - begin))
        suffixed = some.rename({OWN: f"{OWN}_row"}) if is_own else some
        pairs = suffixed.join(events, on=how.by, how="inner") if how.by else suffixed.join(events, how="cross")
        visible = (pl.col(HAPPENED) <= pl.col(MOMENT)) & (pl.col(KNOWN) <= pl.col(MOMENT))
        if how.window is not None:
            visible &= pl.col(HAPPENED) > pl.col(MOMENT) - how.window
        if is_own:
            visible &= pl.col(OWN) != pl.col(f"{OWN}_row")
        shown = list(dict.fromkeys([ROW_ID, HAPPENED, *how.columns]))
        yield some.drop(OWN, strict=False), pairs.filter(visible).select(shown).sort(shown)


def _checked(
    name: str, how: PythonFunction, rows: pl.DataFrame, pairs: pl.DataFrame, kind: pl.DataType, *, again: bool
) -> pl.DataFrame:
    """One value per row, in their order; with ``again`` some are asked about in another order, too."""
    function = _function(how)
    answer = _answer(name, how, function, rows, pairs, kind)
    some = rows.head(CHECKED_ROWS)
    if again and some.height:
        shown = pairs.join(some.select(ROW_ID), on=ROW_ID, how="semi")
        other_rows, other_pairs = (frame.sample(fraction=1.0, shuffle=True, seed=7) for frame in (some, shown))
        second = _answer(name, how, function, other_rows, other_pairs, kind).sort(ROW_ID)
        try:
            assert_frame_equal(answer.head(some.height), second, rel_tol=RELATIVE, abs_tol=0.0)
        except AssertionError as error:
            text = (
                "answers otherwise when the same rows and events come in another order; sort by row_id and event_time"
            )
            raise Refused(f"features of {name} were not built", [f"{how.function} {text}"]) from error
    return answer


def _function(how: PythonFunction) -> Function:
    module, _, name = how.function.partition(":")
    names: dict[str, Any] = {"__name__": module}
    try:
        exec(compile(how.source, f"include/python/{module}.py", "exec"), names)  # noqa: S102 - the owner's code
    except Exception as error:
        raise Refused(f"{how.function} cannot be loaded", [f"{type(error).__name__}: {error}"]) from error
    function: Function = names[name]
    return function


def _answer(
    name: str, how: PythonFunction, function: Function, rows: pl.DataFrame, pairs: pl.DataFrame, kind: pl.DataType
) -> pl.DataFrame:
    subject = f"features of {name} were not built"
    try:
        answer = function(rows.clone(), pairs.clone())
    except Exception as error:
        raise Refused(subject, [f"{how.function} raised {type(error).__name__}: {error}"]) from error
    if not isinstance(answer, pl.DataFrame) or not {ROW_ID, VALUE} <= set(answer.columns):
        raise Refused(subject, [f"{how.function} returned no polars DataFrame with {ROW_ID} and {VALUE}"])
    if sorted(answer[ROW_ID].to_list()) != sorted(rows[ROW_ID].to_list()):
        text = f"answered {answer.height} row(s) for {rows.height}; return each {ROW_ID} once"
        raise Refused(subject, [f"{how.function} {text}"])
    values = answer[VALUE]
    suits = values.dtype == pl.Null or (
        values.dtype == pl.String if kind == pl.String else values.dtype.is_numeric() or values.dtype == pl.Boolean
    )
    if not suits:
        raise Refused(subject, [f"{how.function} returned {values.dtype} for a feature that is stored as {kind}"])
    typed = answer.select(pl.col(ROW_ID).cast(rows.schema[ROW_ID]), values.cast(kind).alias(VALUE))
    return rows.select(ROW_ID).join(typed, on=ROW_ID, how="left", maintain_order="left")

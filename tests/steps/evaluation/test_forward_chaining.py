"""Models are trained again on what was known before the days that they answer, and on nothing later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.errors import Refused
from pipelines.spec.model import Training
from pipelines.steps.evaluation.forward_chaining import (
    CROSS_FITTED_PARTS,
    STRETCHES,
    Recipe,
    entity_parts,
    known_rows,
    later_stretches,
    train_again,
)
from tests.steps.small_training import rows, spec

START = datetime(2013, 1, 1, tzinfo=UTC)


def days_of(count: int) -> tuple[pl.Series, pl.Series]:
    """Three rows a day."""
    times = [START + timedelta(hours=8 * number) for number in range(3 * count)]
    return pl.Series([time.date() for time in times]), pl.Series(times)


def recipe(**training: Any) -> Recipe:
    declared = Training.model_validate(spec().training.model_dump() | training)
    return Recipe(declared, "classification", 7, {"carrier": "categorical", "distance": "numeric"})


@pytest.mark.parametrize(("count", "compared"), [(40, 20), (59, 20), (73, 24), (120, 40), (400, 40)])
def test_the_last_third_of_the_days_is_compared_from_twenty_to_forty(count: int, compared: int) -> None:
    days, times = days_of(count)
    stretches = later_stretches(days, times, by_day=True)
    assert len(stretches) == STRETCHES
    places = np.concatenate([stretch.places for stretch in stretches])
    assert days[places].n_unique() == compared
    assert days[places].max() == START.date() + timedelta(days=count - 1)
    assert [stretch.start for stretch in stretches] == [times[int(stretch.places[0])] for stretch in stretches]
    sizes = [days[stretch.places].n_unique() for stretch in stretches]
    assert max(sizes) - min(sizes) <= 1


def test_fewer_than_forty_days_cannot_be_chained_by_day() -> None:
    with pytest.raises(Refused, match="39 days; forward chaining needs 40"):
        later_stretches(*days_of(39), by_day=True)
    assert len(later_stretches(*days_of(39), by_day=False)) == STRETCHES


def test_rows_whose_label_came_later_are_not_known() -> None:
    moment = START + timedelta(days=2)
    frame = pl.DataFrame(
        {
            "prediction_time": [moment - timedelta(hours=hours) for hours in (30, 3, 1, -1)],
            "label_time": [moment - timedelta(hours=hours) for hours in (29, 1, -1, -2)],
        }
    )
    assert known_rows(frame, moment, recipe().training).height == 2
    assert known_rows(frame, moment, recipe(history_days=1).training).height == 1


def test_a_model_trained_again_is_that_of_the_known_rows_and_of_no_others() -> None:
    frame = rows().with_columns(pl.col("flight").cast(pl.String).alias("entity_id"))
    known, later = frame[:900], frame[900:]
    first = train_again(recipe(), known, "version 1")(later)
    assert (first == train_again(recipe(), known, "version 1")(later)).all()
    changed = later.with_columns(1 - pl.col("target"))
    assert (first == train_again(recipe(), known, "version 1")(changed)).all()
    assert (first != train_again(recipe(), frame[:800], "version 1")(later)).any()


@pytest.mark.parametrize("strategy", ["time_ordered", "random", "stratified"])
def test_the_declared_split_is_made_again(strategy: str) -> None:
    frame = rows().with_columns(pl.col("flight").cast(pl.String).alias("entity_id"))
    answers = train_again(recipe(split={"strategy": strategy}), frame[:900], "version 1")(frame[900:])
    assert answers.shape == (300,)
    assert np.isfinite(answers).all()


def test_too_few_rows_or_one_class_are_refused_by_name() -> None:
    frame = rows().with_columns(pl.col("flight").cast(pl.String).alias("entity_id"))
    with pytest.raises(Refused, match=r"version 1 on 2013-03-01: 99 rows were known, training\.minimum_rows is 100"):
        train_again(recipe(), frame[:99], "version 1 on 2013-03-01")
    with pytest.raises(Refused, match="part train of 630 rows cannot be trained on"):
        train_again(recipe(), frame[:900].with_columns(pl.lit(0.0).alias("target")), "version 1")


def test_an_entity_lies_in_one_part_alone() -> None:
    entities = pl.Series([f"customer {number % 200}" for number in range(1000)])
    parts = entity_parts(entities)
    assert len(parts) == CROSS_FITTED_PARTS
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))
    names = [set(entities[part].to_list()) for part in parts]
    assert sum(map(len, names)) == 200
    assert [part.tolist() for part in entity_parts(entities)] == [part.tolist() for part in parts]

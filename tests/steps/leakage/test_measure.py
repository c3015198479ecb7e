"""Fifty planted leaks, of every kind, are each asked about, and what only helps to predict is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn import datasets

from pipelines.rules.leaks import leak_reasons
from pipelines.steps.leakage.measure import leak_facts

ROWS = 3_000
RANDOM = np.random.default_rng(16)
DELAY = RANDOM.normal(10, 30, ROWS).round(1)
CANCELLED = RANDOM.random(ROWS) < 0.05
OUTCOME = pl.Series("delay", np.where(CANCELLED, np.nan, DELAY)).fill_nan(None)
LATE = (OUTCOME >= 15).cast(pl.Float64)
MOMENTS = pl.Series([datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(ROWS)])
HELD = OUTCOME.is_not_null()
WORDS = pl.Series(["returned" if late else "kept" for late in DELAY >= 15])


def where(condition: pl.Series, values: pl.Series | float | str) -> pl.Series:
    """The values where the condition is true; elsewhere null."""
    series = values if isinstance(values, pl.Series) else pl.Series([values] * ROWS)
    return pl.select(pl.when(condition).then(series)).to_series()


def noise(scale: float) -> np.ndarray:
    return RANDOM.normal(0, scale, ROWS)


def flipped(share: float) -> pl.Series:
    return pl.Series(np.where(RANDOM.random(ROWS) < share, DELAY < 15, DELAY >= 15))


YES = pl.Series(DELAY >= 15)
COPIES: dict[str, pl.Series] = {
    "the outcome": OUTCOME,
    "in seconds": OUTCOME * 60,
    "in hours": OUTCOME / 60,
    "upside down": -OUTCOME,
    "rounded": OUTCOME.round(),
    "rounded down to minutes": OUTCOME.floor(),
    "with a little noise": pl.Series(DELAY + noise(1)),
    "its logarithm": pl.Series(np.log1p(np.maximum(DELAY, 0))),
    "shifted": OUTCOME + 1000,
    "in a step of five": (OUTCOME / 5).floor(),
    "a truth": YES,
    "the other truth": ~YES,
    "one and nought": YES.cast(pl.Int64),
    "two and one": YES.cast(pl.Int64) + 1,
    "yes and no": pl.Series(["yes" if late else "no" for late in YES]),
    "a code of three": pl.Series([2 if late else 1 + 2 * (number % 2) for number, late in enumerate(YES)]),
    "a status of five": pl.Series([f"L{n % 2}" if late else f"K{n % 3}" for n, late in enumerate(YES)]),
    "one in a hundred wrong": flipped(0.01),
    "a score": pl.Series(np.where(DELAY >= 15, 0.9, 0.1) + noise(0.1)),
    "a grade": pl.Series(["A" if d < 0 else "B" if d < 15 else "C" for d in DELAY]),
    "compensation": pl.Series(np.where(DELAY >= 15, 250 + noise(5), 0)),
    "the square": OUTCOME.clip(lower_bound=0) ** 2,
}
NULLS: dict[str, pl.Series] = {
    "a time in the air": where(HELD, pl.Series(noise(1) + 90)),
    "a gate": where(HELD, pl.Series(RANDOM.choice(["A1", "B2", "C3"], ROWS))),
    "a runway": where(HELD, pl.Series(RANDOM.integers(1, 4, ROWS))),
    "where half of the unknown lack it": where(pl.Series(~CANCELLED | (RANDOM.random(ROWS) < 0.5)), 1.0),
    "where a fifth of the unknown has it": where(pl.Series(~CANCELLED | (RANDOM.random(ROWS) < 0.2)), "x"),
    "a voucher": where(YES, pl.Series(RANDOM.integers(1, 10_000, ROWS))),
    "a reason": where(YES, pl.Series(RANDOM.choice(["fog", "crew"], ROWS))),
    "a refund date": where(YES, pl.Series([datetime(2023, 1, 1, tzinfo=UTC)] * ROWS)),
    "a thank-you": where(~YES, "thanks"),
    "a note to nearly all of them": where(pl.Series((DELAY >= 15) & (RANDOM.random(ROWS) < 0.99)), "note"),
}
TIMES: dict[str, pl.Series] = {
    "an arrival": MOMENTS + timedelta(hours=2),
    "an arrival of some": where(HELD, MOMENTS + timedelta(hours=2)),
    "an update a day later": MOMENTS + timedelta(days=1),
    "an update of a tenth": pl.Series(
        [at + timedelta(hours=3 if number % 10 == 0 else -3) for number, at in enumerate(MOMENTS)]
    ),
    "an update of one in fifty": pl.Series(
        [at + timedelta(hours=3 if number % 50 == 0 else -3) for number, at in enumerate(MOMENTS)]
    ),
    "a microsecond later": MOMENTS + timedelta(microseconds=1),
    "a date": (MOMENTS + timedelta(days=1)).dt.date(),
    "a date of some": where(HELD, (MOMENTS + timedelta(days=2)).dt.date()),
    "years later": MOMENTS + timedelta(days=900),
}
TEXTS: dict[str, pl.Series] = {
    "a sentence": pl.Series([f"arrived {delay} minutes late" for delay in DELAY]),
    "a sentence of most": pl.Series([f"it was {d}" if n % 4 else f"note {n}" for n, d in enumerate(DELAY)]),
    "in brackets": pl.Series([f"#{n} ({delay})" for n, delay in enumerate(DELAY)]),
    "in a list": pl.Series([f"{n}|{delay}|x" for n, delay in enumerate(DELAY)]),
}
WORDY: dict[str, pl.Series] = {
    "a log": pl.Series([f"order {n}: status {word}" for n, word in enumerate(WORDS)]),
    "in capitals": pl.Series([f"{n} {word.upper()}" for n, word in enumerate(WORDS)]),
    "in a path": pl.Series([f"/orders/{word}/{n}" for n, word in enumerate(WORDS)]),
    "a mail": pl.Series([f"Dear {n}, your parcel was {word}." for n, word in enumerate(WORDS)]),
    "the word itself": WORDS,
}
PLANTED = {**COPIES, **NULLS, **TIMES, **TEXTS}


def reasons_of(column: pl.Series, outcome: pl.Series = OUTCOME) -> list[str]:
    [facts] = leak_facts(column.alias("column").to_frame(), LATE, is_condition=True, outcome=outcome, moments=MOMENTS)
    return leak_reasons(facts)


def test_there_are_fifty() -> None:
    assert len(PLANTED) + len(WORDY) == 50


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_leak_is_asked_about(name: str) -> None:
    assert reasons_of(PLANTED[name])


@pytest.mark.parametrize("name", WORDY)
def test_a_text_that_holds_the_outcome_is_asked_about(name: str) -> None:
    assert reasons_of(WORDY[name], outcome=WORDS)


INNOCENT: dict[str, pl.Series] = {
    "noise": pl.Series(noise(1)),
    "a good predictor": pl.Series(DELAY + noise(15)),
    "a departure delay": pl.Series(np.where(CANCELLED & (RANDOM.random(ROWS) < 0), np.nan, DELAY + noise(12))),
    "a carrier": pl.Series(RANDOM.choice(["UA", "AA", "DL"], ROWS)),
    "a constant": pl.Series([1] * ROWS),
    "an id": pl.Series([f"c{number}" for number in range(ROWS)]),
    "an order of rows": pl.Series([*range(ROWS)]),
    "nothing": pl.Series([None] * ROWS, dtype=pl.Float64),
    "missing at random": where(pl.Series(RANDOM.random(ROWS) < 0.7), 1.0),
    "missing in five rows": where(pl.Series([number > 4 for number in range(ROWS)]), 1.0),
    "an earlier time": MOMENTS - timedelta(hours=1),
    "the day": MOMENTS.dt.date(),
    "a text with other numbers": pl.Series([f"seat {number} of row {number % 30}" for number in range(ROWS)]),
}


@pytest.mark.parametrize("name", INNOCENT)
def test_a_column_that_gives_nothing_away_is_not_asked_about(name: str) -> None:
    assert reasons_of(INNOCENT[name]) == []


@pytest.mark.parametrize(
    ("load", "questions"),
    [(datasets.load_breast_cancer, 0), (datasets.load_wine, 1), (datasets.load_iris, 2), (datasets.load_digits, 0)],
    ids=["tumours", "wines", "irises", "digits"],
)
def test_few_measurements_of_tables_that_others_ship_are_asked_about(
    load: Callable[..., tuple[np.ndarray, np.ndarray]], questions: int
) -> None:
    """The petals of one kind of iris are smaller than all others, which is no leak, and looks like one."""
    values, classes = load(return_X_y=True)
    columns = pl.DataFrame({f"column_{number}": part for number, part in enumerate(values.T)})
    facts = leak_facts(columns, pl.Series(classes == 0).cast(pl.Float64), is_condition=True)
    assert len([fact for fact in facts if leak_reasons(fact)]) == questions


def test_of_a_number_a_copy_is_asked_about_and_a_predictor_is_not() -> None:
    target = pl.Series(DELAY)
    columns = pl.DataFrame({"copy": DELAY * 3 + noise(0.5), "predictor": DELAY + noise(15), "nothing": noise(1)})
    facts = leak_facts(columns, target, is_condition=False)
    assert [fact.name for fact in facts if leak_reasons(fact)] == ["copy"]


def test_too_few_rows_of_a_class_say_nothing() -> None:
    label = pl.Series([1.0] * 9 + [0.0] * 91)
    [facts] = leak_facts(label.alias("copy").to_frame(), label, is_condition=True)
    assert facts.separation is None

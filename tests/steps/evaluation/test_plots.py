"""Every plot that the rows define is a PNG with the champion drawn over it; what is undefined is left out."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipelines.steps.evaluation import plots
from pipelines.steps.evaluation.metrics import Array
from pipelines.steps.evaluation.plots import PlotInput, draw

RANDOM = np.random.default_rng(0)
SCORES: Array = RANDOM.random(500)
LATE: Array = (RANDOM.random(500) < SCORES).astype(np.float64)
MINUTES: Array = RANDOM.normal(10, 30, 500)


def classification(**answers: Array) -> PlotInput:
    return PlotInput("flight_delay 4", LATE, answers, threshold=0.35)


def legend(figure: Figure) -> list[str]:
    found = figure.axes[0].get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def test_a_classification_has_four_plots_and_a_regression_two() -> None:
    assert list(draw("classification", classification(candidate=SCORES))) == [
        "roc",
        "precision_recall",
        "calibration",
        "confusion",
    ]
    pair = {"candidate": MINUTES * 0.5, "champion": MINUTES * 0}
    found = draw("regression", PlotInput("arrival_delay_minutes 4", MINUTES, pair))
    assert list(found) == ["residuals", "predicted_vs_actual"]
    assert all(content.startswith(b"\x89PNG") for content in found.values())


def test_the_same_answers_give_the_same_bytes() -> None:
    assert draw("classification", classification(a=SCORES)) == draw("classification", classification(a=SCORES))


def test_candidate_and_champion_are_both_in_the_legend_with_their_numbers() -> None:
    figure = plots.roc(classification(candidate=SCORES, champion=1 - SCORES))
    candidate, champion, chance = legend(figure)
    assert candidate.startswith("candidate  (area 0.8")
    assert champion.startswith("champion  (area 0.1")
    assert chance.startswith("chance")


def test_the_confusion_shows_counts_that_sum_to_the_rows() -> None:
    figure = plots.confusion(classification(candidate=SCORES, champion=1 - SCORES))
    for axes in figure.axes:
        assert sum(int(text.get_text().split("\n")[0].replace(",", "")) for text in axes.texts) == 500


def test_rows_of_one_class_have_no_curves() -> None:
    one_class = PlotInput("flight_delay 4", np.zeros(20), {"candidate": SCORES[:20]})
    assert list(draw("classification", one_class)) == ["calibration", "confusion"]


@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_constant_answers_can_be_drawn(problem: str) -> None:
    target = LATE if problem == "classification" else MINUTES * 0
    assert len(draw(problem, PlotInput("m 4", target, {"candidate": np.full(500, 0.5)}))) in (2, 4)


def test_no_rows_give_no_plots() -> None:
    assert draw("classification", PlotInput("m 4", np.empty(0), {"candidate": np.empty(0)})) == {}

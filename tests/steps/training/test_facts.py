"""The score to beat is that of the live version, whatever an alias names, or else the best one."""

from __future__ import annotations

from pipelines.steps.training.facts import previous_best
from pipelines.testing.ports import MemoryRegistry

MODEL = "flight_delay"


def test_the_score_to_beat_is_that_of_the_live_version_and_not_of_the_one_that_an_alias_names() -> None:
    registry = MemoryRegistry()
    assert previous_best(registry, MODEL, "roc_auc") == "none"
    for score, status in ((0.70, "retired"), (0.71, "live"), (0.72, "rejected")):
        tags, metrics = {"airworthy.status": status}, {"validation_roc_auc": score, "validation_log_loss": 1 - score}
        registry.register(MODEL, tags=tags, metrics=metrics)
    registry.move_alias(MODEL, "champion", "1")
    assert previous_best(registry, MODEL, "roc_auc") == "roc_auc 0.71 (version 2, champion)"


def test_without_a_live_version_it_is_the_best_whichever_way_the_metric_points() -> None:
    registry = MemoryRegistry()
    for score in (0.70, 0.72, 0.71):
        registry.register(MODEL, metrics={"validation_roc_auc": score, "validation_log_loss": 1 - score})
    assert previous_best(registry, MODEL, "roc_auc") == "roc_auc 0.72 (version 2)"
    assert previous_best(registry, MODEL, "log_loss") == "log_loss 0.28 (version 2)"

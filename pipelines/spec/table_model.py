"""What a model of a table without dates is trained and judged by: its rows are drawn, as none is later than another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.spec.model import ComparisonSpec, CrossValidation, Training
from pipelines.spec.split import SplitSpec

if TYPE_CHECKING:
    from pipelines.spec.model_declaration import ModelDeclaration

ENTITY_UNIT = "entity_id"
"""Unit of a comparison in which each row is one of its own."""
MINIMUM_ROWS = 50
"""Where none is declared: so many hold 20 units to compare, and rows of each part to train on."""

MAY_STAY_UNMEASURED = 36_500
"""Days: few may ask about a table, and too few requests are no fault."""


def table_faults(declared: ModelDeclaration) -> list[str]:
    """Fields that are of rows in order of time."""
    training, comparison = declared.training, declared.evaluation.comparison
    split, validation = training.split, training.cross_validation
    faults = {
        "training.history_days: a table has no days; remove it": training.history_days is not None,
        "training.out_of_core: rows are read in order of time, and a table has none; remove it": (
            training.out_of_core is not None
        ),
        "training.split.strategy: no row is later than another; write stratified or random": (
            "strategy" in split.model_fields_set and split.strategy == "time_ordered"
        ),
        "training.cross_validation.strategy: no row is later than another; write k_fold or stratified": (
            validation is not None
            and "strategy" in validation.model_fields_set
            and validation.strategy == "forward_chaining"
        ),
        "evaluation.comparison.unit: a table has no days; remove it, or name a column": (
            comparison is not None and "unit" in comparison.model_fields_set and comparison.unit == "day"
        ),
    }
    return [text for text, holds in faults.items() if holds]


def for_table(declared: ModelDeclaration, metric: str) -> tuple[Training, dict[str, Any]]:
    """``training`` with a drawn split where none is declared, and ``comparison``, by entity where no unit is."""
    training = declared.training
    changed: dict[str, Any] = {}
    if "strategy" not in training.split.model_fields_set:
        fields = training.split.model_dump(by_alias=True, exclude_unset=True)
        changed["split"] = SplitSpec.model_validate(fields | {"strategy": "stratified"})
    if training.cross_validation is not None and "strategy" not in training.cross_validation.model_fields_set:
        changed["cross_validation"] = CrossValidation(folds=training.cross_validation.folds, strategy="stratified")
    if "minimum_rows" not in training.model_fields_set:
        changed["minimum_rows"] = MINIMUM_ROWS
    comparison = declared.evaluation.comparison or ComparisonSpec(metric=metric)
    if "unit" not in comparison.model_fields_set:
        comparison = comparison.model_copy(update={"unit": ENTITY_UNIT})
    return training.model_copy(update=changed), {"comparison": comparison}

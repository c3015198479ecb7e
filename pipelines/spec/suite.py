"""An expectation suite declares what each row of a source must satisfy, each with the reason that its rows get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from pipelines.spec.column import ColumnSpec
from pipelines.spec.column_value import value_in_type
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.fault_text import shown

SINGLE_COLUMN_ARGUMENTS = ("column", "column_A", "column_B")
COLUMN_LIST_ARGUMENTS = ("column_list", "column_set")
COMPARED_ARGUMENTS = {
    **dict.fromkeys(
        ("expect_column_values_to_be_between", "expect_column_min_to_be_between", "expect_column_max_to_be_between"),
        ("min_value", "max_value"),
    ),
    **dict.fromkeys(
        (
            "expect_column_values_to_be_in_set",
            "expect_column_values_to_not_be_in_set",
            "expect_column_distinct_values_to_be_in_set",
            "expect_column_distinct_values_to_contain_set",
            "expect_column_distinct_values_to_equal_set",
            "expect_column_most_common_value_to_be_in_set",
        ),
        ("value_set",),
    ),
}
"""By type of expectation its arguments whose values are compared with those of the column, so they are of its type."""
HINTS = {"date": "2013-01-31", "timestamp": "2013-01-31T10:00:00Z"}


class DeclaredExpectation(DeclarationBlock):
    """One expectation. ``reason`` is stored with every row that it quarantines."""

    type: str
    kwargs: dict[str, Any] = {}
    reason: str = Field(min_length=1)

    @field_validator("kwargs")
    @classmethod
    def check_judges_every_row(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("mostly", 1) != 1:
            raise ValueError(
                f"mostly {arguments['mostly']} would publish rows that break the expectation; remove it: the dataset's "
                "max_quarantined_share says how many rows of a day may be quarantined"
            )
        return arguments

    @property
    def columns(self) -> list[str]:
        """The columns that it judges."""
        return judged_columns(self.kwargs)

    def type_faults(self, column: ColumnSpec) -> list[str]:
        """Arguments that are compared with the values of the column, and have values of another type."""
        kind = "number" if column.type == "integer" else column.type
        faults = []
        for name in COMPARED_ARGUMENTS.get(self.type, ()):
            value = self.kwargs.get(name)
            values = value if isinstance(value, list) else [] if value is None else [value]
            wrong = [shown(item) for item in values if value_in_type(item, kind) is None]
            if wrong:
                hint = f"; write it as {HINTS[kind]}" if kind in HINTS else ""
                faults.append(f"{name} {', '.join(wrong)} is no {column.type} like {self.kwargs['column']!r}{hint}")
        return faults


class DeclaredSuite(DeclarationBlock):
    """``include/expectations/<suite>.yaml``."""

    suite: Identifier
    expectations: list[DeclaredExpectation] = Field(min_length=1)

    def columns_by_reason(self) -> dict[str, list[str]]:
        """Reason to the columns of all expectations that give it."""
        columns: dict[str, list[str]] = {}
        for expectation in self.expectations:
            known = columns.setdefault(expectation.reason, [])
            known += [name for name in expectation.columns if name not in known]
        return columns


def judged_columns(arguments: Mapping[str, Any]) -> list[str]:
    """The columns that an expectation with these arguments judges, in the order of its arguments."""
    single = [arguments[name] for name in SINGLE_COLUMN_ARGUMENTS if isinstance(arguments.get(name), str)]
    listed = [name for argument in COLUMN_LIST_ARGUMENTS for name in arguments.get(argument) or []]
    return [*single, *map(str, listed)]

"""What a model predicts: a condition or a number over the columns of a row."""

from __future__ import annotations

from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.row_expression import Call, ColumnName, Constant, columns_of, parsed


class Target(DeclarationBlock):
    """What is predicted: a condition, or a number, over the columns of a row. Where it is null there is no label."""

    expression: str

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return columns_of(parsed(self.expression))

    def recorded(self) -> dict[str, str | float | None]:
        """As versions record it since 0.1: a column, and from which value it is true; another condition as text."""
        node = parsed(self.expression)
        if isinstance(node, ColumnName):
            return {"column": node.name, "at_least": None}
        if isinstance(node, Call) and node.name == ">=":
            column, limit = node.operands
            if isinstance(column, ColumnName) and isinstance(limit, Constant) and isinstance(limit.value, int | float):
                return {"column": column.name, "at_least": limit.value}
        return {"expression": self.expression}

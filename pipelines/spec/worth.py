"""What the answers of a model are worth and what it costs, as a person declares it; reported, and decides nothing."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipelines.spec.declared import DeclarationBlock


class Worth(DeclarationBlock):
    """Amounts in one currency. What is not declared is not reported."""

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
    right_answer: float | None = Field(default=None, ge=0)
    """What a right answer brings: the class by ``evaluation.threshold`` is the label's, or the error is within
    ``tolerance``."""
    wrong_answer: float | None = Field(default=None, ge=0)
    """What any other answer costs."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest error of a right answer of a regression, in the unit of its target."""
    training_hour: float | None = Field(default=None, ge=0)
    """What an hour of training costs."""
    serving_day: float | None = Field(default=None, ge=0)
    """What a day of serving costs, from the first release on."""

    @model_validator(mode="after")
    def check_both_answers(self) -> Self:
        amounts = {"right_answer": self.right_answer, "wrong_answer": self.wrong_answer}
        missing = [name for name, amount in amounts.items() if amount is None]
        if len(missing) == 1:
            raise ValueError(f"declare {missing[0]}, too (0 if it makes no difference): one alone is no balance")
        if self.tolerance is not None and missing:
            raise ValueError("tolerance is for right_answer and wrong_answer, which are not declared")
        return self

    def faults(self, problem: str) -> list[str]:
        """What is wrong with the block in a model of this problem."""
        if problem == "classification" and self.tolerance is not None:
            return ["worth.tolerance is for a regression; a classification is right by its class"]
        if problem == "regression" and self.right_answer is not None and self.tolerance is None:
            return ["worth.right_answer needs worth.tolerance, the largest error of a right answer of a regression"]
        return []

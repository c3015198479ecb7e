"""A verdict is PASS, FAIL or UNKNOWN (not measured) with every reason; a decision is a verdict and its action."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Action = TypeVar("Action", bound=str)
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""Of an incident, from the least to the worst."""


def significant(value: float, digits: int = 3) -> str:
    """``27.1``, ``0.00123``, ``1,101``: so many digits that count, more of a large number, and no exponent."""
    written = f"{value:.{digits}g}"
    return f"{value:,.0f}" if 10**digits <= abs(float(written)) < 1e15 else written


def counted(number: int, noun: str) -> str:
    """``1 row``, ``1,101 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


class Verdict(BaseModel):
    """The answer of one rule.

    ``reasons`` lists every failing or unmeasured condition (``roc_auc 0.681 < 0.700``); empty on PASS.
    ``findings`` says in words what was measured against which limit (``roc_auc 0.7656 ≥ 0.62``), whatever the outcome.
    ``facts`` has the numbers that the rule used, for the ledger and the task's page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    findings: tuple[str, ...] = Field(default=(), exclude_if=lambda lines: not lines)
    facts: dict[str, object] = Field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASS

    @classmethod
    def of(
        cls,
        rule: str,
        *,
        failures: Iterable[str] = (),
        unknowns: Iterable[str] = (),
        findings: Iterable[str] = (),
        facts: dict[str, object] | None = None,
    ) -> Verdict:
        """FAIL if anything failed, else UNKNOWN if anything was not measured, else PASS."""
        failed, unknown = tuple(failures), tuple(unknowns)
        outcome = Outcome.FAIL if failed else Outcome.UNKNOWN if unknown else Outcome.PASS
        return cls(rule=rule, outcome=outcome, reasons=failed + unknown, findings=tuple(findings), facts=facts or {})

    def lines(self) -> list[str]:
        """What a log shows of it: every reason, then the findings; without findings the single facts."""
        single = [f"{name} {value}" for name, value in self.facts.items() if isinstance(value, str | int | float)]
        measured = self.findings or [", ".join(single)] * bool(single)
        return [*self.reasons, *(f"measured: {line}" if self.reasons else line for line in measured)]

    def __str__(self) -> str:
        return f"{self.rule}: {self.outcome.value.upper()}" + "".join(f"\n  - {line}" for line in self.lines())


class Decision(BaseModel, Generic[Action]):
    """The decision of one rule: its verdict, and the action that the practice takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    action: Action
    reason: str = ""
    """Reason of the action, if the verdict has no reasons."""

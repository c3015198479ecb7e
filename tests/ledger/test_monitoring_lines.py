"""The facts of a check on a day are those of its newest line."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines.ledger.monitoring_lines import newest_facts
from pipelines.testing.ports import MemoryLedger

DAY = date(2013, 3, 8)


def line(check: str = "drift_check", day: str = "2013-03-08", **facts: Any) -> dict[str, Any]:
    return {"check": check, "day": day, "facts": facts}


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        ([], {}),
        ([line(faults=["amount"])], {"faults": ["amount"]}),
        ([line(faults=["old"]), line(faults=["new"])], {"faults": ["new"]}),
        ([line(faults=["a"]), line("live_input_check", faults=["b"])], {"faults": ["a"]}),
        ([line(faults=["a"]), line(day="2013-03-09", faults=["b"])], {"faults": ["a"]}),
        ([line(faults=["a"]), {"check": "drift_check", "day": "2013-03-08", "facts": None}], {}),
        ([{"day": "2013-03-08", "facts": {"faults": ["a"]}}, {"check": "drift_check"}], {}),
    ],
)
def test_the_newest_line_of_the_check_and_the_day_gives_the_facts(
    lines: list[dict[str, Any]], facts: dict[str, Any]
) -> None:
    ledger = MemoryLedger()
    for details in lines:
        ledger.append("monitoring_verdict", "churn", "3", details, actor="airworthy")
    assert newest_facts(ledger.entries("churn", "3", "monitoring_verdict"), "drift_check", DAY) == facts

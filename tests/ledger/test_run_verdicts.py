"""What ended a run is read from its own verdicts: the newest of each task, and no other run's."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.ledger.run_verdicts import refusal_text, refusals
from pipelines.testing.ports import MemoryLedger

RUN = "flight_delay__deploy/r"


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        ([], {}),
        ([("r/a/-1/0/x", "fail", ["no"])], {"a": ["no"]}),
        ([("r/a/-1/0/x", "unknown", ["too few", "late"])], {"a": ["too few", "late"]}),
        ([("r/a/-1/0/x", "fail", ["no"]), ("r/a/-1/1/y", "pass", [])], {}),
        ([("r/a/-1/0/x", "pass", []), ("r/a/-1/1/y", "fail", ["no"])], {"a": ["no"]}),
        ([("r2/a/-1/0/x", "fail", ["no"]), ("other", "fail", ["no"])], {}),
        ([("r/a/-1/0/x", None, [])], {}),
    ],
)
def test_the_newest_verdict_of_each_task_counts(
    lines: list[tuple[str, str | None, list[str]]], refused: dict[str, list[str]]
) -> None:
    ledger = MemoryLedger()
    for key, outcome, reasons in lines:
        details: dict[str, Any] = {"reasons": reasons} | ({"outcome": outcome} if outcome else {})
        ledger.append("rollout", "flight_delay", "2", details, actor="a", key=f"flight_delay__deploy/{key}")
    ledger.append("rollout", "flight_delay", "2", {"outcome": "fail", "reasons": ["by hand"]}, actor="a")
    assert refusals(ledger.entries(), RUN) == refused
    assert refusal_text(ledger.entries(), RUN) == "; ".join(refused.get("a", []))

"""What a person has to do about a live version, in one word with its reasons: fine, watch, act, or not measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from pipelines.verdict import Outcome

LiveStateName = Literal["fine", "watch", "act", "not measured"]


class LiveState(NamedTuple):
    name: LiveStateName
    reasons: list[str]
    """Of "watch" and "act": what is wrong, the worst first."""


def judge_live_state(verdicts: Mapping[str, tuple[str, Mapping[str, Any]]]) -> LiveState:
    """``verdicts``: check to the outcome and the facts of its newest verdict about the live version.

    act: labels show a loss, or a column broke that moves the answers. watch: any other detection, a column that moved,
    or an estimate below the certificate. What only differs from training is neither: seasons do that.
    """
    act: list[str] = []
    watch: list[str] = []
    measured = False
    for check, (outcome, facts) in verdicts.items():
        measured = measured or outcome != Outcome.UNKNOWN
        if check == "performance_check" and outcome == Outcome.FAIL:
            act.append(f"{facts.get('metric', 'the metric')} is worse than the certificate's")
        if check in ("drift_check", "live_input_check"):
            source = "callers send" if check == "live_input_check" else "the data have"
            faults, moving = _columns(facts, "faults"), set(_columns(facts, "act"))
            if outcome == Outcome.FAIL and (urgent := [name for name in faults if name in moving]):
                act.append(f"{source} broken columns that move the answers: {_named(urgent)}")
            if outcome == Outcome.FAIL and (others := [name for name in faults if name not in moving]):
                watch.append(f"{source} broken columns: {_named(others)}")
            if moved := _columns(facts, "watched"):
                watch.append(f"{source} columns that moved: {_named(moved)}")
        if check == "estimated_performance" and facts.get("state") == "watch":
            watch.append(f"{facts.get('metric')} is estimated below the certificate's, before its labels")
    if act or watch:
        return LiveState("act" if act else "watch", act + watch)
    return LiveState("fine" if measured else "not measured", [])


def _columns(facts: Mapping[str, Any], name: str) -> list[str]:
    return [str(column) for column in facts.get(name) or ()]


def _named(columns: Iterable[str]) -> str:
    ordered = list(columns)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")

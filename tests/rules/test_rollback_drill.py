"""When a drill may be held, who stands in, and what its times say, by table."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.messages.rollback_drill import DrillResult
from pipelines.messages.rollout import RolloutState
from pipelines.ports import LedgerEntry
from pipelines.rules.rollback_drill import blocking_reason, choose_candidate, judge_drill
from pipelines.testing.ports import MemoryLedger
from pipelines.verdict import Outcome


def state(**fields: Any) -> RolloutState:
    known = {"model": "m", "generation": 5, "champion": "3", "split": {"3": 10_000}, **fields}
    return RolloutState.model_validate(known)


@pytest.mark.parametrize(
    ("now", "deploying", "why"),
    [
        (state(), 0, None),
        (state(), 1, "1 run(s) of m__deploy are active"),
        (state(rollout_id="r1", phase="ROLLED_BACK"), 0, None),
        (state(rollout_id="r1", phase="SUCCEEDED"), 0, None),
        (state(rollout_id="r1", phase="BAKING"), 0, "rollout r1 of m is BAKING"),
        (state(rollout_id="r1", phase="PAUSED"), 0, "rollout r1 of m is PAUSED"),
        (state(rollout_id="r1", phase="FINALISING"), 0, "rollout r1 of m is FINALISING"),
        (state(rollout_id="drill-1", phase="BAKING"), 0, None),
    ],
)
def test_a_drill_never_comes_between_a_real_rollout_and_its_end(
    now: RolloutState, deploying: int, why: str | None
) -> None:
    assert blocking_reason(now, deploying) == why


def ledger(*told: tuple[str, str, dict[str, Any]]) -> list[LedgerEntry]:
    made = MemoryLedger()
    for kind, version, details in told:
        made.append(kind, "m", version, details, actor="a")
    return made.lines


def live(version: str, name: str = "uri") -> tuple[str, str, dict[str, Any]]:
    return "release", version, {name: f"bundles/{version}", "sha256": version * 2}


@pytest.mark.parametrize(
    ("now", "lines", "version"),
    [
        (state(), [], None),
        (state(), [live("3")], None),
        (state(previous="2"), [live("1"), live("2"), live("3")], "2"),
        (state(previous="1"), [live("1"), live("2", "bundle"), live("3")], "1"),
        (state(), [live("1"), live("2", "bundle"), live("3")], "2"),
        (state(), [live("3"), live("4"), ("rollback", "3", {"from": "4", "to": "3"})], None),
        (state(), [live("2"), live("3"), live("4"), ("rollback", "3", {"from": "4"})], "2"),
        (state(), [("release", "2", {})], None),
        (state(), [live("1"), ("rollback", "1", {"from": "2"}), live("2"), live("3")], "2"),
        (state(), [live("2"), live("1"), live("2"), live("3")], "2"),
        (state(previous="2"), [live("1"), live("3")], "1"),
    ],
)
def test_only_a_version_that_was_live_and_was_not_taken_back_stands_in(
    now: RolloutState, lines: list[Any], version: str | None
) -> None:
    found = choose_candidate(now.champion, now.previous, ledger(*lines))
    assert (found and found.version) == version


def result(**fields: Any) -> DrillResult:
    known = {"candidate": "2", "call_seconds": 0.1, "restored": True, "restored_seconds": 0.2}
    known |= {"before": 5, "after": 5, "last_answer_seconds": 0.05}
    return DrillResult.model_validate(known | fields)


@pytest.mark.parametrize(
    ("found", "outcome", "reasons"),
    [
        (result(), Outcome.PASS, []),
        (result(last_answer_seconds=1.0), Outcome.PASS, []),
        (result(last_answer_seconds=1.2), Outcome.FAIL, ["until 1.20 s after the call > max_seconds 1"]),
        (result(restored_seconds=9.0), Outcome.PASS, []),
        (result(asked=False, restored_seconds=9.0), Outcome.FAIL, ["until 9.00 s"]),
        (result(asked=False, before=0, after=0), Outcome.PASS, []),
        (
            result(restored=False, restored_seconds=30.0),
            Outcome.FAIL,
            ["30.00 s after the call the champion does not have"],
        ),
        (result(failed=2), Outcome.FAIL, ["2 request(s) of the drill were not answered"]),
        (result(turned_away=9), Outcome.PASS, []),
        (result(before=2), Outcome.UNKNOWN, ["the candidate gave 2 answers before the call < 3"]),
        (result(after=0), Outcome.UNKNOWN, ["the champion gave 0 answers after the call < 3"]),
        (result(before=0, failed=1), Outcome.FAIL, ["1 request(s)", "gave 0 answers"]),
        (None, Outcome.UNKNOWN, ["interrupted"]),
    ],
)
def test_a_drill_is_judged_by_the_last_answer_that_a_caller_could_have_got(
    found: DrillResult | None, outcome: Outcome, reasons: list[str]
) -> None:
    verdict = judge_drill(found, 1.0)
    assert verdict.outcome is outcome
    assert len(verdict.reasons) == len(reasons)
    assert all(part in reason for part, reason in zip(reasons, verdict.reasons, strict=True))


def test_a_version_that_cannot_be_loaded_any_more_fails_the_drill() -> None:
    verdict = judge_drill(None, 1.0, ["bundle b of m version 2 is refused", "there is no b"])
    assert (verdict.outcome, len(verdict.reasons)) == (Outcome.FAIL, 2)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"before": 3, "after": 3}, Outcome.PASS),
        ({"before": 2}, Outcome.UNKNOWN),
        ({"after": 2}, Outcome.UNKNOWN),
        ({"asked": False, "before": 2}, Outcome.PASS),
        ({"asked": False, "after": 2}, Outcome.PASS),
    ],
)
def test_three_answers_on_each_side_of_the_call_are_enough(changes: dict[str, Any], outcome: Outcome) -> None:
    assert judge_drill(result(**changes), 1.0).outcome is outcome


def test_the_facts_give_the_seconds_with_three_decimals() -> None:
    facts = judge_drill(result(last_answer_seconds=0.12345), 1.0).facts
    assert (facts["seconds"], facts["max_seconds"], facts["before"]) == (0.123, 1.0, 5)


def test_a_line_without_a_version_or_a_bundle_makes_no_candidate() -> None:
    nobody = LedgerEntry.model_construct(kind="release", version=None, details={"uri": "b", "sha256": "s"})
    assert choose_candidate("3", None, [nobody]) is None
    gate = LedgerEntry.model_construct(kind="gate", version="2", details={"uri": "b", "sha256": "s"})
    assert choose_candidate("3", None, [gate]) is None


def test_a_rollout_without_an_id_blocks_a_drill_by_its_phase() -> None:
    assert blocking_reason(state(phase="BAKING"), 0) == "rollout None of m is BAKING"

"""What happened to a version decides its state: the whole table, and stories of lines as practices write them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.ledger.version_state import (
    ROLLOUT_ENDS,
    TRANSITIONS,
    Event,
    State,
    VersionState,
    lines_about,
    live_version,
    read_versions,
    versions_in,
)
from pipelines.testing.ports import FixedClock, MemoryLedger

MODEL = "flight_delay"
TABLE = """
event         | unknown   candidate rejected  approved  staged    live      superseded rolled_back failed    retired
trained       | candidate candidate candidate .         .         .         .          .           .         .
refused       | rejected  rejected  rejected  rejected  .         .         .          .           rejected  .
approved      | approved  approved  approved  approved  .         .         approved   approved    approved  approved
prepared      | staged    staged    staged    staged    staged    .         staged     staged      staged    staged
withdrawn     | approved  .         .         .         *         .         .          .           .         .
failed_unseen | failed    failed    failed    failed    *         .         .          .           failed    .
taken_back    | back      back      back      back      back      back      back       back        back      back
went_live     | live      live      live      live      live      live      live       live        live      live
replaced      | former    former    former    former    former    former    former     former      former    former
out_of_reach  | .         .         .         .         .         retired   retired    .           .         .
"""
"""A dot: the state stays. A star: the state before the rollout counts."""
SHORT = {"failed": "failed_before_traffic", "back": "rolled_back", "former": "superseded"}


def rows() -> list[tuple[Event, State | None, str]]:
    head, *lines = TABLE.strip().splitlines()
    columns = head.partition("|")[2].split()
    states = [None if name == "unknown" else State(SHORT.get(name, name)) for name in columns]
    assert states == [None, *State]
    assert [line.partition("|")[0].strip() for line in lines] == list(Event)
    cells = [(Event(line.partition("|")[0].strip()), line.partition("|")[2].split()) for line in lines]
    return [(event, state, cell) for event, row in cells for state, cell in zip(states, row, strict=True)]


@pytest.mark.parametrize(("event", "state", "cell"), rows())
def test_every_event_makes_of_every_state_what_the_table_says(event: Event, state: State | None, cell: str) -> None:
    if cell == "*":
        assert event in ROLLOUT_ENDS
        return
    after = TRANSITIONS[event].get(state, state)
    assert after == (state if cell == "." else State(SHORT.get(cell, cell)))


# ---- stories ------------------------------------------------------------------------------------------------------


class Story:
    """Lines of one model as practices write them, in order; each is an hour later than the one before."""

    def __init__(self) -> None:
        self.clock = FixedClock(datetime(2013, 3, 1, tzinfo=UTC))
        self.ledger = MemoryLedger(self.clock)
        self.live: str | None = None
        self.previous: str | None = None

    def line(self, kind: str, version: str | None, actor: str = "airworthy", **details: Any) -> None:
        self.clock.advance(timedelta(hours=1))
        self.ledger.append(kind, MODEL, version, details, actor=actor)

    def train(self, version: str, outcome: str = "pass") -> None:
        self.line("training", version, outcome=outcome, reasons=[] if outcome == "pass" else ["rounds 0 < 1"])

    def gate(self, version: str, outcome: str, gate: str = "slice_gate") -> None:
        self.line("gate", version, gate=gate, outcome=outcome, reasons=[] if outcome == "pass" else ["YV lost 0.08"])

    def approve(self, version: str) -> None:
        self.train(version)
        self.gate(version, "pass")
        self.line("approval", version, semantic_version=f"1.0.{version}")

    def prepare(self, version: str) -> None:
        self.stage(version, "candidate_preparation", champion=self.live)

    def stage(self, version: str, practice: str, outcome: str = "pass", **details: Any) -> None:
        self.line("rollout", version, practice=practice, outcome=outcome, rollout_id=f"r{version}", **details)

    def canary(self, version: str) -> None:
        self.approve(version)
        self.prepare(version)
        self.stage(version, "canary_step", share=500)

    def release(self, version: str) -> None:
        self.live, self.previous = version, self.live
        self.line("release", version, previous=self.previous, rollout_id=f"r{version}")

    def roll_back(self, version: str | None, to: str | None, actor: str = "ann", **details: Any) -> None:
        given = {"from": version, "to": to, "reason": "late flights look punctual", "rollout_id": None, **details}
        self.line("rollback", version, actor, **given)
        if version == self.live:
            self.live, self.previous = to, None

    def observe(self, **target: Any) -> None:
        self.line("reconciliation", None, "ann", target=target)

    @property
    def versions(self) -> Mapping[str, VersionState]:
        return read_versions(self.ledger.entries(MODEL))

    @property
    def states(self) -> dict[str, str]:
        return {version: known.state.value for version, known in self.versions.items()}


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_version_goes_from_candidate_to_live(story: Story) -> None:
    assert story.states == {}
    story.train("1")
    assert story.states == {"1": "candidate"}
    story.gate("1", "pass")
    story.gate("1", "unknown")
    assert story.states == {"1": "candidate"}
    story.line("approval", "1", semantic_version="1.0.0")
    assert story.states == {"1": "approved"}
    story.release("1")
    assert story.states == {"1": "live"}
    story.canary("2")
    assert story.states == {"1": "live", "2": "staged"}
    story.release("2")
    assert story.states == {"1": "superseded", "2": "live"}
    story.canary("3")
    story.release("3")
    assert story.states == {"1": "retired", "2": "superseded", "3": "live"}


@pytest.mark.parametrize(
    "gate", ["candidate_evaluation", "minimum_metrics_gate", "champion_comparison_gate", "slice_gate"]
)
def test_a_gate_that_says_no_rejects_a_version_until_it_is_approved(story: Story, gate: str) -> None:
    story.train("1")
    story.gate("1", "fail", gate)
    assert story.states == {"1": "rejected"}
    assert story.versions["1"].reason == "YV lost 0.08"
    story.line("approval", "1", semantic_version="1.0.0")
    assert story.states == {"1": "approved"}


@pytest.mark.parametrize("gate", ["preflight_checklist", "champion_release", "release_rollback"])
def test_a_refused_deployment_is_no_rejection_by_a_gate(story: Story, gate: str) -> None:
    story.approve("1")
    story.gate("1", "fail", gate)
    assert story.states == {"1": "approved"}


def test_a_training_that_its_own_check_refused_is_no_candidate(story: Story) -> None:
    story.train("1", "fail")
    assert story.states == {"1": "rejected"}
    story.train("1")
    assert story.states == {"1": "candidate"}


def test_a_live_version_that_was_taken_back_says_by_whom_why_and_who_answers(story: Story) -> None:
    for version in ("3", "4"):
        story.approve(version)
        story.release(version)
    story.roll_back("4", "3")
    assert story.states == {"3": "live", "4": "rolled_back"}
    taken = story.versions["4"]
    assert (taken.by, taken.reason, taken.rollbacks[0].to) == ("ann", "late flights look punctual", "3")
    assert taken.text == f"rolled back since {taken.since:%Y-%m-%d %H:%M} UTC by ann: late flights look punctual"
    assert live_version(story.versions) == "3"


def test_a_candidate_is_rolled_back_if_callers_met_it_and_else_failed_before_traffic(story: Story) -> None:
    story.approve("1")
    story.release("1")
    story.approve("2")
    story.prepare("2")
    story.stage("2", "shadow_comparison", "fail")
    story.roll_back("2", "1", "airworthy", rollout_id="r2", by="analysis", traffic=0)
    assert story.states == {"1": "live", "2": "failed_before_traffic"}
    assert (story.versions["2"].by, story.versions["2"].rollbacks) == ("analysis", ())
    story.canary("3")
    story.roll_back("3", "1", "airworthy", rollout_id="r3", by="target", traffic=500)
    assert story.states["3"] == "rolled_back"
    assert len(story.versions["3"].rollbacks) == 1


def test_people_who_do_not_approve_leave_a_version_as_it_was(story: Story) -> None:
    story.approve("1")
    story.release("1")
    story.approve("2")
    for version, before in (("2", "approved"), ("2", "approved")):
        story.prepare(version)
        story.line("rollout_end", version, **{"from": version, "to": "1", "reason": "not let through"})
        assert story.states[version] == before


@pytest.mark.parametrize("end", ["withdrawn", "failed"])
def test_a_version_that_was_live_or_taken_back_keeps_that_when_a_second_rollout_of_it_ends_unseen(
    story: Story, end: str
) -> None:
    for version in ("1", "2", "3"):
        story.approve(version)
        story.release(version)
    story.canary("4")
    story.roll_back("4", "3", rollout_id="r4", traffic=500)
    for version, before in (("1", "retired"), ("2", "superseded"), ("4", "rolled_back")):
        story.prepare(version)
        assert story.states[version] == "staged"
        kind = "rollout_end" if end == "withdrawn" else "rollback"
        story.line(kind, version, **{"from": version, "to": "3", "reason": "", "rollout_id": "again", "traffic": 0})
        assert story.states[version] == before
    assert len(story.versions["4"].rollbacks) == 1


def test_a_newer_rollout_takes_the_place_of_an_older_one(story: Story) -> None:
    story.approve("1")
    story.release("1")
    story.approve("2")
    story.approve("3")
    story.prepare("2")
    story.prepare("3")
    assert story.states == {"1": "live", "2": "approved", "3": "staged"}


def test_a_version_that_was_put_back_and_released_again_remembers_that_it_was_taken_back(story: Story) -> None:
    for version in ("1", "2"):
        story.approve(version)
        story.release(version)
    story.roll_back("2", "1")
    story.release("2")
    story.approve("3")
    story.release("3")
    assert story.states == {"1": "retired", "2": "superseded", "3": "live"}
    assert [back.reason for back in story.versions["2"].rollbacks] == ["late flights look punctual"]


def test_an_expired_lease_takes_its_candidate_back(story: Story) -> None:
    story.approve("1")
    story.release("1")
    story.canary("2")
    reason = "its lease ended at 2013-03-01T09:00:00+00:00"
    story.line("lease_expired", "1", rollout_id="r2", phase="PAUSED", reason=reason)
    assert story.states["2"] == "staged"
    story.line("lease_expired", "1", rollout_id="r2", phase="ROLLED_BACK", reason=reason)
    assert (story.states["2"], story.versions["2"].reason) == ("rolled_back", reason)
    assert story.states["1"] == "live"


def test_versions_are_listed_by_number_and_not_by_letters(story: Story) -> None:
    for version in ("9", "10", "2"):
        story.approve(version)
    assert versions_in(story.versions, State.APPROVED) == ["10", "9", "2"]
    assert versions_in(story.versions, State.LIVE, State.STAGED) == []


# ---- lines from before 0.2.0 --------------------------------------------------------------------------------------


def test_lines_of_a_rollback_that_bear_the_version_that_stayed_are_about_the_one_that_was_taken_back(
    story: Story,
) -> None:
    story.approve("4")
    story.release("4")
    story.canary("5")
    ids = {"rollout_id": "r5", "champion": "4", "by": "run"}
    story.line("rollback", "4", **{"from": "5", "to": "4", "reason": "judge_at_5 failed", **ids})
    assert story.states == {"4": "live", "5": "rolled_back"}
    story.approve("6")
    story.prepare("6")
    story.line("rollback", "4", **{"from": "6", "to": "4", "reason": "shadow failed", **ids, "rollout_id": "r6"})
    assert story.states == {"4": "live", "5": "rolled_back", "6": "failed_before_traffic"}
    story.approve("7")
    story.prepare("7")
    story.line("rollout_end", "4", **{"from": "7", "to": "4", "reason": "not let through", "rollout_id": "r7"})
    assert story.states["7"] == "approved"
    story.release("7")
    story.line("rollback", "4", "ann", **{"from": "7", "to": "4", "reason": "bad", "generation": 9})
    assert (story.states["4"], story.states["7"]) == ("live", "rolled_back")
    about = {version: [line.kind for line in lines_about(version, story.ledger.entries())] for version in "4567"}
    assert not {"rollback", "rollout_end"} & set(about["4"])
    assert [about[version].count("rollback") for version in "567"] == [1, 1, 1]
    assert about["7"].count("rollout_end") == 1


def test_a_candidate_that_its_target_could_not_load_failed_before_traffic(story: Story) -> None:
    story.approve("1")
    story.release("1")
    story.approve("2")
    story.prepare("2")
    facts = {"phase": "FAILED", "failed_with_traffic": True, "why": "the rollout is FAILED"}
    story.stage("2", "rollout_rollback", facts=facts)
    assert story.states["2"] == "failed_before_traffic"


def test_other_lines_of_a_rollback_are_about_the_version_that_it_takes(story: Story) -> None:
    story.approve("1")
    story.release("1")
    story.canary("2")
    story.line("gate", "1", gate="release_rollback", outcome="pass", facts={"takes": "2", "to": "1"})
    story.line("lease_expired", "1", rollout_id="r2", phase="ROLLED_BACK", reason="over")
    kinds = {version: [line.kind for line in lines_about(version, story.ledger.entries())[-2:]] for version in "12"}
    assert kinds == {"1": ["approval", "release"], "2": ["gate", "lease_expired"]}


# ---- what the target serves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "states"),
    [
        ({"live": "3", "previous": "2"}, {"1": "retired", "2": "superseded", "3": "live", "4": "approved"}),
        ({"live": "2"}, {"1": "retired", "2": "live", "3": "rolled_back", "4": "approved"}),
        ({"live": "4", "previous": "3"}, {"1": "retired", "2": "retired", "3": "superseded", "4": "live"}),
        ({"live": "4", "previous": "1"}, {"1": "superseded", "2": "retired", "3": "retired", "4": "live"}),
        ({}, {"1": "retired", "2": "retired", "3": "retired", "4": "approved"}),
        (
            {"live": "3", "previous": "2", "candidate": "4", "rollout_id": "r4", "phase": "BAKING"},
            {"1": "retired", "2": "superseded", "3": "live", "4": "staged"},
        ),
        (
            {"live": "3", "previous": "2", "candidate": "2", "rollout_id": "r2", "phase": "READY"},
            {"1": "retired", "2": "staged", "3": "live", "4": "approved"},
        ),
    ],
)
def test_what_the_target_serves_goes_before_what_the_lines_said(
    story: Story, target: dict[str, Any], states: dict[str, str]
) -> None:
    for version in ("1", "2", "3"):
        story.approve(version)
        story.release(version)
    story.approve("4")
    for _ in range(2):
        story.observe(**target)
        assert story.states == states


def test_a_former_champion_that_was_taken_back_as_a_candidate_stays_so_though_the_target_can_restore_it(
    story: Story,
) -> None:
    for version in ("1", "2"):
        story.approve(version)
        story.release(version)
    story.canary("1")
    story.roll_back("1", "2", rollout_id="r1", traffic=500)
    assert story.states == {"1": "rolled_back", "2": "live"}
    story.observe(live="2", previous="1")
    assert story.states == {"1": "rolled_back", "2": "live"}
    story.roll_back("2", "1")
    assert story.states == {"1": "live", "2": "rolled_back"}
    assert len(story.versions["1"].rollbacks) == 1, "a reason to warn before it is put back"


@pytest.mark.parametrize(
    ("target", "state"),
    [
        ({"rollout_id": "r2", "phase": "ROLLED_BACK", "reason": "30 of 100 failed"}, "rolled_back"),
        ({"rollout_id": "r9", "phase": "SUCCEEDED"}, "approved"),
        ({"candidate": "2", "rollout_id": "r2", "phase": "BAKING"}, "staged"),
        ({}, "approved"),
    ],
)
def test_a_rollout_that_ended_without_a_line_is_read_from_its_target(
    story: Story, target: dict[str, Any], state: str
) -> None:
    story.approve("1")
    story.release("1")
    story.canary("2")
    story.observe(live="1", **target)
    assert story.states == {"1": "live", "2": state}
    assert state != "rolled_back" or story.versions["2"].reason == "30 of 100 failed"


# ---- properties ---------------------------------------------------------------------------------------------------


def tell_anything(story: Story, luck: random.Random) -> None:
    """One line of any kind about any version."""
    version, other = luck.choice("12345"), luck.choice("12345")
    match luck.randrange(8):
        case 0:
            story.train(version)
        case 1:
            story.gate(version, luck.choice(["pass", "fail"]))
        case 2:
            story.approve(version)
        case 3:
            story.canary(version)
        case 4:
            story.release(version)
        case 5:
            story.roll_back(version, other, traffic=luck.choice([0, 500]))
        case 6:
            story.line("rollout_end", version, **{"from": version, "to": other})
        case _:
            story.observe(live=version, previous=other if other != version else None)


def test_whatever_the_lines_are_at_most_one_version_is_live_and_one_is_staged_and_none_is_lost() -> None:
    for seed in range(60):
        luck, story, known = random.Random(seed), Story(), set[str]()
        for _ in range(25):
            tell_anything(story, luck)
            states = story.states
            assert list(states.values()).count("live") <= 1, (seed, states)
            assert list(states.values()).count("staged") <= 1, (seed, states)
            assert known <= states.keys()
            known = set(states)

"""What ledger and registry say otherwise than the target is named, item by item, and put right from the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Unavailable
from pipelines.ledger.version_state import lines_about
from pipelines.rollout.rollback_plan import DRILL_PREFIX
from pipelines.testing.ports import FakePorts
from pipelines.testing.rollout_target import FakeTarget
from pipelines.versions import reading
from pipelines.versions.reading import earlier_rollbacks, find_live_version, read_standing
from pipelines.versions.records import append_rollback, put_right, update_aliases, update_status
from pipelines.versions.standing import differences

MODEL = "flight_delay"
PLAN = {"strategy": "canary", "lease_seconds": 60.0, "guard": {"max_error_rate": 0.01}}


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    """Version 3 is live, 2 was before it, 1 was before that; 4 is approved. Everybody agrees."""
    made = FakePorts.make(tmp_path)
    target = made.targets[MODEL] = FakeTarget("1", clock=made.clock)
    for version in ("1", "2", "3", "4"):
        made.registry.register(MODEL)
        made.ledger.append("training", MODEL, version, {"outcome": "pass"}, actor="a")
        line = made.ledger.append("approval", MODEL, version, {"semantic_version": f"1.0.{version}"}, actor="a")
        update_status(made, line)
        if version == "4":
            break
        if version != "1":
            target.release(MODEL, version, f"bundles/{version}", version * 64, key=version)
        state = target.state(MODEL)
        update_status(made, made.ledger.append("release", MODEL, version, {"previous": state.previous}, actor="a"))
        update_aliases(made, state)
    return made


def found(ports: FakePorts) -> dict[str, tuple[str | None, str | None]]:
    """What differs: what is recorded, and what is right."""
    return {each.what: (each.recorded, each.right) for each in differences(read_standing(ports, MODEL))}


def begin_canary(ports: FakePorts, rollout_id: str = "r4", share: int = 500) -> None:
    target = ports.targets[MODEL]
    state = target.rollout(MODEL)
    target.create_rollout(MODEL, rollout_id, PLAN, expect=state.generation, key=f"{rollout_id}/c")
    state = target.prepare(MODEL, rollout_id, "4", "b", "s", expect=state.generation + 1, key=f"{rollout_id}/p")
    split = {"3": 10_000 - share, "4": share}
    target.set_traffic(MODEL, rollout_id, split, expect=state.generation, key=f"{rollout_id}/t")


def record_canary(ports: FakePorts) -> None:
    for practice, details in (("candidate_preparation", {"champion": "3"}), ("canary_step", {"share": 500})):
        line = {"practice": practice, "outcome": "pass", "rollout_id": "r4", **details}
        update_status(ports, ports.ledger.append("rollout", MODEL, "4", line, actor="a"))


def move_alias(alias: str, version: str | None) -> Any:
    return lambda ports: ports.registry.move_alias(MODEL, alias, version)


def delete_version(version: str) -> Any:
    def delete(ports: FakePorts) -> None:
        del ports.registry._versions[MODEL][version]
        for alias in ("champion", "previous"):
            if ports.registry._aliases.get((MODEL, alias)) == version:
                ports.registry.move_alias(MODEL, alias, None)

    return delete


def set_status(version: str, status: str) -> Any:
    return lambda ports: ports.registry.set_tags(MODEL, version, {"airworthy.status": status})


def roll_back_by_http(ports: FakePorts) -> None:
    ports.targets[MODEL].restore_previous(MODEL, key="http", reason="bad (by ann)")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda ports: None, {}),
        (move_alias("champion", "1"), {"alias champion": ("1", "3")}),
        (move_alias("champion", None), {"alias champion": (None, "3")}),
        (move_alias("previous", "4"), {"alias previous": ("4", "2")}),
        (move_alias("previous", None), {"alias previous": (None, "2")}),
        (set_status("3", "approved"), {"status of version 3": ("approved", "live")}),
        (set_status("1", "rolled_back"), {"status of version 1": ("rolled_back", "retired")}),
        (
            roll_back_by_http,
            {
                "the ledger's live version": ("3", "2"),
                "alias champion": ("3", "2"),
                "alias previous": ("2", None),
                "status of version 3": ("live", "rolled_back"),
                "status of version 2": ("superseded", "live"),
            },
        ),
    ],
)
def test_each_difference_is_found_and_put_right_once_with_a_line_of_what_and_who(
    ports: FakePorts, change: Any, what: dict[str, tuple[str | None, str | None]]
) -> None:
    change(ports)
    assert found(ports) == what
    lines = len(ports.ledger.lines)
    for _ in range(2):
        put_right(ports, read_standing(ports, MODEL), by="ann")
    assert found(ports) == {}
    written = ports.ledger.lines[lines:]
    assert [(line.kind, line.version, line.actor) for line in written] == [("reconciliation", None, "ann")] * bool(what)
    for line in written:
        assert {each["what"]: (each["recorded"], each["right"]) for each in line.details["changes"]} == what
        assert all(name in line.details["reason"] for name in what)


def test_a_live_version_that_the_registry_lacks_is_named_and_its_alias_removed(ports: FakePorts) -> None:
    delete_version("3")(ports)
    ports.registry.move_alias(MODEL, "champion", "1")
    assert set(found(ports)) == {"version 3 in the registry", "alias champion"}
    [missing, alias] = read_standing(ports, MODEL).disagreements
    assert missing.startswith("version 3 in the registry is missing, but the target serves version 3: release another")
    assert alias.endswith(f"airworthy reconcile {MODEL} --apply puts it right")
    put_right(ports, read_standing(ports, MODEL), by="ann")
    assert ports.registry.by_alias(MODEL, "champion") is None
    assert set(found(ports)) == {"version 3 in the registry"}


def test_a_target_that_lost_its_state_is_named(ports: FakePorts) -> None:
    ports.targets[MODEL] = FakeTarget(None)
    standing = read_standing(ports, MODEL)
    assert standing.live is None
    assert "the ledger's live version is 3, but the target serves nothing" in standing.disagreements[0]
    assert find_live_version(ports, MODEL) == "3", "what was released last is still the champion of a comparison"


def test_a_rollout_that_its_target_has_ended_is_told_with_the_targets_reason(ports: FakePorts) -> None:
    begin_canary(ports)
    record_canary(ports)
    assert found(ports) == {}
    ports.targets[MODEL].roll_back(MODEL, "r4", "30 of 100 failed", key="guard")
    [text] = read_standing(ports, MODEL).disagreements
    assert "the ledger's staged version is 4, but rollout r4 is ROLLED_BACK: 30 of 100 failed" in text
    put_right(ports, read_standing(ports, MODEL), by="ann")
    known = read_standing(ports, MODEL).versions["4"]
    assert (known.state, known.reason, found(ports)) == ("rolled_back", "30 of 100 failed", {})


def test_a_drill_is_no_rollout_of_the_version_that_it_tries(ports: FakePorts) -> None:
    begin_canary(ports, f"{DRILL_PREFIX}1", share=1)
    assert found(ports) == {}


def test_a_target_or_a_registry_that_does_not_answer_is_named_and_the_rest_is_compared(ports: FakePorts) -> None:
    set_status("1", "live")(ports)
    move_alias("champion", "1")(ports)
    ports.targets[MODEL].down = True
    standing = read_standing(ports, MODEL)
    assert (standing.live, standing.disagreements, standing.outdated_tags) == ("3", [], ["1"])
    assert "the target does not answer" in standing.unreachable[0]
    put_right(ports, standing, by="ann")
    champion = ports.registry.by_alias(MODEL, "champion")
    assert champion is not None
    assert champion.version == "1", "without the target nobody knows what is live"
    ports.targets[MODEL].down, ports.registry.down = False, True
    standing = read_standing(ports, MODEL)
    assert (standing.live, standing.disagreements) == ("3", [])
    assert "the registry does not answer" in standing.unreachable[0]


def test_a_rollback_line_bears_the_version_that_was_taken_back(ports: FakePorts) -> None:
    told: dict[str, Any] = {"taken_back": "3", "put_back": "2", "reason": "bad", "traffic": 10_000}
    line = append_rollback(ports, MODEL, **told, actor="ann", key="k")
    assert (line.version, line.details["from"], line.details["to"], line.actor) == ("3", "3", "2", "ann")
    lines = ports.ledger.entries(MODEL)
    assert [each.kind for each in lines_about("3", lines)][-1] == "rollback"
    assert "rollback" not in [each.kind for each in lines_about("2", lines)]


def test_before_a_version_is_put_back_every_time_that_it_was_taken_back_is_told(ports: FakePorts) -> None:
    assert earlier_rollbacks(ports, MODEL, "3") == []
    told: dict[str, Any] = {"taken_back": "3", "put_back": "2", "reason": "bad", "traffic": 10_000}
    append_rollback(ports, MODEL, **told, actor="ann", key="k")
    [warning] = earlier_rollbacks(ports, MODEL, "3")
    assert warning == "version 3 was itself taken back on 2013-03-01 06:00 UTC by ann: bad"
    assert earlier_rollbacks(ports, MODEL, "9") == []


def test_a_rollback_waits_neither_for_a_ledger_that_is_down_nor_for_one_that_hangs(
    ports: FakePorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    ports.ledger.down = True
    assert "is not known" in earlier_rollbacks(ports, MODEL, "3")[0]
    released = Event()
    monkeypatch.setattr(reading, "LEDGER_SECONDS", 0.01)
    monkeypatch.setattr(ports.ledger, "entries", lambda model: released.wait(60))
    assert "there was no answer within 0.01 s" in earlier_rollbacks(ports, MODEL, "3")[0]
    released.set()


def test_an_error_of_the_question_is_raised_where_its_answer_is_awaited() -> None:
    def refuse() -> None:
        raise Unavailable("down")

    with pytest.raises(Unavailable, match="down"):
        reading.answer_within(5, refuse)
    assert reading.answer_within(5, lambda: 7) == 7

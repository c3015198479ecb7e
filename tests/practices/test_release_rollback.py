from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Refused, Unavailable
from pipelines.messages import LiveState
from practices.release_rollback import ReleaseRollback
from tests.practices.airfield import MODEL, Airfield


def roll_back(field: Airfield, run: str = "manual__1", who: str | None = "oncall") -> Any:
    context = field.context("rollback", "restore_previous", run=run, triggering_user_name=who)
    return ReleaseRollback(task_id="restore_previous", model=MODEL, reason="bad").execute(context)


@pytest.fixture(autouse=True)
def two_releases(field: Airfield) -> None:
    for version in ("4", "5"):
        field.registry.add(version, status="approved")
        field.endpoint.release(MODEL, version, "bundle", "sha", key=version)
    field.registry.name(champion="5", previous="4")


def test_the_version_before_is_live_again_and_the_records_follow(field: Airfield) -> None:
    assert roll_back(field)["version"] == "4"
    assert field.endpoint.live.version == "4"
    assert field.registry.aliases == {"champion": "4"}
    [line] = field.ledger.entries(kind="rollback")
    assert (line.actor, line.details["from"], line.details["to"], line.details["reason"]) == ("oncall", "5", "4", "bad")


def test_there_is_no_second_step_back(field: Airfield) -> None:
    roll_back(field)
    with pytest.raises(Refused, match="no version before 4"):
        roll_back(field, run="manual__2")
    assert field.endpoint.live.version == "4"


def test_a_model_that_is_not_live_is_refused(field: Airfield) -> None:
    field.endpoint.serve(LiveState(model=MODEL))
    field.registry.name()
    with pytest.raises(Refused, match="no live version"):
        roll_back(field)


@pytest.mark.parametrize("moment", ["traffic", "previous", "champion", "after everything"])
def test_a_rollback_cut_off_half_way_is_finished_and_not_repeated(
    field: Airfield, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def die(*_: Any) -> Any:
        raise Unavailable("killed")

    with monkeypatch.context() as broken:
        if moment == "traffic":
            whole = field.endpoint.rollback
            broken.setattr(field.endpoint, "rollback", lambda *a, **n: die(whole(*a, **n)))
        elif moment == "after everything":
            broken.setattr("practices.release_rollback.asset", die)
        else:
            field.registry.break_on = moment
        with pytest.raises(Unavailable):
            roll_back(field)
    roll_back(field)
    assert field.endpoint.live.generation == 3
    assert field.registry.aliases == {"champion": "4"}
    [line] = field.ledger.entries(kind="rollback")
    assert line.details["from"] == "5"


def test_a_rollback_made_elsewhere_is_only_recorded(field: Airfield) -> None:
    field.endpoint.rollback(MODEL, key="cli", reason="fast")
    roll_back(field)
    assert field.endpoint.live.generation == 3
    assert field.registry.aliases == {"champion": "4"}
    assert len(field.lines("rollback")) == 1


def test_a_release_whose_records_lag_behind_is_still_rolled_back(field: Airfield) -> None:
    field.registry.name(champion="4")
    roll_back(field)
    assert field.endpoint.live.version == "4"

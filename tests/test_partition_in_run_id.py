"""A run of a partition shows it where Airflow's list of runs shows the id."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import JSON, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import partition_in_run_id
from partition_in_run_id import name_run, named_in_form, register, with_partition

MOMENT = "2026-11-27T21:44:12.270734+00:00"


@pytest.mark.parametrize(
    ("run_id", "key", "named"),
    [
        (f"asset_triggered__{MOMENT}_YIK", "2013-02-14", f"asset_triggered__2013-02-14__{MOMENT}_YIK"),
        (f"backfill__{MOMENT}__2013-02-14__8Yq", "2013-02-14", f"backfill__2013-02-14__{MOMENT}__8Yq"),
        (f"scheduled__{MOMENT}__2013-02-14__8Yq", "2013-02-14", f"scheduled__2013-02-14__{MOMENT}__8Yq"),
        (f"manual__{MOMENT}", "2013-02-14", f"manual__2013-02-14__{MOMENT}"),
        (f"manual__{MOMENT}", None, f"manual__{MOMENT}"),
        ("retrain_request__2013-03-03", "2013-03-03", "retrain_request__2013-03-03"),
        ("my own name", "2013-03-03", "my own name"),
        (f"asset_triggered__2013-02-14__{MOMENT}", "2013-02-14", f"asset_triggered__2013-02-14__{MOMENT}"),
    ],
)
def test_the_partition_follows_the_type_of_the_run_and_a_chosen_id_stays(
    run_id: str, key: str | None, named: str
) -> None:
    assert with_partition(run_id, key) == named


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ({"day": "2013-06-01"}, "2013-06-01"),
        ({"hour": "2013-06-01T05:00Z"}, "2013-06-01T05:00Z"),
        ({"month": "2013-06", "version": "3"}, "2013-06"),
        ({"version": "3"}, "version-3"),
        ({"version": 3}, "version-3"),
        ({"day": None, "version": ""}, None),
        ({"day": "20130601"}, None),
        ({"version": "../3"}, None),
        ({"version": "9" * 300}, None),
        ({"as_of": "2013-06-01"}, None),
        ({}, None),
        (None, None),
        ("day", None),
    ],
)
def test_a_run_by_hand_is_named_by_what_its_form_names(conf: object, named: str | None) -> None:
    assert named_in_form(conf) == named


class Base(DeclarativeBase):
    pass


class Run(Base):
    __tablename__ = "run"
    run_id: Mapped[str] = mapped_column(primary_key=True)
    partition_key: Mapped[str | None]
    conf: Mapped[Any] = mapped_column(JSON, nullable=True)


def test_a_run_is_named_before_it_is_stored_so_that_whoever_created_it_goes_on_with_that_id() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    event.listen(Run, "before_insert", name_run)
    with Session(engine) as session:
        run = Run(run_id=f"asset_triggered__{MOMENT}", partition_key="2013-02-14")
        session.add(run)
        session.flush()
        assert run.run_id == f"asset_triggered__2013-02-14__{MOMENT}"
        assert session.get(Run, run.run_id) is run
        by_hand = Run(run_id=f"manual__{MOMENT}", partition_key=None, conf={"day": "2013-02-15"})
        session.add(by_hand)
        session.flush()
        assert by_hand.run_id == f"manual__2013-02-15__{MOMENT}"


def test_the_runs_of_a_process_are_named_once_however_often_plugins_are_loaded() -> None:
    from airflow.models.dagrun import DagRun

    for _ in range(2):
        register()
        partition_in_run_id.on_starting(type("Job", (), {})())
    assert event.contains(DagRun, "before_insert", name_run)
    event.remove(DagRun, "before_insert", name_run)
    assert not event.contains(DagRun, "before_insert", name_run)

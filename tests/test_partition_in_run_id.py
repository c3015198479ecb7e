"""A run of a partition shows it where Airflow's list of runs shows the id."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import JSON, create_engine, event, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import partition_in_run_id
from partition_in_run_id import name_run, named_in_fields, register, with_partition

DEPLOY = "flight_delay__deploy"
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
    assert named_in_fields(conf) == named


AT = datetime(2026, 11, 27, 21, 44, tzinfo=UTC)
APPROVED, OTHER = 1, 2


@pytest.fixture
def airflow_database() -> Iterator[Session]:
    """Airflow's own tables of runs and events; the DAG ``flight_delay__deploy`` starts for asset ``APPROVED``."""
    from airflow.models import import_all_models
    from airflow.models.asset import AssetEvent, DagScheduleAssetReference
    from airflow.models.base import Base as AirflowBase
    from airflow.models.dagrun import DagRun, DagRunNote
    from airflow.models.tasklog import LogTemplate

    import_all_models()
    tables: Any = [kind.__table__ for kind in (AssetEvent, DagScheduleAssetReference, DagRun, DagRunNote, LogTemplate)]
    engine = create_engine("sqlite://")
    AirflowBase.metadata.create_all(engine, tables=tables)
    with Session(engine) as session:
        session.execute(insert(DagScheduleAssetReference).values(asset_id=APPROVED, dag_id=DEPLOY))
        register()
        yield session
    event.remove(DagRun, "before_insert", name_run)


def emitted(session: Session, minute: int, extra: dict[str, Any], asset: int = APPROVED) -> None:
    from airflow.models.asset import AssetEvent

    session.execute(insert(AssetEvent).values(asset_id=asset, extra=extra, timestamp=AT + timedelta(minutes=minute)))


def created(session: Session, minute: int, **fields: Any) -> str:
    """The id of a run that the scheduler creates as of this minute, with the suffix that it draws."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType

    after = AT + timedelta(minutes=minute)
    kind = fields.pop("run_type", DagRunType.ASSET_TRIGGERED)
    run_id = fields.pop("run_id", f"{kind.value}__{after.isoformat()}_YIK")
    run = DagRun(dag_id=DEPLOY, run_id=run_id, run_type=kind, run_after=after, **fields)
    session.add(run)
    session.flush()
    return str(run.run_id)


def test_a_run_that_an_approval_starts_bears_the_version_of_its_event(airflow_database: Session) -> None:
    emitted(airflow_database, 0, {"version": "3", "semantic_version": "1.2.0"})
    emitted(airflow_database, 0, {"version": "8"}, asset=OTHER)
    assert created(airflow_database, 0) == "asset_triggered__version-3__2026-11-27T21:44:00+00:00_YIK"
    emitted(airflow_database, 5, {"version": "10"})
    emitted(airflow_database, 5, {"version": "9"})
    emitted(airflow_database, 6, {"version": "11"})
    assert "__version-10__" in created(airflow_database, 5)
    assert "__version-11__" in created(airflow_database, 6)
    assert "version" not in created(airflow_database, 7)


def test_only_a_run_that_assets_start_is_named_by_events_and_a_chosen_id_stays(airflow_database: Session) -> None:
    from airflow.utils.types import DagRunType

    emitted(airflow_database, 0, {"version": "3"})
    assert created(airflow_database, 1, run_type=DagRunType.MANUAL).startswith("manual__2026")
    assert "__2013-02-14__" in created(airflow_database, 2, partition_key="2013-02-14")
    assert created(airflow_database, 3, run_id="my_own_name") == "my_own_name"


@pytest.mark.parametrize("extra", [{}, {"version": "../3"}, {"version": "9" * 300}, {"day": "soon"}])
def test_an_event_that_names_nothing_leaves_the_id_as_it_is(airflow_database: Session, extra: dict[str, Any]) -> None:
    emitted(airflow_database, 0, extra)
    assert created(airflow_database, 0).startswith("asset_triggered__2026")


class Base(DeclarativeBase):
    pass


class Run(Base):
    __tablename__ = "run"
    run_id: Mapped[str] = mapped_column(primary_key=True)
    run_type: Mapped[str]
    partition_key: Mapped[str | None]
    conf: Mapped[Any] = mapped_column(JSON, nullable=True)


def test_a_run_is_named_before_it_is_stored_so_that_whoever_created_it_goes_on_with_that_id() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    event.listen(Run, "before_insert", name_run)
    with Session(engine) as session:
        run = Run(run_id=f"asset_triggered__{MOMENT}", run_type="asset_triggered", partition_key="2013-02-14")
        session.add(run)
        session.flush()
        assert run.run_id == f"asset_triggered__2013-02-14__{MOMENT}"
        assert session.get(Run, run.run_id) is run
        by_hand = Run(run_id=f"manual__{MOMENT}", run_type="manual", partition_key=None, conf={"day": "2013-02-15"})
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

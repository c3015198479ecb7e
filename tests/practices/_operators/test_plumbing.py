"""What every practice stands on: one way to run a step, to act on a verdict, to retry and to name assets."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowSkipException

from pipelines import wiring
from pipelines.errors import Refused, Unavailable
from pipelines.messages.ingestion import IngestRequest, IngestResult
from pipelines.messages.validation import PublishResult
from pipelines.spec.runner import StageRunner
from pipelines.testing.ports import FakePorts, MemoryLedger
from pipelines.verdict import Verdict
from practices._connections import installation
from practices._operators import step_runner
from practices._operators.defaults import DEFAULT_ARGS, RETRIES, asset, daily_runs
from practices._operators.record_verdict import settle
from tests.practices.landing import DAY, dataset

PASS = Verdict.of("slice_gate")
FAIL = Verdict.of("slice_gate", failures=["origin=JFK: 0.61 < 0.66", "origin=LGA: 0.60 < 0.66"], facts={"rows": 9})
UNKNOWN = Verdict.of("slice_gate", unknowns=["origin=EWR: not measured"])


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


def act(verdict: Verdict, ledger: MemoryLedger, *, on_fail: Any = "skip", run: str = "r1", cleared: int = 0) -> None:
    settle(
        verdict,
        subject="flight_delay version 3 at the slice gate",
        ledger_kind="gate",
        model="flight_delay",
        version="3",
        ports=SimpleNamespace(ledger=ledger, settings=SimpleNamespace(actor="airworthy")),  # type: ignore[arg-type]
        context={
            "dag_run": SimpleNamespace(dag_id="flight_delay__evaluate", run_id=run, clear_number=cleared),
            "ti": SimpleNamespace(task_id="judge_slices", map_index=-1),
        },  # type: ignore[typeddict-item]
        on_fail=on_fail,
        details={"gate": "slice_gate"},
    )


def test_a_pass_is_on_record_and_lets_the_task_go_on(ledger: MemoryLedger) -> None:
    act(PASS, ledger)
    [line] = ledger.lines
    assert (line.kind, line.model, line.version, line.actor) == ("gate", "flight_delay", "3", "airworthy")
    assert line.details == {"gate": "slice_gate", "rule": "slice_gate", "outcome": "pass", "reasons": [], "facts": {}}


@pytest.mark.parametrize(
    ("verdict", "on_fail", "ends"),
    [
        (FAIL, "skip", AirflowSkipException),
        (FAIL, "fail", Refused),
        (UNKNOWN, "skip", Refused),
        (UNKNOWN, "fail", Refused),
    ],
)
def test_anything_but_a_pass_stops_what_follows_with_every_reason_told_and_on_record(
    verdict: Verdict, on_fail: str, ends: type[Exception], ledger: MemoryLedger
) -> None:
    with pytest.raises(ends) as stopped:
        act(verdict, ledger, on_fail=on_fail)
    assert all(reason in str(stopped.value) for reason in verdict.reasons)
    assert ledger.lines[0].details["reasons"] == list(verdict.reasons)


def test_nothing_is_done_about_a_verdict_that_could_not_be_recorded(ledger: MemoryLedger) -> None:
    ledger.down = True
    with pytest.raises(Unavailable):
        act(FAIL, ledger)


def test_a_retry_that_judges_alike_is_one_act_and_a_cleared_run_judges_anew(ledger: MemoryLedger) -> None:
    for verdict, cleared in ((PASS, 0), (PASS, 0), (FAIL, 0), (PASS, 1), (PASS, 1)):
        try:
            act(verdict, ledger, cleared=cleared)
        except AirflowSkipException:
            continue
    act(PASS, ledger, run="r2")
    assert [line.details["outcome"] for line in ledger.lines] == ["pass", "fail", "pass", "pass"]


# ---- steps -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ports(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    ports = FakePorts.make(tmp_path)
    monkeypatch.setattr(installation, "open_ports", lambda: ports)
    return ports


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A step by the name of ``probe`` that says which request it was given."""
    module = ModuleType("pipelines.steps.probe")
    module.run = lambda request, ports: IngestResult(dataset=request.dataset, day=request.day, sources=[])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipelines.steps.probe", module)
    monkeypatch.setitem(wiring.STEPS, "probe", IngestRequest)
    return module


REQUEST = IngestRequest(dataset="flights", day=DAY)


def test_a_step_gets_its_request_and_gives_its_result_in_the_tasks_own_process(
    ports: FakePorts, step: ModuleType
) -> None:
    assert step_runner.run_step("probe", REQUEST, IngestResult) == IngestResult(dataset="flights", day=DAY, sources=[])


def test_what_a_step_refuses_reaches_the_task_as_it_is(ports: FakePorts, step: ModuleType) -> None:
    def refuse(request: IngestRequest, ports: Any) -> IngestResult:
        raise Refused("no", ["one", "two"])

    step.run = refuse  # type: ignore[attr-defined]
    with pytest.raises(Refused) as error:
        step_runner.run_step("probe", REQUEST, IngestResult)
    assert error.value.reasons == ["one", "two"]


def test_a_step_that_answers_something_else_is_a_fault(ports: FakePorts, step: ModuleType) -> None:
    with pytest.raises(TypeError, match="probe returned IngestResult, not PublishResult"):
        step_runner.run_step("probe", REQUEST, PublishResult)


def test_a_runner_that_is_not_there_is_refused_saying_what_to_set(
    ports: FakePorts, step: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "settings", ports.settings.model_copy(update={"runner": "mainframe"}))
    with pytest.raises(Refused, match="AIRWORTHY_RUNNER 'mainframe'"):
        step_runner.run_step("probe", REQUEST, IngestResult, runner=StageRunner())


def test_ports_are_opened_once_per_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AIRWORTHY_HOME", str(tmp_path / "one"))
    first = installation.open_ports()
    assert installation.open_ports() is first
    monkeypatch.setenv("AIRWORTHY_HOME", str(tmp_path / "two"))
    assert installation.open_ports().settings.home == tmp_path / "two"


# ---- retries, names, days --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (Refused("no"), RetryAction.FAIL),
        (Unavailable("gone"), RetryAction.RETRY),
        (OSError("disk"), RetryAction.DEFAULT),
    ],
)
def test_only_what_can_come_right_by_itself_is_tried_again(error: Exception, action: RetryAction) -> None:
    assert RETRIES.evaluate(error, try_number=1, max_tries=DEFAULT_ARGS["retries"]).action is action


def test_an_asset_is_named_by_subject_and_state() -> None:
    assert (asset("flights", "ingested").name, asset("flights", "ingested").uri) == (
        "flights:ingested",
        "x-airworthy://flights/ingested",
    )


def test_each_day_of_the_calendar_has_one_run_and_no_other_day_has_any() -> None:
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable
    from airflow.timetables.base import TimeRestriction

    runs = daily_runs(dataset(start="2013-01-01", end="2013-12-31", schedule="0 6 * * *").calendar)
    timetable: Any = decode_timetable(encode_timetable(runs["schedule"]))
    restriction = TimeRestriction(earliest=runs["start_date"], latest=runs["end_date"], catchup=True)
    keys, last = [], None
    while info := timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction):
        keys.append(info.partition_key)
        last = info
    assert keys == [f"{date(2013, 1, 1) + timedelta(days=number)}" for number in range(365)]


def test_a_backfill_from_one_date_to_another_holds_both_days() -> None:
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    timetable: Any = decode_timetable(encode_timetable(daily_runs(dataset().calendar)["schedule"]))
    first, last = datetime(2013, 3, 8, tzinfo=UTC), datetime(2013, 3, 11, tzinfo=UTC)
    infos = timetable.iter_partition_dagrun_infos(earliest=first, latest=last)
    assert [info.partition_key for info in infos] == ["2013-03-08", "2013-03-09", "2013-03-10", "2013-03-11"]

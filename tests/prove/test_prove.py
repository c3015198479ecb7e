"""Streams are the same for the same seed, calm ones disturb nobody, planted harm is found, and a run goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from pipelines.cli import prove as command
from pipelines.errors import Refused
from pipelines.prove.fleet import Fleet
from pipelines.prove.ground import Ground, read_ground
from pipelines.prove.proof import DRIFT, Outcome, Proof
from pipelines.prove.report import goal_lines, report_text
from pipelines.prove.streams import HARMFUL, HARMLESS, draw_stream, features_by_source, possible_kinds
from pipelines.testing.ports import FakePorts
from tests.prove.small_ground import DAYS, ROWS, small_ports
from tests.steps.monitored import MODEL

EVERY = 56


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> FakePorts:
    return small_ports(tmp_path_factory.mktemp("prove"))


@pytest.fixture(scope="module")
def ground(ports: FakePorts) -> Ground:
    return read_ground(MODEL, ports)


@pytest.fixture(scope="module")
def proof(ports: FakePorts, ground: Ground) -> Proof:
    fleet = Fleet(ground, ports, lambda number: ground.rows_of(number, 0))
    return Proof(ground, fleet, seed=3, days=14, trained_every=EVERY)


def test_versions_and_streams_share_no_row(ground: Ground) -> None:
    learnt, drawn = (ground.rows.filter(half=half)["entity_id"] for half in (0, 1))
    assert not set(learnt) & set(drawn)
    assert (ground.rows.height, ground.length) == (DAYS * ROWS, DAYS)


def test_a_day_beyond_the_calendar_is_the_same_weekday_at_the_calendars_begin(ground: Ground) -> None:
    assert ground.day(DAYS + 3).weekday() == ground.day(3).weekday()
    later, first = ground.rows_of(DAYS + 3, 0), ground.rows_of(3, 0)
    assert later["target"].to_list() == first["target"].to_list()
    assert (later["prediction_time"][0] - first["prediction_time"][0]).days == DAYS


@pytest.mark.parametrize("kind", [*HARMLESS, *(kind for kind in HARMFUL if kind != "missing source")])
def test_a_stream_is_the_same_for_the_same_seed_and_another_from_its_onset_on(ground: Ground, kind: str) -> None:
    stream = draw_stream(ground, (3, 1), kind, onset=100)  # type: ignore[arg-type]
    again = draw_stream(ground, (3, 1), kind, onset=100)  # type: ignore[arg-type]
    for day in (99, 100, 130):
        assert_frame_equal(stream.rows_of(day), again.rows_of(day))
        changed = not stream.rows_of(day).equals(stream.rows_of(day, planted=False))
        assert changed == (day >= 100 and kind != "calm") or (kind == "other mix" and day == 100)


def test_features_of_the_row_itself_are_of_no_source_that_could_be_missing(ground: Ground) -> None:
    assert features_by_source(ground) == {}
    assert "missing source" not in possible_kinds(ground, HARMFUL)


def test_a_stream_without_harm_disturbs_nobody(proof: Proof) -> None:
    outcome = proof.harmless(0)
    assert (outcome.kind, outcome.pages, outcome.warnings) == ("calm", 0, 0)


def test_a_column_in_another_unit_is_found_on_its_second_day_before_its_labels_show_it(proof: Proof) -> None:
    outcome = proof.harmful(HARMFUL.index("unit change"))
    assert (outcome.by, outcome.found_after) == (DRIFT, 2)
    assert outcome.loss is not None
    assert outcome.loss >= 0.01


def test_outcomes_that_mean_something_else_are_found_by_labels_alone(proof: Proof) -> None:
    outcome = proof.harmful(possible_kinds(proof.ground, HARMFUL).index("concept change"))
    assert (outcome.kind, outcome.by) == ("concept change", "performance")


def test_the_report_says_what_was_found_how_soon_and_what_was_not() -> None:
    outcomes = [
        Outcome(number=0, kind="calm", what="calm", is_harmful=False, warnings=2),
        Outcome(
            number=0, kind="unit change", what="unit change temp", is_harmful=True, loss=0.1, found_after=2, by=DRIFT
        ),
        Outcome(number=1, kind="label shift", what="label shift", is_harmful=True, loss=0.02),
    ]
    page = report_text("m", 1, 364, outcomes)
    assert "| calm | 1 | 0 | 1 | 2 |" in page
    assert "| unit change | 1 | 1 | 1 | 0 | 2 | 2 |" in page
    assert "Not found: label shift (costs 0.020)." in page
    assert [line.split(":")[0] for line in goal_lines(outcomes)] == ["holds", "MISSED"]


def test_a_run_goes_on_where_it_ended_and_refuses_what_another_seed_left(
    ports: FakePorts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"model": MODEL, "days": 1, "every": EVERY, "seed": 3, "into": str(tmp_path)}
    command.run(argparse.Namespace(**fields, streams=1), ports)
    assert "1 of 1: calm" in capsys.readouterr().out
    assert (tmp_path / "delays.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "streams.jsonl").open("a") as file:
        file.write('{"number":1,"kind":"ca')  # by a run that was killed
    command.run(argparse.Namespace(**fields, streams=1), ports)
    shown = capsys.readouterr().out
    assert "1 of 1" not in shown
    assert "holds: 0 of 1 harmless years page" in shown
    with pytest.raises(Refused, match="name another folder by --into"):
        command.run(argparse.Namespace(**{**fields, "seed": 4}, streams=1), ports)


def test_a_store_of_a_few_weeks_is_refused(tmp_path: Path) -> None:
    ports = small_ports(tmp_path)
    for table in ports.store.tables.values():
        for day in list(table)[30:]:
            del table[day]
    with pytest.raises(Refused, match="has 30 days; a simulation needs 140"):
        read_ground(MODEL, ports)

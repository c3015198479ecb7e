"""What each version did is kept step by step, and no unit's misfortune is counted twice."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines.messages.rollout import ArmCounts
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.traffic import counters as arm_counters
from pipelines.serving.traffic.counters import ArmCounters, ArmKey, ArmTally
from pipelines.statistics.e_values import StageEvents, log_e_sample_ratio
from pipelines.steps.weigh_rollout import read_stages


def key(step: int, role: str = "candidate", rollout: str = "r1") -> ArmKey:
    return ("m", rollout, step, "2" if role == "candidate" else "1", role)


def arms(counts: RolloutCounts, *limits: str) -> dict[tuple[int, str], dict[str, Any]]:
    return {(arm["step"], arm["role"]): arm for arm in counts.report("m", "r1", limits)}


def test_a_unit_counts_among_the_bad_ones_in_the_first_step_of_the_rollout_only(tmp_path: Path) -> None:
    counts = RolloutCounts(tmp_path / "counts.db")
    counts.add([(key(1, "champion"), ArmTally(requests=2, failed=1, units=[(7, 1), (8, 0)]))])
    counts.add([(key(1), ArmTally(requests=1, units=[(9, 0)]))])
    # The canary grew: 7, which had met an error of the champion, is the candidate's now.
    counts.add([(key(2), ArmTally(requests=3, failed=3, units=[(7, 1), (8, 1), (9, 0), (9, 1)]))])
    counts.add([(key(3), ArmTally(requests=1, failed=1, units=[(8, 1)]))])
    found = arms(counts)
    assert [(place, arm["units"], arm["bad_units"]) for place, arm in found.items()] == [
        ((1, "champion"), 2, 1),
        ((1, "candidate"), 1, 0),
        ((2, "candidate"), 3, 2),
        ((3, "candidate"), 1, 0),
    ]


def test_a_late_report_of_an_earlier_step_takes_the_event_back_there(tmp_path: Path) -> None:
    counts = RolloutCounts(tmp_path / "counts.db")
    counts.add([(key(2), ArmTally(units=[(7, 1)]))])
    counts.add([(key(1), ArmTally(units=[(7, 1)]))])
    assert [arm["bad_units"] for arm in arms(counts).values()] == [1, 0]


def test_slow_units_are_counted_by_limit_and_all_counts_survive_the_process(tmp_path: Path) -> None:
    counters = ArmCounters()
    for seconds, unit in ((0.2, 1), (0.2, 1), (0.02, 2), (0.001, 3)):
        counters.count_request(key(1), seconds, (10.0, 100.0), unit=unit)
    counts = RolloutCounts(tmp_path / "counts.db")
    counts.add(counters.take_tallies())
    counters.count_request(key(1), 0.5, (10.0, 100.0), bad="error", unit=3)
    counts.add(counters.take_tallies())
    counts.close()
    arm = arms(RolloutCounts(tmp_path / "counts.db"), "10", "100")[1, "candidate"]
    assert (arm["requests"], arm["units"], arm["bad_units"]) == (5, 3, 1)
    assert (arm["slow"], arm["slow_units"]) == ({"10": 4, "100": 3}, {"10": 3, "100": 2})
    assert arm["seconds"] == pytest.approx(0.921)


def test_the_counts_of_another_rollout_are_forgotten_with_it(tmp_path: Path) -> None:
    counts = RolloutCounts(tmp_path / "counts.db")
    counts.add([(key(1), ArmTally(requests=1, units=[(7, 1)])), (key(1, rollout="r2"), ArmTally(requests=2))])
    counts.keep_only_rollouts({("m", "r2")})
    assert arms(counts) == {}
    counts.add([(key(1), ArmTally(units=[(7, 1)]))])
    assert arms(counts)[1, "candidate"]["bad_units"] == 1, "the same unit is new again"


def test_a_unit_is_new_to_the_rollout_once_and_counts_among_the_bad_ones_of_every_stage(tmp_path: Path) -> None:
    counts = RolloutCounts(tmp_path / "counts.db")
    counts.add([(key(1, "champion"), ArmTally(requests=2, failed=1, units=[(7, 1), (8, 0)]))])
    counts.add([(key(2), ArmTally(requests=3, failed=2, units=[(7, 1), (7, 1), (9, 1)]))])
    counts.close()
    champion, candidate = arms(RolloutCounts(tmp_path / "counts.db")).values()
    assert (champion["new_units"], champion["event_units"]["bad"]) == (2, 1)
    assert (candidate["units"], candidate["new_units"], candidate["event_units"]["bad"]) == (2, 1, 2)
    assert candidate["bad_units"] == 1, "7 had failed before, in the other arm"


def test_answers_beyond_the_champions_percentile_are_counted_by_request_and_by_unit(tmp_path: Path) -> None:
    counters, counts = ArmCounters(), RolloutCounts(tmp_path / "counts.db")
    for seconds, unit in ((0.2, 1), (0.2, 1), (0.02, 2)):
        counters.count_request(key(1), seconds, (10.0,), unit=unit, beyond_p99=seconds > 0.1)
    counters.count_request(key(1), 9.0, (10.0,), unit=3)
    counts.add(counters.take_tallies())
    arm = arms(counts, "10")[1, "candidate"]
    assert (arm["beyond_p99"], arm["beyond_p99_units"]) == (2, 1)
    assert arm["event_units"] == {"bad": 0, "beyond_p99": 1, "10": 3}


@pytest.mark.parametrize("workers", [1, 3])
def test_the_split_of_more_keys_than_a_worker_counts_in_full_is_that_of_all_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Twenty times as many keys as are counted in full, of which the candidate has 5 %, in any order of arrival."""
    monkeypatch.setattr(arm_counters, "MAX_COUNTED_UNITS", 1000)
    draw, counts = random.Random(5), RolloutCounts(tmp_path / "counts.db")
    processes = [ArmCounters() for _ in range(workers)]
    for _ in range(20_000 * workers):
        unit = draw.getrandbits(64)
        role = "candidate" if unit % 10_000 < 500 else "champion"
        for _ in range(draw.choice([1, 1, 3])):
            draw.choice(processes).count_request(key(1, role), 0.001, (), unit=unit)
    for process in processes:
        assert sum(len(units) for units in process._units.values()) < 3000, "memory stays bounded"
        counts.add(process.take_tallies())
    rows = [ArmCounts.model_validate(row | {"share": 500}) for row in counts.report("m", "r1")]
    stage = read_stages(rows, keys=True)[1]
    assert 0.04 < stage.candidate.units / (stage.candidate.units + stage.champion.units) < 0.06
    new = stage.candidate.new_units, stage.champion.new_units
    assert log_e_sample_ratio([StageEvents(stage.weight, *(number or 0 for number in new))]) < 1


OLD_TALLY = [2, 1, {"error": 1}, {}, 0, 0, 0, 0, 0, 0, 0, [], 2, 0.5]


def test_a_rollout_under_way_is_read_right_by_a_newer_gateway(tmp_path: Path) -> None:
    """What an older gateway stored: units by stage and first events, and tallies with fewer fields."""
    connection = sqlite3.connect(tmp_path / "counts.db")
    connection.executescript(
        "CREATE TABLE tallies (model TEXT, rollout TEXT, step INTEGER, version TEXT, role TEXT, tally BLOB NOT NULL,"
        " PRIMARY KEY (model, rollout, step, version, role));"
        "CREATE TABLE met (model TEXT, rollout TEXT, step INTEGER, version TEXT, role TEXT, unit BLOB,"
        " PRIMARY KEY (model, rollout, step, version, role, unit)) WITHOUT ROWID;"
        "CREATE TABLE firsts (model TEXT, rollout TEXT, event INTEGER, unit BLOB, step INTEGER NOT NULL,"
        " version TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (model, rollout, event, unit)) WITHOUT ROWID;"
    )
    for place in (key(1, "champion"), key(2, "candidate")):
        connection.execute("INSERT INTO tallies VALUES (?, ?, ?, ?, ?, ?)", (*place, msgspec.json.encode(OLD_TALLY)))
        for unit in (7, 8) if place[2] == 1 else (8, 9):
            connection.execute("INSERT INTO met VALUES (?, ?, ?, ?, ?, ?)", (*place, unit.to_bytes(8, "big")))
    first = ("m", "r1", 0, (8).to_bytes(8, "big"), 1, "1", "champion")
    connection.execute("INSERT INTO firsts VALUES (?, ?, ?, ?, ?, ?, ?)", first)
    connection.commit()
    connection.close()
    for _ in range(2):  # also when it is opened again
        counts = RolloutCounts(tmp_path / "counts.db")
        champion, candidate = arms(counts).values()
        assert (champion["units"], champion["new_units"], champion["event_units"]["bad"]) == (2, 2, 1)
        assert (candidate["units"], candidate["new_units"], candidate["bad_units"]) == (2, 1, 0)
        counts.close()
    counts = RolloutCounts(tmp_path / "counts.db")
    counts.add([(key(3), ArmTally(units=[(7, 0), (10, 0)]))])
    assert arms(counts)[3, "candidate"]["new_units"] == 1


def test_a_tally_of_an_older_worker_is_read_with_what_it_counted() -> None:
    [(_, tally)] = arm_counters.decode_tallies([[list(key(1)), OLD_TALLY]])
    assert (tally.requests, tally.distinct_units, tally.new_units, tally.beyond_p99) == (2, 2, 0, 0)

"""What each version did is kept step by step, and no unit's misfortune is counted twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.traffic.counters import ArmCounters, ArmKey, ArmTally


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

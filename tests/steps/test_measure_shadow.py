from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from pipelines import store_paths
from pipelines.messages.comparison import ShadowMeasure, ShadowRequest
from pipelines.messages.rollout import ArmCounts
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import Shadow
from pipelines.statistics.e_values import log_e_disagreement, log_e_value
from pipelines.steps import measure_shadow
from tests.steps.monitored import DAY, MODEL, Flushed, MemoryStore, flights, ports
from tests.steps.side_by_side import NOW, answered, declared

SHADOW = Deployment(strategy="shadow", shadow=Shadow(max_disagreement=0.1, tolerance=0.05))
PNG = b"\x89PNG"


def arm(**counts: Any) -> ArmCounts:
    return ArmCounts(version="2", role="shadow", **counts)


def measure(
    *arms: ArmCounts,
    store: MemoryStore | None = None,
    report: bool = False,
    callers: dict[str, int] | None = None,
    **parts: Any,
) -> ShadowMeasure:
    request = ShadowRequest(
        model=MODEL,
        champion="1",
        version="2",
        rollout_id="r1",
        started=NOW - timedelta(hours=2),
        now=NOW,
        arms=list(arms),
        report=report,
        **(callers or {}),
    )
    return measure_shadow.run(request, ports(declared(SHADOW), store=store or MemoryStore(), **parts))


def pairs(store: MemoryStore, champion: Any, candidate: Any, on: date | None = None, **more: Any) -> None:
    """The same requests answered by both, about the flights of a day if one is given."""
    about = None if on is None else flights(on, len(champion))
    answered(store, champion, version="1", role="champion", flights=about, latency_ms=8.0, **more)
    answered(store, candidate, version="2", role="shadow", flights=about, latency_ms=2.0, **more)


def test_counts_of_all_mirrored_steps_are_summed_and_weighed_against_the_declared_limits() -> None:
    found = measure(
        arm(step=1, requests=400, sent=400, dropped=50, compared=400, disagreed=10, flipped=3),
        arm(step=3, requests=600, failed=2, sent=640, compared=598, disagreed=20),
    )
    assert (found.requests, found.failed, found.compared, found.disagreed, found.flipped) == (1000, 2, 998, 30, 3)
    assert found.coverage == pytest.approx(1000 / 1090)
    assert found.elapsed == 7200
    assert found.disagreement_below_log_e == pytest.approx(log_e_value(30, 998, 0.1, alternative="less"))
    assert found.disagreement_above_log_e == pytest.approx(log_e_value(30, 998, 0.1))
    assert found.bad_above_log_e == pytest.approx(log_e_value(2, 1000, 0.01))


def test_failures_are_compared_with_those_of_the_champion_on_the_same_callers() -> None:
    counted = arm(requests=500, failed=150, sent=500, compared=350)
    assert measure(counted).bad_beyond_champion_log_e is None
    alike, worse = (measure(counted, callers={"callers": 1000, "callers_failed": failed}) for failed in (300, 3))
    assert alike.bad_beyond_champion_log_e == pytest.approx(log_e_value(150, 450, 1 / 3))
    assert worse.bad_beyond_champion_log_e == pytest.approx(log_e_value(150, 153, 1 / 3))


def test_many_rows_of_one_request_weigh_as_one_trial() -> None:
    single = measure(arm(requests=100, sent=100, compared=100, disagreed=30))
    batched = measure(arm(requests=100, sent=100, compared=10_000, disagreed=3000))
    assert batched.disagreement_above_log_e == single.disagreement_above_log_e
    assert batched.disagreement_below_log_e == single.disagreement_below_log_e


def test_nothing_mirrored_is_no_evidence_and_no_coverage() -> None:
    found = measure()
    assert (found.coverage, found.disagreement_above_log_e, found.disagreement_below_log_e) == (None, 0.0, 0.0)


def test_counts_that_cannot_be_are_named_and_not_weighed() -> None:
    found = measure(arm(step=2, requests=10, failed=11, compared=5, disagreed=6))
    assert found.errors == ["stage 2 counts 11 failed of 10 requests", "stage 2 counts 6 disagreed of 5 compared"]
    assert found.bad_above_log_e == 0.0


def test_pairs_are_the_same_request_and_row_and_the_report_shows_them() -> None:
    store, rng = MemoryStore(), np.random.default_rng(1)
    champion = rng.beta(2, 5, 3000)
    candidate = np.clip(champion + rng.normal(0, 0.02, 3000), 0, 1)
    pairs(store, champion, candidate)
    answered(store, candidate, version="2", role="probe", part="probe")
    answered(store, candidate, version="2", role="shadow", rollout_id="older", part="older")
    found = measure(arm(requests=3000, sent=3000, compared=3000, disagreed=40), store=store, report=True)
    assert found.latency_ratio == 0.25
    assert found.score_psi is not None
    assert found.score_psi < 0.05
    assert found.labels is None
    assert store.get(store_paths.rollout(MODEL, "r1", "shadow.png")).startswith(PNG)
    told = json.loads(store.get(store_paths.rollout(MODEL, "r1", "shadow.json")))
    assert (told["compared"], told["picture"]) == (3000, found.picture)
    assert found.report == f"memory:rollouts/{MODEL}/r1/shadow.json"


def test_scores_that_moved_have_a_large_stability_index() -> None:
    store, rng = MemoryStore(), np.random.default_rng(1)
    pairs(store, rng.beta(2, 5, 2000), rng.beta(5, 2, 2000))
    found = measure(store=store, report=True)
    assert found.score_psi is not None
    assert found.score_psi > 0.25


def test_a_version_alone_that_was_wrong_is_counted_once_per_entity() -> None:
    """Every third flight is late; the champion misses flight 3, the candidate flights 6 and 9."""
    store = MemoryStore()
    truth = np.array([0.9 if number % 3 == 0 else 0.1 for number in range(30)])
    champion, candidate = truth.copy(), truth.copy()
    champion[3], candidate[6], candidate[9] = 0.1, 0.1, 0.1
    champion[12] = candidate[12] = 0.1
    pairs(store, champion, candidate, DAY)
    later = {"request_id": [f"again{number}" for number in range(30)], "logged_at": [NOW] * 30}
    pairs(store, 1 - champion, candidate, DAY, part="asked again", **later)
    store.replace_partition(store_paths.validated("flights", "flights"), DAY, flights(DAY, 20))
    found = measure(store=store, report=True).labels
    assert found is not None
    assert (found.labelled, found.candidate_wrong, found.champion_wrong) == (20, 2, 1)
    assert found.worse_log_e == pytest.approx(log_e_disagreement(2, 1))
    assert found.better_log_e == pytest.approx(log_e_disagreement(2, 1, alternative="less"))


def test_a_log_that_cannot_be_read_costs_the_report_and_not_the_evidence() -> None:
    store = MemoryStore()
    store.put(f"{store_paths.predictions(MODEL)}date={NOW:%Y-%m-%d}/part-broken.parquet", b"no parquet")
    counted = arm(requests=1000, sent=1000, compared=1000, disagreed=10)
    found = measure(counted, store=store, report=True, endpoint=Flushed(answers=False))
    assert found.disagreement_below_log_e == measure(counted).disagreement_below_log_e
    assert (found.report, found.picture) == (None, None)
    assert "did not flush its log" in found.notes[0]
    assert "part-broken.parquet" in found.notes[1]


def test_without_pairs_nothing_is_drawn_and_the_notes_say_so() -> None:
    found = measure(arm(requests=5, sent=5, compared=5), report=True)
    assert found.picture is None
    assert "no pair of answers" in found.notes[0]

"""What rollouts promise: false rollbacks and mismatches, late faults, told requests and chances, means of A/B tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from pipelines.messages.rollout import ArmCounts
from pipelines.rollout.analysis import AnalysisPlan
from pipelines.rollout.error_budget import error_budget
from pipelines.rollout.evidence import compute_evidence
from pipelines.rollout.from_spec import analysis_plan
from pipelines.rollout.plan import Guard, RolloutPlan, RoutingPlan
from pipelines.rollout.transitions import RolloutRecord, Served
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.control_plane.guard import judge_limits
from pipelines.serving.traffic.counters import ArmCounters, ArmTally
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import AbTestSpec
from pipelines.statistics.e_values import (
    StageEvents,
    expected_share,
    log_e_rate_ratio,
    log_e_sample_ratio,
    log_e_since_any_stage,
    log_e_values,
)
from pipelines.steps.measure_experiment import measure_mean
from pipelines.steps.rollouts.design import ExpectedEvents, chance_of_stage, requests_to_find, requests_to_pass
from pipelines.steps.weigh_rollout import read_stages
from tests.calibration.line import Line, share_line
from tests.rollout.simulated import Counts, Floats, events, evidence_of_fault

CANARY = Deployment(strategy="canary")
PLAN = analysis_plan(CANARY)
SHARES = tuple(share / 10_000 for share in CANARY.shares())
NEEDED = math.log(PLAN.failure_test_count / PLAN.alpha)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def lines(share: float) -> Iterator[Line]:
    """All lines; ``share`` of the runs."""
    for measure in (comparisons, late_faults, limits, sticky_canaries, large_splits, told_requests, means):
        yield from measure(lambda runs: max(12, int(runs * share)))


Scale = Callable[[int], int]


def comparisons(scale: Scale) -> Iterator[Line]:
    """Equal candidates against their champion, over all six stages, at 50 looks in each."""
    promise = PLAN.alpha / PLAN.failure_test_count
    what = "equal candidates rolled back by the comparison of bad answers, six stages"
    for data, swing, rate in (
        ("independent, 1 % bad", 0.0, 0.01),
        ("independent, 0.1 % bad", 0.0, 0.001),
        ("1 % bad on average, ± 80 % over the day", 0.8, 0.01),
        ("both at 0 to 30 % bad in the course of the day", 1.0, 0.15),
    ):
        rng, runs = np.random.default_rng(31), scale(4000)
        stages = [(weight, 5000) for weight in SHARES]
        paths = evidence_of_fault(events(rng, runs, rate=rate, stages=stages, swing=swing))
        yield share_line(what, data, int((paths >= NEEDED).any(axis=1).sum()), runs, high=promise)


def late_faults(scale: Scale) -> Iterator[Line]:
    rng, runs = np.random.default_rng(32), scale(1000)
    good = events(rng, runs, rate=0.01, ratio=0.6, stages=[(weight, 15_000) for weight in SHARES[:-1]])
    bad = events(rng, runs, rate=0.01, ratio=2.0, stages=[(SHARES[-1], 15_000)])
    late = (evidence_of_fault([*good, *bad]) >= NEEDED).any(axis=1)
    what = "twice the errors in the sixth stage, after five at 0.6 times, are found"
    yield share_line(what, "1 % bad, 15,000 requests a stage", int(late.sum()), runs, low=0.85)
    stages = [(weight, 20_000) for weight in SHARES]
    small = (evidence_of_fault(events(rng, runs, rate=0.001, ratio=3.0, stages=stages)) >= NEEDED).any(axis=1)
    what, data = "three times the errors, far below the limit, are found", "0.1 % bad, 20,000 requests a stage"
    yield share_line(what, data, int(small.sum()), runs, low=0.85)


SPLIT_PLAN = PLAN.model_copy(update={"unit": "key"})
KEYED = RoutingPlan("header:x-user-id")


def guarded(tallies: dict[tuple[str, str], ArmTally], *, by_key: bool = False) -> bool:
    guard, routing = Guard(0.01, alpha=error_budget(CANARY).guard), KEYED if by_key else RoutingPlan()
    plan = RolloutPlan("canary", 60, guard, routing=routing)
    until = NOON + timedelta(seconds=60)
    record = RolloutRecord("r", plan, "BAKING", NOON, until, Served("1", "/1", "1"), step=1)
    return judge_limits(record, tallies).action == "rollback"


CANDIDATE, CHAMPION = ("2", "candidate"), ("1", "champion")


def limits(scale: Scale) -> Iterator[Line]:
    """The gateway's guard at 1 % bad answers, a look every ten seconds."""
    what = "equal candidates rolled back by the guard, limit 1 %"
    for data, usual, outage in (
        ("independent, 1 % bad, two hours", 0.01, 0.01),
        ("independent, 2 % bad, two hours", 0.02, 0.02),
        ("0.1 % bad, both at 30 % for two minutes", 0.001, 0.3),
    ):
        rng, runs = np.random.default_rng(33), scale(300)
        false = 0
        for _ in range(runs):
            rates = np.full(720, usual)
            rates[400:412] = outage
            sizes = rng.binomial(100, 0.25, 720)
            counts = [sizes, rng.binomial(sizes, rates), 100 - sizes, rng.binomial(100 - sizes, rates)]
            looks = np.cumsum(counts, axis=1)[:, 9 :: 10 if usual == outage else 1]
            false += any(
                guarded({CANDIDATE: ArmTally(requests=n, failed=x), CHAMPION: ArmTally(requests=m, failed=y)})
                for n, x, m, y in looks.T.tolist()
            )
        yield share_line(what, data, false, runs, high=error_budget(CANARY).guard)
    rng, runs, false = np.random.default_rng(34), scale(400), 0
    for _ in range(runs):
        activity, failing, candidate = rng.lognormal(0, 1.5, 4000), rng.random(4000) < 0.005, rng.random(4000) < 0.2
        asked = rng.choice(4000, size=40_000, p=activity / activity.sum())
        for seen in range(2000, 40_001, 2000):
            requests = np.bincount(asked[:seen], minlength=4000)
            tallies = {}
            for arm, mine in ((CANDIDATE, candidate), (CHAMPION, ~candidate)):
                met, bad = mine & (requests > 0), mine & failing & (requests > 0)
                counted = {"requests": int(requests[met].sum()), "failed": int(requests[bad].sum())}
                units = {"distinct_units": int(met.sum()), "event_units": {"0": int(bad.sum())}}
                tallies[arm] = ArmTally(**counted, **units)
            if guarded(tallies, by_key=True):
                false += 1
                break
    data = "0.5 % of the keys always fail, some keys ask far more than others"
    yield share_line(what, data, false, runs, high=error_budget(CANARY).guard)


def sticky_canaries(scale: Scale) -> Iterator[Line]:
    """Keys that return in all six stages, of which some ask far more than others and some always fail."""
    rng, runs, rolled_back, mismatched = np.random.default_rng(35), scale(3000), 0, 0
    for _ in range(runs):
        paths = sticky_counts(rng)
        mismatched += any(split >= math.log(1 / PLAN.srm_alpha) for split, _ in paths)
        rolled_back += any(worse >= NEEDED for _, worse in paths)
    data = "2,000 keys that return, lognormal activity, 0.5 % always fail"
    yield share_line(
        "equal candidates rolled back by the comparison, keys",
        data,
        rolled_back,
        runs,
        high=PLAN.alpha / PLAN.failure_test_count,
    )
    yield share_line("mismatch of the split where there is none", data, mismatched, runs, high=PLAN.srm_alpha)


def sticky_counts(rng: np.random.Generator) -> list[tuple[float, float]]:
    """Evidence of a mismatch and of a fault at the end of each stage."""
    keys, new_units, first_bad, paths = 2000, list[StageEvents](), list[float](), []
    activity, place = rng.lognormal(0, 1.5, keys), rng.random(keys)
    propensity = np.where(rng.random(keys) < 0.005, 1.0, 0.005)
    known, failed = np.zeros(keys, dtype=bool), np.zeros(keys, dtype=bool)
    for weight in SHARES:
        asked, mine = rng.choice(keys, size=3000, p=activity / activity.sum()), place < weight
        bad = np.unique(asked[rng.random(3000) < propensity[asked]])
        new, first = np.setdiff1d(asked, np.flatnonzero(known)), np.setdiff1d(bad, np.flatnonzero(failed))
        new_units.append(StageEvents(weight, int(mine[new].sum()), int((~mine[new]).sum())))
        first_events = StageEvents(weight, int(mine[first].sum()), int((~mine[first]).sum()))
        first_bad.append(log_e_rate_ratio([first_events]))
        known[asked], failed[bad] = True, True
        paths.append((log_e_sample_ratio(new_units), log_e_since_any_stage(first_bad, stages=len(SHARES))))
    return paths


def large_splits(scale: Scale) -> Iterator[Line]:
    """More keys than a worker counts in full, through its counters and the gateway's sums."""
    highest = 0.0
    for run in range(max(1, scale(200) // 20)):
        rng = np.random.default_rng(1000 + run)
        with TemporaryDirectory() as folder:
            counts, worker = RolloutCounts(Path(folder) / "counts.db"), ArmCounters()
            for unit in rng.integers(0, 2**64, 230_000, dtype=np.uint64).tolist():
                role, version = ("candidate", "2") if unit % 10_000 < 500 else ("champion", "1")
                worker.count_request(("m", "r", 1, version, role), 0.001, (), unit=unit)
            counts.add(worker.take_tallies())
            rows = [ArmCounts.model_validate(row | {"share": 500}) for row in counts.report("m", "r")]
        evidence = compute_evidence(SPLIT_PLAN, list(read_stages(rows, keys=True).values()))
        highest = max(highest, evidence.split_log_e)
    what, data = "highest evidence of a mismatch, more keys than are counted in full", "230,000 keys, share 5 %"
    yield Line(what, data, highest, 0.0, high=math.log(1000), unit="(log)")


def told_requests(scale: Scale) -> Iterator[Line]:
    """What the checklist tells, held against stages of the same plan that are simulated request by request."""
    declared = {
        "strategy": "canary",
        "canary": {"steps": [20]},
        "analysis": {"metrics": [{"name": "kept", "max_ratio": 2.0}]},
    }
    plan = analysis_plan(Deployment.model_validate(declared))
    expected, weight, runs = ExpectedEvents(0.005, 3.0), 0.2, scale(1000)
    to_pass, to_find = requests_to_pass(plan, expected, weight), requests_to_find(plan, expected, weight)
    assert to_pass is not None
    assert to_find is not None
    data = "0.5 % bad, share 20 %, limit 1 % and max_ratio 2"
    what = "equal candidates pass within the requests that the checklist tells"
    yield share_line(what, data, passed(plan, to_pass, runs), runs, low=0.75, high=0.95)
    what = "candidates three times as bad are found within the requests that it tells"
    yield share_line(what, data, found(plan, to_find, runs), runs, low=0.75, high=0.95)
    told = chance_of_stage(plan, expected, weight, to_pass // 2, "pass")
    what = f"equal candidates pass in half of these requests (told: {told:.0%})"
    yield share_line(what, data, passed(plan, to_pass // 2, runs), runs, low=told - 0.05, high=told + 0.05)


def stage(requests: int, runs: int, ratio: float) -> tuple[Counts, Counts, Counts]:
    """Requests of the candidate and bad answers of each arm at 50 looks, at 0.5 % bad answers and a share of 20 %."""
    drawn = events(
        np.random.default_rng(36), runs, rate=0.005, ratio=ratio, stages=[(0.2, requests)], every=requests // 50
    )
    return drawn[0][1:]


def passed(plan: AnalysisPlan, requests: int, runs: int) -> int:
    canary, bad, champion_bad = stage(requests, runs, 1.0)
    kept = log_e_values(bad, canary, 0.01, alternative="less") >= -math.log(plan.alpha)
    no_worse = log_e_values(bad, bad + champion_bad, expected_share(0.2, 2.0), alternative="less") >= -math.log(
        plan.alpha
    )
    return int((kept & no_worse).any(axis=1).sum())


def found(plan: AnalysisPlan, requests: int, runs: int) -> int:
    _, bad, champion_bad = stage(requests, runs, 3.0)
    worse = log_e_values(bad, bad + champion_bad, 0.2) >= math.log(plan.failure_test_count / plan.alpha)
    return int(worse.any(axis=1).sum())


def means(scale: Scale) -> Iterator[Line]:
    """Equal versions in A/B tests with a tenth of the users in the variant, at five looks."""
    draws: dict[str, Callable[[np.random.Generator, int], Floats]] = {
        "0.2 % of users complain": lambda rng, n: (rng.random(n) < 0.002).astype(np.float64),
        "5 % of users buy, lognormal amounts": lambda rng, n: (rng.random(n) < 0.05) * rng.lognormal(0, 1, n),
        "lognormal amounts": lambda rng, n: rng.lognormal(0, 1.5, n),
        "normal": lambda rng, n: rng.normal(0, 1, n),
    }
    declared = AbTestSpec(metrics=["revenue"], traffic_split=0.1, minimum_sample_size=200)
    for data, draw in draws.items():
        rng, runs, false = np.random.default_rng(37), scale(200), 0
        for _ in range(runs):
            values, variant = draw(rng, 20_000), rng.random(20_000) < 0.1
            false += any(differs(values[:seen], variant[:seen], declared) for seen in range(4000, 20_001, 4000))
        what = "equal versions of an A/B test at a split of 0.1 are told apart"
        yield share_line(what, data, false, runs, high=1 - declared.confidence_level)


def differs(values: Floats, variant: np.ndarray, declared: AbTestSpec) -> bool:
    arms = {"control": pl.Series(values[~variant]), "variant": pl.Series(values[variant])}
    found = measure_mean("revenue", arms, declared, 0.05, 0.05)
    if min(found.control_units, found.variant_units) < max(found.minimum_units, declared.minimum_sample_size):
        return False
    return (found.low or -math.inf) > 0 or (math.inf if found.high is None else found.high) < 0

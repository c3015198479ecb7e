"""How often equal rollouts are rolled back, how soon bad ones are found, and by which prior; ``--plot`` draws both."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from pipelines.statistics.sample_size import sample_size
from tests.rollout.simulated import Floats, events, evidence_of_ratio, evidence_of_threshold, found_at

RUNS = 1000
IMAGE = Path(__file__).parents[2] / "docs" / "images" / "rollout-evidence.png"
AT_FIVE_PERCENT = ((0.05, 10_000),)
PRIORS = (5.0, 10.0, 20.0, 40.0)


def say(**found: object) -> None:
    print(json.dumps(found), flush=True)


def share(found: Floats, within: float = math.inf) -> float:
    return round(float((np.isfinite(found) & (found <= within)).mean()), 4)


def power_and_false_alarms(runs: int) -> bool:
    kept = True
    for rate in (0.005, 0.01, 0.015, 0.02, 0.05):
        bad = events(np.random.default_rng(1), runs, rate=rate, ratio=3.0, stages=AT_FIVE_PERCENT)
        grown = events(np.random.default_rng(2), runs, rate=rate, ratio=3.0)
        equal = events(np.random.default_rng(3), runs, rate=rate)
        daily = events(np.random.default_rng(4), runs, rate=rate, swing=0.8)
        fixed = sample_size(rate=rate, ratio=3.0, weight=0.05, power=0.95).fixed_requests
        for k in PRIORS:
            false = share(found_at(evidence_of_ratio(equal, k=k)))
            diurnal = share(found_at(evidence_of_ratio(daily, k=k)))
            found = found_at(evidence_of_ratio(bad, k=k))
            grows = found_at(evidence_of_ratio(grown, k=k))
            say(
                measure="three times the errors",
                base_rate=rate,
                k=k,
                runs=runs,
                false_rollback=false,
                false_rollback_diurnal=diurnal,
                found_at_5_percent_within_10000=share(found),
                median_requests=None if share(found) < 0.5 else float(np.median(found)),
                found_in_steps_within_10000=share(grows, 10_000),
                fixed_test_needs_for_95_percent=fixed,
            )
            kept &= false <= 0.05 and diurnal <= 0.05 and (k != 10.0 or rate < 0.02 or share(found) >= 0.95)
    return kept


def thresholds(runs: int) -> bool:
    false = 0.0
    for rate in (0.01, 0.02, 0.05):
        arms = events(np.random.default_rng(5), runs, rate=rate, stages=((0.5, 20_000),))
        found = found_at(evidence_of_threshold(arms, 0.01)) / 2
        false = share(found) if rate == 0.01 else false
        median = float(np.median(found)) if share(found) >= 0.5 else None
        say(measure="limit of 1 % errors", true_rate=rate, found=share(found), median_candidate_requests=median)
    return false <= 0.05


def draw() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (paths, times) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for ratio, colour, said in ((1.0, "#4477aa", "equal"), (3.0, "#cc3311", "three times the errors")):
        evidence = evidence_of_ratio(
            events(np.random.default_rng(6), RUNS, rate=0.02, ratio=ratio, stages=AT_FIVE_PERCENT)
        )
        requests = 100 * np.arange(1, evidence.shape[1] + 1)
        paths.plot(requests, evidence[:25].T, color=colour, alpha=0.35, linewidth=0.8)
        paths.plot([], [], color=colour, label=f"candidate: {said}")
        found = np.sort(found_at(evidence))
        reached = np.searchsorted(found, requests, side="right") / RUNS
        times.step(requests, 100 * reached, where="post", color=colour, label=f"candidate: {said}")
    paths.axhline(math.log(20), color="black", linestyle="--", linewidth=1, label="roll back at log 20 (alpha 5 %)")
    paths.set(
        xlabel="requests of both versions", ylabel="log evidence", ylim=(-5, 15), title="25 rollouts of each kind"
    )
    paths.legend(loc="upper left", fontsize=8)
    times.axhline(5, color="black", linestyle=":", linewidth=1, label="5 %")
    times.set(xlabel="requests of both versions", ylabel="% rolled back so far", title=f"{RUNS} rollouts of each kind")
    times.legend(loc="center right", fontsize=8)
    figure.suptitle("Canary at 5 %, champion fails 2 % of its requests, a look every 100 requests", fontsize=10)
    figure.savefig(IMAGE, dpi=110, metadata={"Software": None})


def main() -> int:
    runs = 10 * RUNS if "--full" in sys.argv else RUNS
    began = perf_counter()
    kept = [power_and_false_alarms(runs), thresholds(runs)]
    if "--plot" in sys.argv:
        draw()
    say(measure="all", seconds=round(perf_counter() - began, 1), targets_kept=all(kept))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

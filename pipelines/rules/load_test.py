"""A candidate passes if every declared limit was shown to be kept, by a client that kept 95 % of the declared rate."""

from __future__ import annotations

import math

from pipelines.messages.release import LoadTestResult, ShareShown
from pipelines.spec.deployment import Deployment
from pipelines.spec.sizing import LoadTestSpec
from pipelines.verdict import Verdict

RULE = "load_test"
LEAST_RATE = 0.95
"""Share of the declared rate that the client must have kept."""
LAG_MS, LAG_SHARE = 10.0, 0.2
"""The client may be late itself (p99) by the larger of the two: milliseconds, share of the tightest latency."""
TURNED_AWAY = ("status 400", "status 401", "status 403", "status 404", "status 413", "status 422", "status 429")
"""Answers by which a listener refuses the caller itself; they say nothing of the candidate."""


def judge_load_test(result: LoadTestResult, deployment: Deployment) -> Verdict:
    """UNKNOWN where the client did not keep the rate, was turned away, or met another version; then FAIL for each
    assertion shown to be broken, UNKNOWN for each not shown to be kept, with how long that would take.

    A client that was itself late makes latencies worse and none better: it turns all but a PASS into UNKNOWN.
    Failed requests count as slower than any limit. The ways to fail share ``analysis.alpha``.
    """
    declared, alpha = deployment.load_test, deployment.analysis.alpha
    unusable = ["deployment.load_test is not declared"] if declared is None else _unusable(result, declared)
    failures, unknowns = [], unusable
    if declared is not None and not unusable:
        said = f" ({_told(result.errors)})" if result.errors else ""
        needed = math.log(len(result.shown) / alpha) if result.shown else math.inf
        broken = [one for one in result.shown if one.above >= needed]
        failures = [f"{_share(one)} > {one.limit:.2%}{said}" for one in broken]
        doubtful = [one for one in result.shown if one not in broken and one.below < math.log(1 / alpha)]
        unknowns = [f"{_share(one)} not shown <= {one.limit:.2%}; {_longer(one, declared)}{said}" for one in doubtful]
        if not result.shown:
            unknowns = ["nothing was asserted"]
        if (broken or doubtful) and (late := _late(result, declared)):
            failures, unknowns = [], [late, *failures, *unknowns]
    facts: dict[str, object] = {
        **result.model_dump(include={"version", "sent", "answered", "errors", "seconds", "stopped_early"}),
        **result.model_dump(include={"declared_rps", "plateau_rps", "lag_p99_ms", "percentiles_ms", "plot", "report"}),
        "assertions": {one.name: {"bad": one.bad, "of": one.total, "limit": one.limit} for one in result.shown},
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)


def _unusable(result: LoadTestResult, declared: LoadTestSpec) -> list[str]:
    """Why these figures say nothing of the candidate."""
    found = []
    if result.unsent:
        found.append(f"the client could not send {result.unsent} requests in time; give it more CPU or a lower rate")
    elif result.plateau_rps < LEAST_RATE * declared.target_rps and not result.stopped_early:
        rates = f"{result.plateau_rps:.0f} requests/s of {declared.target_rps:g}"
        found.append(f"the client sent {rates}; give it more CPU or a lower rate")
    if result.wrong_version_answers:
        found.append(f"{result.wrong_version_answers} answers came from another version than {result.version}")
    if away := {kind: count for kind, count in result.errors.items() if kind in TURNED_AWAY}:
        found.append(f"the door turned requests away ({_told(away)}); mind the rate and the key of this client")
    return found


def _late(result: LoadTestResult, declared: LoadTestSpec) -> str:
    """Whether the client itself may be why answers seem slow; empty if not."""
    asserted = (declared.assertions.p95_latency, declared.assertions.p99_latency)
    allowed = max(LAG_MS, LAG_SHARE * min((one.max for one in asserted if one is not None), default=math.inf))
    if result.lag_p99_ms <= allowed:
        return ""
    return f"the client itself was late by {result.lag_p99_ms:.3g} ms (p99) > {allowed:.3g} ms; give it more CPU"


def _share(one: ShareShown) -> str:
    """``p99_latency: 31 of 2500 (1.24%) slower than 100 ms or failed``"""
    what = "failed" if one.over_ms is None else f"slower than {one.over_ms:g} ms or failed"
    return f"{one.name}: {one.bad} of {one.total} ({one.bad / max(one.total, 1):.2%}) {what}"


def _longer(one: ShareShown, declared: LoadTestSpec) -> str:
    if one.needed_total is None:
        return "no longer test would show it"
    seconds = declared.ramp_up_time + one.needed_total / declared.target_rps
    return f"about {one.needed_total} requests would, give duration: {math.ceil(seconds)}"


def _told(errors: dict[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in errors.items())

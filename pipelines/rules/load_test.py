"""A candidate passes if every declared limit was shown to be kept, by a client that kept 95 % of the declared rate."""

from __future__ import annotations

import math

from pipelines.messages.release import LoadTestResult, ShareShown
from pipelines.spec.deployment import Deployment
from pipelines.spec.sizing import LoadTestSpec
from pipelines.verdict import Verdict

RULE = "load_test"
MIN_RATE_SHARE = 0.95
"""Share of the declared rate that the client must have kept."""
MAX_LAG_MS, MAX_LAG_SHARE = 10.0, 0.2
"""The client may be late itself (p99) by the larger of the two: milliseconds, share of the tightest latency."""
CALLER_ERRORS = ("status 400", "status 401", "status 403", "status 404", "status 413", "status 422", "status 429")
"""Answers by which a listener refuses the caller itself; they say nothing of the candidate."""


def judge_load_test(result: LoadTestResult, deployment: Deployment) -> Verdict:
    """UNKNOWN where the client did not keep the rate, was turned away, or met another version; then FAIL for each
    assertion shown to be broken, UNKNOWN for each not shown to be kept, with how long that would take.

    A client that was itself late makes latencies worse and none better: it turns all but a PASS into UNKNOWN.
    Failed requests count as slower than any limit. The ways to fail share ``analysis.alpha``.
    """
    declared, alpha = deployment.load_test, deployment.analysis.alpha
    unusable = ["deployment.load_test is not declared"] if declared is None else _measurement_faults(result, declared)
    failures, unknowns = [], unusable
    if declared is not None and not unusable:
        errors = f" ({_format_errors(result.errors)})" if result.errors else ""
        needed = math.log(len(result.shown) / alpha) if result.shown else math.inf
        broken = [share for share in result.shown if share.above >= needed]
        failures = [f"{_describe_share(share)} > {share.limit:.2%}{errors}" for share in broken]
        doubtful = [share for share in result.shown if share not in broken and share.below < math.log(1 / alpha)]
        unknowns = [
            f"{_describe_share(share)} not shown <= {share.limit:.2%}; {_needed_duration(share, declared)}{errors}"
            for share in doubtful
        ]
        if not result.shown:
            unknowns = ["nothing was asserted"]
        if (broken or doubtful) and (lag := _client_lag(result, declared)):
            failures, unknowns = [], [lag, *failures, *unknowns]
    facts: dict[str, object] = {
        **result.model_dump(include={"version", "sent", "answered", "errors", "seconds", "stopped_early"}),
        **result.model_dump(include={"declared_rps", "plateau_rps", "lag_p99_ms", "percentiles_ms", "plot", "report"}),
        "assertions": {
            share.name: {"bad": share.bad, "of": share.total, "limit": share.limit} for share in result.shown
        },
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)


def _measurement_faults(result: LoadTestResult, declared: LoadTestSpec) -> list[str]:
    """Why these figures say nothing of the candidate."""
    faults = []
    if result.unsent:
        faults.append(f"the client could not send {result.unsent} requests in time; give it more CPU or a lower rate")
    elif result.plateau_rps < MIN_RATE_SHARE * declared.target_rps and not result.stopped_early:
        rates = f"{result.plateau_rps:.0f} requests/s of {declared.target_rps:g}"
        faults.append(f"the client sent {rates}; give it more CPU or a lower rate")
    if result.strangers:
        faults.append(f"{result.strangers} answers came from another version than {result.version}")
    if caller_errors := {kind: count for kind, count in result.errors.items() if kind in CALLER_ERRORS}:
        faults.append(
            f"the door turned requests away ({_format_errors(caller_errors)}); mind the rate and the key of this client"
        )
    return faults


def _client_lag(result: LoadTestResult, declared: LoadTestSpec) -> str:
    """Whether the client itself may be why answers seem slow; empty if not."""
    asserted = (declared.assertions.p95_latency, declared.assertions.p99_latency)
    allowed = max(
        MAX_LAG_MS, MAX_LAG_SHARE * min((limit.max for limit in asserted if limit is not None), default=math.inf)
    )
    if result.lag_p99_ms <= allowed:
        return ""
    return f"the client itself was late by {result.lag_p99_ms:.3g} ms (p99) > {allowed:.3g} ms; give it more CPU"


def _describe_share(share: ShareShown) -> str:
    """``p99_latency: 31 of 2500 (1.24%) slower than 100 ms or failed``"""
    what = "failed" if share.over_ms is None else f"slower than {share.over_ms:g} ms or failed"
    return f"{share.name}: {share.bad} of {share.total} ({share.bad / max(share.total, 1):.2%}) {what}"


def _needed_duration(share: ShareShown, declared: LoadTestSpec) -> str:
    if share.needed_total is None:
        return "no longer test would show it"
    seconds = declared.ramp_up_time + share.needed_total / declared.target_rps
    return f"about {share.needed_total} requests would, give duration: {math.ceil(seconds)}"


def _format_errors(errors: dict[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in errors.items())

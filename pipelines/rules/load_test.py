"""A candidate passes if every declared limit is shown to hold, by a client that sent 95 % of the declared rate."""

from __future__ import annotations

import math

from pipelines.messages.release import LoadTestResult, ShareEvidence
from pipelines.spec.deployment import Deployment
from pipelines.spec.sizing import LoadTestSpec
from pipelines.verdict import Verdict, significant

RULE = "load_test"
MIN_RATE_SHARE = 0.95
"""Minimum share of the declared rate that the client must send."""
MAX_LAG_MS, MAX_LAG_SHARE = 10.0, 0.2
"""The client's own delay (p99) may reach the larger of both: milliseconds, share of the lowest latency limit."""
CLIENT_ERRORS = ("status 400", "status 401", "status 403", "status 404", "status 413", "status 422", "status 429")
"""Statuses by which a listener refuses the caller; they say nothing about the candidate."""


def judge_load_test(result: LoadTestResult, deployment: Deployment) -> Verdict:
    """UNKNOWN if the client did not keep the rate, was refused, or reached another version; then FAIL for each
    assertion shown to be broken, UNKNOWN for each not shown to hold, with the duration that would show it.

    A client that was itself late can only make latencies worse: then every verdict but PASS becomes UNKNOWN.
    Failed requests count as slower than any limit. The ways to fail share ``analysis.alpha``.
    """
    declared, alpha = deployment.load_test, deployment.analysis.alpha
    unusable = ["deployment.load_test is not declared"] if declared is None else _measurement_faults(result, declared)
    failures, unknowns = [], unusable
    if declared is not None and not unusable:
        errors = f" ({_format_errors(result.errors)})" if result.errors else ""
        needed = math.log(len(result.shown) / alpha) if result.shown else math.inf
        broken = [share for share in result.shown if share.above >= needed]
        failures = [f"{_share_text(share)} > {share.limit:.2%}{errors}" for share in broken]
        doubtful = [share for share in result.shown if share not in broken and share.below < math.log(1 / alpha)]
        unknowns = [
            f"{_share_text(s)} not shown <= {s.limit:.2%}; {_duration_advice(s, declared)}{errors}" for s in doubtful
        ]
        if not result.shown:
            unknowns = ["nothing was asserted"]
        if (broken or doubtful) and (lag := _client_lag_text(result, declared)):
            failures, unknowns = [], [lag, *failures, *unknowns]
    facts: dict[str, object] = {
        **result.model_dump(include={"version", "sent", "answered", "errors", "seconds", "stopped_early"}),
        **result.model_dump(include={"declared_rps", "plateau_rps", "lag_p99_ms", "percentiles_ms", "plot", "report"}),
        "assertions": {s.name: {"bad": s.bad, "of": s.total, "limit": s.limit} for s in result.shown},
    }
    findings = [f"{_share_text(share)}, limit {share.limit:.2%}" for share in result.shown]
    findings.insert(0, f"{result.sent} requests sent, {result.answered} answered, {result.plateau_rps:.1f} requests/s")
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def _measurement_faults(result: LoadTestResult, declared: LoadTestSpec) -> list[str]:
    """Why these measurements say nothing about the candidate."""
    faults = []
    if result.unsent:
        faults.append(f"the client could not send {result.unsent} requests in time; give it more CPU or a lower rate")
    elif result.plateau_rps < MIN_RATE_SHARE * declared.target_rps and not result.stopped_early:
        rates = f"{result.plateau_rps:.0f} requests/s of {declared.target_rps:g}"
        faults.append(f"the client sent {rates}; give it more CPU or a lower rate")
    if result.wrong_version_answers:
        faults.append(f"{result.wrong_version_answers} answers came from another version than {result.version}")
    if refused := {kind: count for kind, count in result.errors.items() if kind in CLIENT_ERRORS}:
        faults.append(f"the endpoint refused requests ({_format_errors(refused)}); check the client's rate and key")
    return faults


def _client_lag_text(result: LoadTestResult, declared: LoadTestSpec) -> str:
    """Why the client itself may have slowed the answers; empty if it did not."""
    limits = [limit.max for limit in (declared.assertions.p95_latency, declared.assertions.p99_latency) if limit]
    allowed = max(MAX_LAG_MS, MAX_LAG_SHARE * min(limits, default=math.inf))
    if result.lag_p99_ms <= allowed:
        return ""
    late = f"{significant(result.lag_p99_ms)} ms (p99) > {significant(allowed)} ms"
    return f"the client itself was late by {late}; give it more CPU"


def _share_text(share: ShareEvidence) -> str:
    """``p99_latency: 31 of 2500 (1.24%) slower than 100 ms or failed``"""
    what = "failed" if share.over_ms is None else f"slower than {share.over_ms:g} ms or failed"
    return f"{share.name}: {share.bad} of {share.total} ({share.bad / max(share.total, 1):.2%}) {what}"


def _duration_advice(share: ShareEvidence, declared: LoadTestSpec) -> str:
    if share.needed_total is None:
        return "a longer test would not show it either"
    seconds = declared.ramp_up_time + share.needed_total / declared.target_rps
    return f"about {share.needed_total} requests would; declare duration: {math.ceil(seconds)}"


def _format_errors(errors: dict[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in errors.items())

"""Says that nobody asked for predictions, which no longer trial cures, and what a person can do about it."""

from __future__ import annotations


def no_requests_text(model: str, endpoint: str, when: str) -> str:
    """``endpoint`` is what callers ask, ``when`` the time in which nobody did."""
    remedy = f"send its callers' requests to POST /models/{model}/invocations"
    if endpoint != "the gateway":
        remedy = "send its callers' requests there"
    return f"nobody asked {endpoint} for {model} {when}: {remedy}, or deploy without a trial (strategy: all_at_once)"

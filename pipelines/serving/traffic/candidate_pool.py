"""Keeps one process per candidate in a data worker: those in its routing table and those being tested."""

from __future__ import annotations

import time
from pathlib import Path

from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import Served
from pipelines.serving.models.bundle import BundleManifest
from pipelines.serving.traffic.candidate_client import CandidateClient
from pipelines.serving.traffic.candidate_process import CandidateRequirements

TRIAL_SECONDS = 180.0
"""How long a tested candidate stays loaded before a routing table contains it."""

CandidateKey = tuple[str, str]


class CandidatePool:
    """Clients of candidate processes by model and bundle digest."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._clients: dict[CandidateKey, CandidateClient] = {}
        self._tried_at: dict[CandidateKey, float] = {}
        self._routed: set[CandidateKey] = set()

    def get_or_start(self, model: str, served: Served, champion: BundleManifest, plan: RolloutPlan) -> CandidateClient:
        """The client of this candidate; starts a process if there is none, or if the existing one was refused."""
        key = (model, served.sha256)
        client = self._clients.get(key)
        beside = plan.strategy != "all_at_once"  # answers the champion's callers, so it must take what they send
        features, output = (champion.features, champion.output) if beside else (None, None)
        requirements = CandidateRequirements(served.sha256, features, output, plan.deadline_ms)
        if client is not None and not client.refused and client.matches(served, requirements, plan.breaker):
            return client
        if client is not None:
            client.close()
        client = self._clients[key] = CandidateClient(served, self._cache, requirements, plan.breaker)
        self._tried_at[key] = time.monotonic()
        client.start()
        return client

    def keep_only(self, routed: set[CandidateKey]) -> None:
        """End every process that is not in the newest table, unless it is being tested."""
        now = time.monotonic()
        for key in set(self._clients) - routed:
            if now - self._tried_at.get(key, -TRIAL_SECONDS) >= TRIAL_SECONDS:
                self._clients.pop(key).close()
                self._tried_at.pop(key, None)
        for key in routed:
            self._tried_at.pop(key, None)
        self._routed = routed

    async def wait_loaded(self) -> list[tuple[str, str, list[str]]]:
        """Wait until every routed candidate is loaded or refused; returns model, digest and reasons of refused ones."""
        refused = []
        for model, sha256 in sorted(self._routed):
            client = self._clients.get((model, sha256))
            if client is not None and await client.wait_loaded():
                refused.append((model, sha256, client.refused))
        return refused

    def close(self) -> None:
        """End every process."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

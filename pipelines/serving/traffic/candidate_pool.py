"""A data worker keeps one process per candidate that its routing table names or that is being tried."""

from __future__ import annotations

import time
from pathlib import Path

from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import Served
from pipelines.serving.models.bundle import BundleManifest
from pipelines.serving.traffic.candidate_client import CandidateClient
from pipelines.serving.traffic.candidate_process import CandidateRequirements

TRIED_SECONDS = 180.0
"""How long a tried candidate waits for the table that names it."""

Key = tuple[str, str]


class CandidatePool:
    """Processes of candidates by model and digest."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._clients: dict[Key, CandidateClient] = {}
        self._tried: dict[Key, float] = {}
        self._named: set[Key] = set()

    def of(self, model: str, served: Served, champion: BundleManifest, plan: RolloutPlan) -> CandidateClient:
        """The process of this candidate, started if there is none or the one there is was refused."""
        key = (model, served.sha256)
        client = self._clients.get(key)
        requirements = CandidateRequirements(served.sha256, champion.features, champion.output, plan.deadline_ms)
        if client is not None and not client.refused and client.made_for(served, requirements, plan.breaker):
            return client
        if client is not None:
            client.close()
        client = self._clients[key] = CandidateClient(served, self._cache, requirements, plan.breaker)
        self._tried[key] = time.monotonic()
        client.open()
        return client

    def keep(self, named: set[Key]) -> None:
        """End every process that the newest table does not name, unless it is being tried."""
        now = time.monotonic()
        for key in set(self._clients) - named:
            if now - self._tried.get(key, -TRIED_SECONDS) >= TRIED_SECONDS:
                self._clients.pop(key).close()
                self._tried.pop(key, None)
        for key in named:
            self._tried.pop(key, None)
        self._named = named

    async def settled(self) -> list[tuple[str, str, list[str]]]:
        """Wait until every named candidate is loaded or refused; model, digest and reasons of the refused ones."""
        refused = []
        for model, sha256 in sorted(self._named):
            client = self._clients.get((model, sha256))
            if client is not None and await client.settled():
                refused.append((model, sha256, client.refused))
        return refused

    def close(self) -> None:
        """End every process."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

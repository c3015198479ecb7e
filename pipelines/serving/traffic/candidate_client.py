"""A data worker asks its candidate's process under a deadline, and replaces a process that died or keeps failing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipelines.rollout.plan import BreakerLimits
from pipelines.rollout.transitions import Served
from pipelines.serving.ipc.channel import Message
from pipelines.serving.ipc.child import Child, start_child
from pipelines.serving.models.predictor import fault_of
from pipelines.serving.traffic.candidate_process import CandidateRequirements
from pipelines.serving.traffic.circuit_breaker import CircuitBreaker

LOAD_SECONDS = 60.0


class CandidateFailed(Exception):
    """The candidate gave no usable answer; ``kind`` is one of ``counters.BAD``."""

    def __init__(self, kind: str, why: str) -> None:
        self.kind = kind
        super().__init__(why)


class CandidateClient:
    """The process of one candidate in one data worker."""

    def __init__(self, served: Served, cache: Path, requirements: CandidateRequirements, limits: BreakerLimits) -> None:
        self.served, self.requirements = served, requirements
        self._cache, self._limits = cache, limits
        self._child: Child | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self.refused: list[str] = []
        """Why the candidate cannot be served; empty if it can."""
        self.names: list[str] = []
        self.types: list[str] = []
        self.breaker = CircuitBreaker(limits)

    def made_for(self, served: Served, requirements: CandidateRequirements, limits: BreakerLimits) -> bool:
        return (self.served, self.requirements, self._limits) == (served, requirements, limits)

    @property
    def ready(self) -> bool:
        return self._child is not None and self._child.alive and not self.refused

    def open(self) -> None:
        """Start the process and keep it running."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def settled(self) -> list[str]:
        """Wait until the candidate is loaded or refused; returns why it is refused."""
        await self._settled.wait()
        return self.refused

    async def _keep(self) -> None:
        deaths = 0
        while not self.refused:
            child = await start_child(
                "pipelines.serving.traffic.candidate_process",
                self.served.version,
                [str(self._cache)],
                _nothing,
                niceness=1,
            )
            try:
                question = {"ask": "load", "wanted": msgspec.to_builtins(self.requirements)}
                answer = await child.channel.ask(question, timeout=LOAD_SECONDS)
                self.refused = answer.get("refused") or ([answer["error"]] if "error" in answer else [])
                if not self.refused:
                    self.names = [name for name, _ in answer["features"]]
                    self.types = [kind for _, kind in answer["features"]]
                    self._child, deaths = child, 0
                    self._settled.set()
                    await child.process.wait()
            except TimeoutError:
                self.refused = [f"it was not loaded and tried within {LOAD_SECONDS:g} s"]
            except ConnectionError:
                deaths += 1
                if deaths == 3:
                    self.refused = ["its process died three times while it was loaded"]
            finally:
                self._child = None
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()
                await child.end(1)
        self._settled.set()

    async def predict(self, values: Sequence[Any], count: int, seconds: float) -> list[float]:
        """One answer per row. Raises ``CandidateFailed``, or ``OverflowError`` for what no version can take."""
        child = self._child
        if child is None:
            raise CandidateFailed("error", "its process is gone")
        try:
            answer = await child.channel.ask({"ask": "predict", "values": values, "count": count}, timeout=seconds)
        except TimeoutError:
            raise CandidateFailed("deadline", f"no answer within {seconds * 1000:g} ms") from None
        except ConnectionError:
            raise CandidateFailed("error", "its process died") from None
        if "overflow" in answer:
            raise OverflowError("a number does not fit into 32 bits")
        if "error" in answer:
            raise CandidateFailed("error", answer["error"])
        predictions: list[float] = answer["predictions"]
        fault = fault_of(predictions, count, self.requirements.output)
        if fault:
            raise CandidateFailed("invalid", fault)
        return predictions

    def recycle(self) -> None:
        """Kill the process; another one takes its place."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.process.kill()

    def close(self) -> None:
        """End the process for good, without waiting for it."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._settled.set()  # whoever waits for it waits for nothing any more
        self.recycle()


async def _nothing(message: Message) -> Message:
    return {"error": f"nobody answers {message['ask']!r}"}

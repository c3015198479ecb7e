"""A data worker's client of its candidate process: predicts with a deadline, restarts a dead or failing process."""

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
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.predictor import TimedAnswers, prediction_fault
from pipelines.serving.traffic.candidate_process import CandidateRequirements
from pipelines.serving.traffic.circuit_breaker import CircuitBreaker

LOAD_SECONDS = 60.0


class CandidateFailed(Exception):
    """The candidate gave no valid answer; ``kind`` is one of ``counters.FAILURE_KINDS``.

    ``seconds``: what its model took; the whole deadline for a missed one; None if it is not known.
    """

    def __init__(self, kind: str, reason: str, seconds: float | None = None) -> None:
        self.kind, self.seconds = kind, seconds
        super().__init__(reason)


class CandidateClient:
    """Starts, asks and restarts the process of one candidate in one data worker."""

    def __init__(self, served: Served, cache: Path, requirements: CandidateRequirements, limits: BreakerLimits) -> None:
        self.served, self.requirements = served, requirements
        self._cache, self._limits = cache, limits
        self._child: Child | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._load_finished = asyncio.Event()
        self.refused: list[str] = []
        """Why the candidate is refused; empty if it is not."""
        self.features: list[InputColumn] = []
        self.names: list[str] = []
        self.types: list[str] = []
        self._output = ""
        self.breaker = CircuitBreaker(limits)

    def matches(self, served: Served, requirements: CandidateRequirements, limits: BreakerLimits) -> bool:
        return (self.served, self.requirements, self._limits) == (served, requirements, limits)

    @property
    def ready(self) -> bool:
        return self._child is not None and self._child.alive and not self.refused

    def start(self) -> None:
        """Start the process and keep it running."""
        if self._run_task is None:
            self._run_task = asyncio.create_task(self._run())

    async def wait_loaded(self) -> list[str]:
        """Wait until the candidate is loaded or refused; returns why it is refused."""
        await self._load_finished.wait()
        return self.refused

    async def _run(self) -> None:
        process_deaths = 0
        while not self.refused:
            child = await start_child(
                "pipelines.serving.traffic.candidate_process",
                self.served.version,
                [str(self._cache)],
                _refuse_question,
                niceness=1,
            )
            try:
                question = {"ask": "load", "wanted": msgspec.to_builtins(self.requirements)}
                answer = await child.channel.ask(question, timeout=LOAD_SECONDS)
                self.refused = answer.get("refused") or ([answer["error"]] if "error" in answer else [])
                if not self.refused:
                    self.features = msgspec.convert(answer["features"], list[InputColumn])
                    self.names = [feature.name for feature in self.features]
                    self.types = [feature.type for feature in self.features]
                    self._output = answer["output"]
                    self._child, process_deaths = child, 0
                    self._load_finished.set()
                    await child.process.wait()
            except TimeoutError:
                self.refused = [f"it was not loaded and tested within {LOAD_SECONDS:g} s"]
            except ConnectionError:
                process_deaths += 1
                if process_deaths == 3:
                    self.refused = ["its process died three times while loading"]
            finally:
                self._child = None
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()
                await child.end(1)
        self._load_finished.set()

    async def predict(self, values: Sequence[Any], count: int, seconds: float) -> TimedAnswers:
        """One prediction per row, and what its model took; ``seconds`` is the limit of all the way.

        Raises ``CandidateFailed``, or ``OverflowError`` for numbers beyond 32-bit floats.
        """
        child = self._child
        if child is None:
            raise CandidateFailed("error", "its process is not running")
        try:
            answer = await child.channel.ask({"ask": "predict", "values": values, "count": count}, timeout=seconds)
        except TimeoutError:
            raise CandidateFailed("deadline", f"no answer within {seconds * 1000:g} ms", seconds) from None
        except ConnectionError:
            raise CandidateFailed("error", "its process died") from None
        if "overflow" in answer:
            raise OverflowError("a number does not fit into 32 bits")
        if "error" in answer:
            raise CandidateFailed("error", answer["error"])
        predictions: list[float] = answer["predictions"]
        fault = prediction_fault(predictions, count, self._output)
        if fault:
            raise CandidateFailed("invalid", fault, answer["seconds"])
        return predictions, answer["seconds"]

    def restart(self) -> None:
        """Kill the process; a new one is started."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.process.kill()

    def close(self) -> None:
        """Kill the process without starting another or waiting for its end."""
        if self._run_task is not None:
            self._run_task.cancel()
        self._load_finished.set()  # so that nothing waits for it any more
        self.restart()


async def _refuse_question(message: Message) -> Message:
    return {"error": f"a data worker does not answer {message['ask']!r}"}

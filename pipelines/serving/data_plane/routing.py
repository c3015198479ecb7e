"""A request reaches the version that its model, its headers and a rollout's traffic name, or is told why none."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipelines.serving.http.response import Problem
from pipelines.serving.models.predictor import Predictor
from pipelines.serving.models.rows import InputRows, RowSchema
from pipelines.serving.prediction_log.writer import LogColumns
from pipelines.serving.traffic.split import Headers, RoutedAnswer, TrafficSplit


class LiveModel(msgspec.Struct, frozen=True):
    """One version as this worker serves it; ``arms`` while a rollout has a candidate beside it.

    Its answers raise whatever the champion raises, and ``OverflowError`` for numbers that no version takes.
    """

    version: str
    predictor: Predictor
    schema: RowSchema
    columns: LogColumns
    headers: Headers
    arms: TrafficSplit | None = None

    async def answer(
        self, headers: Mapping[bytes, bytes], rows: InputRows, request_id: str, started: float
    ) -> RoutedAnswer:
        """The champion's answer, or that of the arm a rollout gives the request to."""
        if b"x-model-version" in headers:
            return await self._by_version(headers[b"x-model-version"].decode("latin-1"), rows)
        if self.arms is None:
            return self._by_champion(rows)
        return await self.arms.answer(headers, rows, request_id, started, lambda: self._predict(rows))

    def answer_at_once(self, rows: InputRows, started: float) -> RoutedAnswer:
        """The champion's answer."""
        if self.arms is None or not self.arms.direct:
            return self._by_champion(rows)
        return self.arms.at_once(rows, started, lambda: self._predict(rows))

    async def _by_version(self, version: str, rows: InputRows) -> RoutedAnswer:
        """The answer of the version that a caller names; the door lets only the scope admin do so."""
        if version == self.version:
            return self._by_champion(rows)
        named = await self.arms.named(version, rows) if self.arms is not None else None
        if named is None:
            raise Problem(404, [f"version {version[:40]!r} is not loaded; live is {self.version}"])
        return named

    def _by_champion(self, rows: InputRows) -> RoutedAnswer:
        predictions = self.predictor.predict(rows.values, rows.count)
        return RoutedAnswer(predictions, self.version, self.headers, self.columns, rows)

    def _predict(self, rows: InputRows) -> list[float]:
        return self.predictor.predict(rows.values, rows.count)


class LoadedTable(msgspec.Struct, frozen=True):
    """What this worker answers with: replaced as a whole, never changed. ``broken`` says why a model is not served."""

    generation: int = 0
    live: dict[str, LiveModel] = {}
    broken: dict[str, str] = {}
    direct: bool = True
    """Whether the champions answer every request, so that none has to wait for another process."""

    def find(self, model: str | None, headers: Mapping[bytes, bytes]) -> tuple[str, LiveModel]:
        """The model that a path names, or else the header x-model, or else the only one.

        Raises ``Problem`` 404 for an unknown one, 503 for one that cannot be served now.
        """
        if model is None:
            model = headers[b"x-model"].decode("latin-1") if b"x-model" in headers else self._only()
        if model in self.live:
            return model, self.live[model]
        if model in self.broken:
            raise Problem(503, [f"model {model!r} cannot be served: {self.broken[model]}"])
        if not self.live:
            raise Problem(503, [f"model {model!r} is not live; no model is"])
        raise Problem(404, [f"no model {model[:80]!r} is live; there are {', '.join(self.live)}"])

    def _only(self) -> str:
        if not self.live:
            raise Problem(503, ["no model is live yet; release one first"])
        if len(self.live) > 1:
            raise Problem(400, [f"several models are live; say which by header x-model: {', '.join(self.live)}"])
        return next(iter(self.live))

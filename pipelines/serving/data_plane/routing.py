"""Routes a request to a version by model, headers and traffic split, or raises the problem to answer with."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

import msgspec

from pipelines.serving.http.response import Problem
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.predictor import Predictor, TimedAnswers
from pipelines.serving.models.rows import InputRows, RowSchema
from pipelines.serving.prediction_log.writer import LogColumns
from pipelines.serving.traffic.split import Headers, RoutedAnswer, TrafficSplit


class LiveModel(msgspec.Struct, frozen=True):
    """One live version in this worker; ``split`` while a rollout has a candidate. Answers raise the model's errors."""

    version: str
    predictor: Predictor
    schema: RowSchema
    columns: LogColumns
    headers: Headers
    split: TrafficSplit | None = None

    def schema_for(self, headers: Mapping[bytes, bytes]) -> RowSchema:
        """The schema of the rows: that of the live version, or a candidate's own for a probe of other columns."""
        return (self.split.probe_schema(headers) if self.split is not None else None) or self.schema

    async def answer(
        self,
        headers: Mapping[bytes, bytes],
        rows: InputRows,
        request_id: str,
        started: float,
        version: str | None = None,
        *,
        chooses_version: bool = False,
    ) -> RoutedAnswer:
        """The answer of the arm that the request belongs to; the champion's without a rollout.

        ``version``: the one that the path names. A caller who may choose gets its answer; from any other caller it is
        taken only if the request is routed to that version.
        """
        if b"x-model-version" in headers:
            chosen = headers[b"x-model-version"].decode("latin-1")
            if version not in (None, chosen):
                raise Problem(400, [f"header x-model-version is {chosen[:40]!r}, the path names another; name one"])
            return await self._answer_by_version(chosen, rows)
        if version is not None:
            if chooses_version:
                return await self._answer_by_version(version, rows)
            if version not in self.served_versions:
                raise self.not_loaded_problem(version)
        if self.split is None:
            return self._answer_by_champion(rows)
        return await self.split.answer(headers, rows, request_id, started, lambda: self._predict(rows), version)

    @property
    def served_versions(self) -> list[str]:
        """The live version, and the candidate's."""
        candidate = self.split.candidate_version if self.split is not None else None
        return [self.version, *([candidate] if candidate is not None else [])]

    @property
    def loaded_versions(self) -> list[str]:
        """The live version, and the candidate's once it is loaded."""
        has_candidate = self.split is not None and self.split.candidate_features()
        return self.served_versions if has_candidate else [self.version]

    def not_loaded_problem(self, version: str) -> Problem:
        return Problem(404, [f"version {version[:40]!r} is not loaded; version {self.version} is live"])

    def version_features(self, version: str) -> Sequence[InputColumn]:
        """Columns of a version that is served. Raises ``Problem`` 404 for any other, 503 while it is being loaded."""
        if version == self.version:
            return self.predictor.manifest.features
        if self.split is None or version != self.split.candidate_version:
            raise self.not_loaded_problem(version)
        features = self.split.candidate_features()
        if not features:
            raise Problem(503, [f"version {version[:40]!r} is not loaded yet; version {self.version} is live"])
        return features

    def answer_by_champion(self, rows: InputRows, started: float) -> RoutedAnswer:
        """The champion's answer."""
        if self.split is None or not self.split.is_champion_only:
            return self._answer_by_champion(rows)
        return self.split.answer_by_champion(rows, started, lambda: self._predict(rows))

    async def _answer_by_version(self, version: str, rows: InputRows) -> RoutedAnswer:
        """The answer of the version that the caller chose, which only the scope admin may."""
        if version == self.version:
            return self._answer_by_champion(rows)
        routed = await self.split.answer_by_version(version, rows) if self.split is not None else None
        if routed is None:
            raise self.not_loaded_problem(version)
        return routed

    def _answer_by_champion(self, rows: InputRows) -> RoutedAnswer:
        predictions = self.predictor.predict(rows.values, rows.count)
        return RoutedAnswer(predictions, self.version, self.headers, self.columns, rows)

    def _predict(self, rows: InputRows) -> TimedAnswers:
        return self.predictor.predict_timed(rows.values, rows.count)


class UnreleasedModel(msgspec.Struct, frozen=True):
    """A model's first version under test; only requests with the secret ``probe`` reach it."""

    probe: bytes
    version: LiveModel

    def is_addressed(self, headers: Mapping[bytes, bytes]) -> bool:
        probe = headers.get(b"x-rollout-probe")
        return probe is not None and hmac.compare_digest(probe, self.probe)


class LoadedTable(msgspec.Struct, frozen=True):
    """The models this worker serves; replaced as a whole, never changed. ``broken``: why a model is not served.

    ``unreleased``: models without a live version whose first one is tested.
    """

    generation: int = 0
    models: dict[str, LiveModel] = {}
    broken: dict[str, str] = {}
    is_champion_only: bool = True
    """Whether champions answer every request, so that no answer comes from another process."""
    unreleased: dict[str, UnreleasedModel] = {}

    def find(self, model: str | None, headers: Mapping[bytes, bytes]) -> tuple[str, LiveModel]:
        """The model of the path, else of the header x-model, else the only live model.

        Raises ``Problem`` 404 for an unknown model, 503 for one that cannot be served now.
        """
        if model is None:
            model = headers[b"x-model"].decode("latin-1") if b"x-model" in headers else self._only_model()
        if model in self.models:
            return model, self.models[model]
        if model in self.unreleased and self.unreleased[model].is_addressed(headers):
            return model, self.unreleased[model].version
        if model in self.broken:
            raise Problem(503, [f"model {model!r} cannot be served: {self.broken[model]}"])
        if not self.models:
            raise Problem(503, [f"model {model!r} is not live; no model is live yet"])
        raise Problem(404, [f"no model {model[:80]!r} is live; live are {', '.join(self.models)}"])

    def _only_model(self) -> str:
        if not self.models:
            raise Problem(503, ["no model is live yet; release one first"])
        if len(self.models) > 1:
            raise Problem(400, [f"several models are live; name one in the header x-model: {', '.join(self.models)}"])
        return next(iter(self.models))

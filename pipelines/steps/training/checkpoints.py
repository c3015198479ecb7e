"""Checkpoints of boosting: the newest and the best K are kept, and a killed training resumes from the newest.

A checkpoint is a model file per round and an index, written last, which names every file with its sha256: a kill
between the two leaves the earlier index and all files that it names.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ports import Store
from pipelines.steps.training.scores import improves

INDEX_FILE = "checkpoints.json"


class CheckpointFile(BaseModel):
    """One model file. ``rounds``: boosting rounds done; ``score``: the validation score of the last of them."""

    model_config = ConfigDict(frozen=True)

    rounds: int
    file: str
    sha256: str
    score: float | None


class CheckpointIndex(BaseModel):
    """What the next attempt needs besides the model: every round's scores and learning rate so far."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    curves: dict[str, list[float]]
    learning_rates: list[float]
    kept: list[CheckpointFile]
    """Ascending by rounds; the last is the newest."""


@dataclass
class Checkpoints:
    """Checkpoints of one request, below ``checkpoints/<model>/<request digest>/`` in the store."""

    store: Store
    model: str
    request_digest: str
    mode: str
    keep_best: int
    _index: CheckpointIndex | None = field(default=None, init=False)

    def of_refit(self) -> Checkpoints:
        """Those of the second fit of the same request, on all rows."""
        return replace(self, request_digest=f"{self.request_digest}-refit")

    def newest(self) -> tuple[bytes, CheckpointIndex] | None:
        """The newest checkpoint and the index, or None if there is none or its file was altered."""
        path = self._path(INDEX_FILE)
        if not self.store.exists(path):
            return None
        try:
            index = CheckpointIndex.model_validate_json(self.store.get(path))
            content = self.store.get(self._path(index.kept[-1].file))
        except (ValidationError, Refused, IndexError):
            return None
        if hashlib.sha256(content).hexdigest() != index.kept[-1].sha256:
            return None
        self._index = index
        return content, index

    def save(self, content: bytes, curves: dict[str, list[float]], learning_rates: list[float], score: float) -> None:
        """Write the model after ``len(learning_rates)`` rounds, then the index, then delete files outside the index."""
        rounds = len(learning_rates)
        name = f"round-{rounds:06d}.ubj"
        self.store.put(self._path(name), content)
        newest_file = CheckpointFile(
            rounds=rounds,
            file=name,
            sha256=hashlib.sha256(content).hexdigest(),
            score=score if score == score else None,
        )
        earlier = [file for file in (self._index.kept if self._index else []) if file.rounds < rounds]
        best = self._best_files([*earlier, newest_file])
        files = sorted({*best, newest_file}, key=lambda file: file.rounds)
        self._index = CheckpointIndex(curves=curves, learning_rates=learning_rates, kept=files)
        self.store.put(self._path(INDEX_FILE), self._index.model_dump_json().encode())
        named = {file.file for file in files}
        for path in self.store.list(self._path("")):
            if path.rpartition("/")[2].startswith("round-") and path.rpartition("/")[2] not in named:
                self.store.delete(path)

    def save_json(self, name: str, content: object) -> None:
        """Save a small JSON fact of the same attempt, such as the finished trials of a search."""
        self.store.put(self._path(name), json.dumps(content).encode())

    def load_json(self, name: str) -> object | None:
        path = self._path(name)
        return json.loads(self.store.get(path)) if self.store.exists(path) else None

    def _best_files(self, files: list[CheckpointFile]) -> list[CheckpointFile]:
        best: list[CheckpointFile] = []
        remaining = [file for file in files if file.score is not None]
        while remaining and len(best) < self.keep_best:
            top = remaining[0]
            for file in remaining[1:]:
                if file.score is not None and improves(file.score, top.score, self.mode):
                    top = file
            best.append(top)
            remaining.remove(top)
        return best

    def _path(self, name: str) -> str:
        return store_paths.checkpoint(self.model, self.request_digest, name)

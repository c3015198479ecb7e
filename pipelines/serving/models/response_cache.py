"""An answer is repeated only to the same rows by the same bundle of the same version."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from hashlib import blake2b

import msgspec

from pipelines.serving import settings
from pipelines.serving.models.predictor import Predictor, Values

HIT: ContextVar[bool] = ContextVar("cache_hit", default=False)
"""Whether the last prediction of this context came from the cache."""
ENTRY_BYTES = 320
"""What one entry costs beside its predictions: key, list, place in the table."""
FLOAT_BYTES = 32
"""One Python float and its place in a list."""
_encoder = msgspec.msgpack.Encoder()


class ResponseCache:
    """Least recently used answers of one worker, at most ``max_bytes`` of them, none older than ``ttl_seconds``."""

    def __init__(self, max_bytes: int, ttl_seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._ttl, self._clock = max_bytes, ttl_seconds, clock
        self._entries: OrderedDict[bytes, tuple[float, list[float]]] = OrderedDict()
        self.bytes = 0

    def get(self, key: bytes) -> list[float] | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, answers = entry
        if until <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return answers

    def put(self, key: bytes, answers: list[float]) -> None:
        cost = _cost(answers)
        if cost > self._max_bytes // 8:
            return  # one large answer would push out too many small ones
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (self._clock() + self._ttl, answers)
        self.bytes += cost
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self.bytes -= _cost(self._entries.pop(key)[1])


def _cost(answers: Sequence[float]) -> int:
    return ENTRY_BYTES + FLOAT_BYTES * len(answers)


class CachedPredictor(Predictor):
    """A predictor that asks the cache first. The key holds model, version and the bundle's digest beside the rows."""

    def __init__(self, predictor: Predictor, cache: ResponseCache, sha256: str) -> None:
        self.manifest = predictor.manifest
        self._predictor, self._cache = predictor, cache
        self._arm = blake2b(
            msgspec.msgpack.encode([self.manifest.model, self.manifest.version, sha256]), digest_size=32
        ).digest()

    def predict(self, values: Values, count: int) -> list[float]:
        try:
            key = blake2b(_encoder.encode(values), digest_size=32, key=self._arm).digest()
        except OverflowError:  # a number that is out of range: the predictor says which
            HIT.set(False)
            return self._predictor.predict(values, count)
        hit = self._cache.get(key)
        HIT.set(hit is not None)
        if hit is not None:
            return hit
        answers = self._predictor.predict(values, count)
        self._cache.put(key, answers)
        return answers


def cached(declared: settings.CacheConfig | None) -> Callable[[Predictor, str], Predictor]:
    """What puts one cache before every predictor of a worker, given the sha256 of its bundle; nothing if undeclared."""
    if declared is None:
        return lambda predictor, _: predictor
    cache = ResponseCache(declared.max_bytes, declared.ttl_seconds)
    return lambda predictor, sha256: CachedPredictor(predictor, cache, sha256)

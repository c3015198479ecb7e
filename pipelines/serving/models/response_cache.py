"""Caches predictions; a hit needs the same rows, model, version and bundle digest."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from hashlib import blake2b

import msgspec

from pipelines.serving import settings
from pipelines.serving.models.predictor import Predictor, TimedAnswers, Values

IS_CACHE_HIT: ContextVar[bool] = ContextVar("cache_hit", default=False)
"""Whether the last prediction of this context came from the cache."""
ENTRY_BYTES = 400
"""Memory of one entry without its predictions: key, list, time, table slot."""
FLOAT_BYTES = 32
"""Memory of one Python float and its list slot."""
_encoder = msgspec.msgpack.Encoder()


class ResponseCache:
    """LRU cache of one worker: at most ``max_bytes`` in all, no answer older than ``ttl_seconds``."""

    def __init__(self, max_bytes: int, ttl_seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._ttl, self._clock = max_bytes, ttl_seconds, clock
        self._entries: OrderedDict[bytes, tuple[float, TimedAnswers]] = OrderedDict()
        self.bytes = 0

    def get(self, key: bytes) -> TimedAnswers | None:
        """The answers with the seconds that computing them took."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires_at, timed = entry
        if expires_at <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return timed

    def put(self, key: bytes, timed: TimedAnswers) -> None:
        cost = _entry_size(timed[0])
        if cost > self._max_bytes // 8:
            return  # one large answer would evict too many small ones
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (self._clock() + self._ttl, timed)
        self.bytes += cost
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self.bytes -= _entry_size(self._entries.pop(key)[1][0])


def _entry_size(answers: Sequence[float]) -> int:
    return ENTRY_BYTES + FLOAT_BYTES * len(answers)


class CachedPredictor(Predictor):
    """A predictor with a cache. The key contains model, version, the bundle's digest and the rows."""

    def __init__(self, predictor: Predictor, cache: ResponseCache, sha256: str) -> None:
        self.manifest, self.vocabularies = predictor.manifest, predictor.vocabularies
        self.predictor, self._cache = predictor, cache
        self._key_prefix = blake2b(
            msgspec.msgpack.encode([self.manifest.model, self.manifest.version, sha256]), digest_size=32
        ).digest()

    def predict(self, values: Values, count: int) -> list[float]:
        return self.predict_timed(values, count)[0]

    def predict_timed(self, values: Values, count: int) -> TimedAnswers:
        """A hit has the seconds of its computation, so that a version with a cache compares with one without."""
        try:
            key = blake2b(_encoder.encode(values), digest_size=32, key=self._key_prefix).digest()
        except OverflowError:  # a number is out of range: the predictor raises for it
            IS_CACHE_HIT.set(False)
            return self.predictor.predict_timed(values, count)
        timed = self._cache.get(key)
        IS_CACHE_HIT.set(timed is not None)
        if timed is not None:
            return timed
        timed = self.predictor.predict_timed(values, count)
        self._cache.put(key, timed)
        return timed


def without_cache(predictor: Predictor) -> Predictor:
    """The predictor itself, for answers that must be computed."""
    return predictor.predictor if isinstance(predictor, CachedPredictor) else predictor


def cache_wrapper(config: settings.CacheConfig | None) -> Callable[[Predictor, str], Predictor]:
    """A function that puts one shared cache before a predictor, given its bundle's sha256; none without ``config``."""
    if config is None:
        return lambda predictor, _: predictor
    cache = ResponseCache(config.max_bytes, config.ttl_seconds)
    return lambda predictor, sha256: CachedPredictor(predictor, cache, sha256)

"""A repeated question is answered from memory, and never by a version that is not live any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from pipelines.serving.models.bundle import BundleManifest, InputColumn
from pipelines.serving.models.predictor import Predictor
from pipelines.serving.models.response_cache import (
    ENTRY_BYTES,
    FLOAT_BYTES,
    IS_CACHE_HIT,
    CachedPredictor,
    ResponseCache,
)
from tests.serving.front_gateways import front
from tests.serving.gateway_process import COLUMNS, ROWS, expected, write_bundle


class Counting(Predictor):
    """Answers its number and counts how often it was asked."""

    def __init__(self, answer: float, version: str = "1") -> None:
        self.manifest = BundleManifest(
            "m", version, "onnx", "value", [InputColumn("a", "numeric")], {}, "0" * 64, "model.onnx"
        )
        self.answer, self.asked = answer, 0

    def predict(self, values: Sequence[Sequence[Any]], count: int) -> list[float]:
        self.asked += 1
        return [self.answer] * count


def test_the_same_rows_are_asked_once_and_others_again() -> None:
    model = Counting(1.0)
    cached = CachedPredictor(model, ResponseCache(10_000, 60), "d1")
    found = [
        (cached.predict(values, 1), IS_CACHE_HIT.get()) for values in ([[1.0]], [[1.0]], [[2.0]], [["1.0"]], [[None]])
    ]
    assert [hit for _, hit in found] == [False, True, False, False, False]
    assert model.asked == 4


@pytest.mark.parametrize(("version", "sha256"), [("2", "d1"), ("1", "d2")], ids=["another version", "another bundle"])
def test_an_answer_of_one_bundle_is_never_anothers(version: str, sha256: str) -> None:
    cache = ResponseCache(10_000, 60)
    assert CachedPredictor(Counting(1.0), cache, "d1").predict([[5.0]], 1) == [1.0]
    assert CachedPredictor(Counting(2.0, version), cache, sha256).predict([[5.0]], 1) == [2.0]


def test_an_answer_is_forgotten_when_it_is_too_old() -> None:
    clock = [0.0]
    model = Counting(1.0)
    cached = CachedPredictor(model, ResponseCache(10_000, 60, clock=lambda: clock[0]), "d")
    for now in (0, 59, 60, 61):
        clock[0] = now
        cached.predict([[1.0]], 1)
    assert model.asked == 2


def test_the_cache_keeps_its_bound_in_bytes_and_forgets_what_was_not_asked_for_longest() -> None:
    one = ENTRY_BYTES + FLOAT_BYTES
    cache = ResponseCache(10 * one, 60)
    cached = CachedPredictor(Counting(1.0), cache, "d")
    for number in range(10):
        cached.predict([[number]], 1)
    cached.predict([[0]], 1)  # used again: not the oldest any more
    cached.predict([[10]], 1)
    assert cache.bytes == 10 * one
    cached.predict([[0]], 1)
    assert IS_CACHE_HIT.get()
    cached.predict([[1]], 1)
    assert not IS_CACHE_HIT.get()


def test_one_huge_answer_does_not_empty_the_cache() -> None:
    cache = ResponseCache(100_000, 60)
    cached = CachedPredictor(Counting(1.0), cache, "d")
    cached.predict([[1.0]], 1)
    before = cache.bytes
    cached.predict([[1.0] * 5000], 5000)
    assert cache.bytes == before


def test_a_number_that_no_key_can_hold_reaches_the_model() -> None:
    model = Counting(1.0)
    cached = CachedPredictor(model, ResponseCache(10_000, 60), "d")
    cached.predict([[10**400]], 1)
    cached.predict([[10**400]], 1)
    assert model.asked == 2


def test_after_a_switch_under_load_no_answer_is_the_old_versions(tmp_path: Path) -> None:
    gateway = front(tmp_path, cache={"ttl_seconds": 600}, workers=2)
    answers: list[httpx.Response] = []
    stop = threading.Event()
    content = {"dataframe_split": {"columns": COLUMNS, "data": ROWS}}

    def load() -> None:
        with httpx.Client(timeout=30) as client:
            while not stop.is_set():
                answers.append(client.post(f"{gateway.base}/invocations", json=content))

    try:
        gateway.start()
        gateway.release("1", write_bundle(tmp_path / "bundles", "1"))
        second = write_bundle(tmp_path / "bundles", "2", seed=9)
        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            gateway.wait_for(lambda: sum(one.headers.get("x-cache") == "hit" for one in answers) > 20)
            assert gateway.release("2", second).status_code == 200
            gateway.wait_for(
                lambda: (
                    sum(
                        one.headers.get("x-cache") == "hit" and one.headers["x-model-version"] == "2" for one in answers
                    )
                    > 20
                )
            )
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert {one.status_code for one in answers} == {200}
        for one in answers:
            seed = {"1": 1, "2": 9}[one.headers["x-model-version"]]
            assert one.json()["predictions"] == pytest.approx(expected(seed), rel=1e-5)
        gateway.flush()
        log = pl.read_parquet(list(gateway.store.glob("predictions/*/*/*.parquet")))
        hits = log.filter("cache_hit")["request_id"].n_unique()
        assert hits == sum(one.headers.get("x-cache") == "hit" for one in answers)
        assert log["request_id"].n_unique() == len(answers)
    finally:
        gateway.stop()


def test_a_hit_has_the_seconds_that_its_computation_took() -> None:
    class Slow(Counting):
        def predict(self, values: Sequence[Sequence[Any]], count: int) -> list[float]:
            time.sleep(0.02)
            return super().predict(values, count)

    cached = CachedPredictor(Slow(1.0), ResponseCache(10_000, 60), "d1")
    computed, repeated = cached.predict_timed([[1.0]], 1), cached.predict_timed([[1.0]], 1)
    assert IS_CACHE_HIT.get()
    assert repeated == computed
    assert repeated[1] >= 0.02

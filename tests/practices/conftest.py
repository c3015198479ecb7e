"""One model's surroundings in memory, for every practice that serves a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.messages.release import LiveState
from tests.practices.practice_harness import MODEL, PracticeHarness


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PracticeHarness:
    return PracticeHarness.open(tmp_path, monkeypatch)


@pytest.fixture
def watched(harness: PracticeHarness) -> None:
    """Version 4 is live and was asked on 6 March 2013."""
    harness.registry.add("4")
    harness.endpoint.serve(LiveState(model=MODEL, version="4"))
    harness.registry.name(champion="4")
    harness.ledger.append("release", MODEL, "4", {}, actor="test")
    harness.store.put(f"predictions/{MODEL}/date=2013-03-06/a.parquet", b"")

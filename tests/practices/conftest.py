"""One model's surroundings in memory, for every practice that serves a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.practices.airfield import MODEL, Airfield


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Airfield:
    return Airfield.open(tmp_path, monkeypatch)


@pytest.fixture
def watched(field: Airfield) -> None:
    """Version 4 is live and was asked on 6 March 2013."""
    field.registry.add("4")
    field.registry.name(champion="4")
    field.ledger.append("release", MODEL, "4", {}, actor="test")
    field.store.put(f"predictions/{MODEL}/date=2013-03-06/a.parquet", b"")

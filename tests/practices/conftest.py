"""One model's surroundings in memory, for every practice that serves a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.practices.airfield import Airfield


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Airfield:
    return Airfield.open(tmp_path, monkeypatch)

"""Every command prints as where no width is given: pytest's workers say one."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_declared_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)

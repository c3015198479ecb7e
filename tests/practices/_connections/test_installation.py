from __future__ import annotations

from pathlib import Path

import pytest

from practices._connections import installation


def test_ports_are_opened_once_per_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRWORTHY_HOME", str(tmp_path / "one"))
    first = installation.open_ports()
    assert installation.open_ports() is first
    monkeypatch.setenv("AIRWORTHY_HOME", str(tmp_path / "two"))
    assert installation.open_ports().settings.home == tmp_path / "two"

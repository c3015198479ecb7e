from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.shared_rewriting import rewrite_share


def test_each_file_is_rewritten_by_one_worker_and_once(
    tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    files = [tmp_path / f"test_{number}.py" for number in range(5)]
    for file in files:
        file.write_text("def test_it():\n    assert 1 + 1 == 2\n")
    shares = [rewrite_share(pytestconfig, files, number, 2) for number in (0, 1)]
    assert shares == [files[0::2], files[1::2]]
    assert len(list((tmp_path / "__pycache__").glob("test_*-pytest-*.pyc"))) == 5
    assert [rewrite_share(pytestconfig, files, number, 2) for number in (0, 1)] == [[], []]
    files[3].write_text("def test_it():\n    assert 1 + 1 == 3\n")
    assert rewrite_share(pytestconfig, files, 1, 2) == [files[3]]


def test_nothing_is_written_where_python_may_write_no_bytecode(
    tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "test_it.py").write_text("assert True\n")
    assert rewrite_share(pytestconfig, [tmp_path / "test_it.py"], 0, 1) == []
    assert not (tmp_path / "__pycache__").exists()

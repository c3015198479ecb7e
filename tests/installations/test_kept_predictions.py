"""The prediction log of an earlier version is read beside the present one's, which names callers."""

from __future__ import annotations

import tarfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from pipelines.serving.prediction_log.compaction import compact_all
from pipelines.serving.prediction_log.writer import LoggedAnswer, LogWriter
from pipelines.steps.monitoring.prediction_log import read_log
from pipelines.steps.rollouts.log import read_rollout
from pipelines.testing.ports import MemoryStore
from tests.installations.kept import ARCHIVE

MODEL, DAY = "flight_delay", date(2026, 11, 27)
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def test_rows_without_a_caller_are_read_beside_rows_with_one(tmp_path: Path) -> None:
    store, rollouts, kept_rows = MemoryStore(), set(), 0
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if member.name.startswith("store/predictions/") and member.name.endswith(".parquet"):
                content = archive.extractfile(member).read()  # type: ignore[union-attr]
                frame = pl.read_parquet(content)
                assert "caller" not in frame.columns
                rollouts |= set(frame["rollout_id"].drop_nulls())
                kept_rows += frame.height
                store.put(member.name.removeprefix("store/"), content)
    (rollout,) = rollouts
    before = read_log(store, MODEL, [DAY]).height, read_rollout(store, MODEL, rollout, NOON).height
    assert min(*before, kept_rows) > 0

    log = LogWriter(tmp_path / "wal", "0-1", lambda *_: None)
    columns = log.columns(MODEL, "2", ["x0"], ["numeric"], "candidate", rollout)
    moment = int(NOON.timestamp()) * 1_000_000
    log.append(
        columns, LoggedAnswer(columns.number, moment, moment, "q", "q", 1, 10, ["e"], [[0.0]], [0.5], caller="key:site")
    )
    log.rotate()
    compact_all(tmp_path / "wal", str(tmp_path / "store"))
    (path,) = (tmp_path / "store").glob("predictions/*/*/*.parquet")
    assert pl.read_parquet(path)["caller"].to_list() == ["key:site"]
    store.put(str(path.relative_to(tmp_path / "store")), path.read_bytes())
    after = read_log(store, MODEL, [DAY]).height, read_rollout(store, MODEL, rollout, NOON + timedelta(hours=1)).height
    assert after == (before[0] + 1, before[1] + 1)

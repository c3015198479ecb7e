"""`airworthy lineage` names every link from a served answer to the files that were delivered."""

from __future__ import annotations

import argparse
import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.cli import lineage
from pipelines.errors import Refused
from pipelines.messages.delivery import RawReceipt
from pipelines.messages.training import SnapshotRequest
from pipelines.ports import VersionInfo
from pipelines.steps import take_snapshot
from pipelines.testing.ports import FakePorts, MemoryRegistry
from tests.steps.built_features import build_view
from tests.steps.flights_by_hand import catalog, limited, model, random_days

DAY = date(2013, 6, 3)
DAYS = [DAY + timedelta(days=number) for number in range(3)]
MODEL = "flight_delay"
ENTITY = "2013-06-05T15:00:00Z|UA|1"


class Registry(MemoryRegistry):
    def add(self, info: VersionInfo) -> None:
        self._versions.setdefault(info.model, {})[info.version] = info


def sha256(source: str, day: date, raw: int) -> str:
    return hashlib.sha256(f"{source} {day} {raw}".encode()).hexdigest()


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    """Three days were delivered; the first one twice, so that the snapshot rests on its second delivery."""
    made = FakePorts.make(tmp_path, catalog=catalog(model(), view=limited()))
    frames = random_days(4, DAY, days=3, per_day=30)
    for raw, day in enumerate([DAYS[0], *DAYS]):
        for source, frame in frames.items():
            rows = frame.filter(day=day).drop("day")
            if rows.is_empty():
                continue
            receipt = RawReceipt(rows=rows.height, sha256={f"{source}.csv": sha256(source, day, raw)}, version=raw)
            path = store_paths.delivery("flights", source, day, raw)
            made.store.put(path, receipt.model_dump_json(by_alias=True).encode())
            made.store.replace_partition(store_paths.validated("flights", source), day, rows, input_version=raw)
        build_view(made, MODEL, day)
    taken = take_snapshot.run(SnapshotRequest(model=MODEL, as_of=datetime(2013, 6, 8, tzinfo=UTC)), made)
    tags = {"airworthy.snapshot": taken.digest, "airworthy.semantic_version": "1.0.2"}
    registry = Registry()
    registry.add(VersionInfo(model=MODEL, version="3", run_id="r7", source="s", tags=tags))
    made.registry = registry
    made.ledger.append("training", MODEL, "3", {}, actor="test")
    answers = pl.DataFrame(
        {
            "prediction_time": [datetime(2013, 6, 5, 13, tzinfo=UTC)],
            "logged_at": [datetime(2013, 6, 5, 13, tzinfo=UTC)],
            "request_id": ["q-17"],
            "row": [0],
            "correlation_id": ["c-1"],
            "entity_id": [ENTITY],
            "version": ["3"],
            "prediction": [0.25],
        }
    )
    content = BytesIO()
    answers.write_parquet(content)
    made.store.put(f"{store_paths.predictions(MODEL)}date=2013-06-05/part.parquet", content.getvalue())
    return made


def call(ports: FakePorts, *arguments: str) -> int:
    root = argparse.ArgumentParser()
    lineage.add_parser(root.add_subparsers())
    options = root.parse_args(["lineage", *arguments])
    status: int = options.run(options, ports)
    return status


@pytest.mark.parametrize("subject", [ENTITY, "q-17", "c-1"])
def test_an_answer_leads_to_its_version_its_snapshot_and_every_file(
    ports: FakePorts, subject: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(ports, MODEL, subject, "--all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"prediction 0.25 of {MODEL} about {ENTITY}"
    assert f"version 3 (1.0.2) of {MODEL}, trained in run r7" in lines
    assert f"    flights.csv sha256 {sha256('flights', DAYS[0], 1)}" in lines
    assert not any(sha256("flights", DAYS[0], 0) in line for line in lines), "its first delivery was replaced"
    for raw, day in enumerate(DAYS, 1):
        assert f"    weather.csv sha256 {sha256('weather', day, raw)}" in lines


def test_a_snapshot_records_every_version_that_it_rests_on_through_the_features(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = ports.registry.get(MODEL, "3").tags["airworthy.snapshot"]
    assert call(ports, MODEL, digest, "--json") == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    read = {(each["table"], each["version"]) for day in facts["days"] for each in day["inputs"]}
    rests_on = facts["snapshot"]["rests_on"]
    assert read <= {(table, version) for table, versions in rests_on.items() for version in versions}
    assert {*rests_on} == {"validated/flights.flights", "validated/flights.weather", "validated/flights.planes"}
    assert [day["day"] for day in facts["days"]] == [f"{day}" for day in DAYS]


def test_the_snapshot_of_a_version_is_the_ledgers_though_the_registry_names_another(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    info = ports.registry.get(MODEL, "3")
    ports.ledger.append("training", MODEL, "3", {"snapshot": info.tags["airworthy.snapshot"]}, actor="test")
    ports.registry.add(info.model_copy(update={"tags": {"airworthy.snapshot": "0" * 64}}))  # type: ignore[attr-defined]
    assert call(ports, MODEL, "3") == 0
    assert f"snapshot {info.tags['airworthy.snapshot']}" in capsys.readouterr().out


def test_features_without_a_record_say_so(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ports.store.read("features/flight_delay", days=[DAYS[0]]).drop("day")
    ports.store.replace_partition("features/flight_delay", DAYS[0], rows)
    request = SnapshotRequest(model=MODEL, as_of=datetime(2013, 6, 9, tzinfo=UTC))
    record = take_snapshot.run(request, ports)
    path = store_paths.snapshot(MODEL, record.digest, "snapshot.json")
    ports.store.put(path, record.model_dump_json(by_alias=True).encode())
    call(ports, MODEL, record.digest, "--all")
    assert f"features of {DAYS[0]}: written before 0.2.0, their commit names no inputs" in capsys.readouterr().out


def test_what_a_caller_and_a_source_wrote_is_printed_as_text(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    """The id of an entity is a caller's own word, the name of a file is its source's."""
    content = BytesIO()
    [path] = ports.store.list(store_paths.predictions(MODEL))
    answers = pl.read_parquet(BytesIO(ports.store.get(path)))
    answers.with_columns(entity_id=pl.lit("\x1b[2Ka\nversion 9 of all")).write_parquet(content)
    ports.store.put(path, content.getvalue())
    call(ports, MODEL, "q-17")
    printed = capsys.readouterr().out
    assert "\\x1b[2Ka\\nversion 9 of all" in printed
    assert "\x1b" not in printed


def test_what_is_nowhere_is_refused_with_what_can_be_named(ports: FakePorts) -> None:
    with pytest.raises(Refused, match="no version, snapshot or logged answer nothing"):
        call(ports, MODEL, "nothing")
    with pytest.raises(Refused, match="has no snapshot"):
        call(ports, MODEL, "0" * 64)

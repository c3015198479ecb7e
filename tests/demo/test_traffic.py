"""Callers at a steady rate: every request is written down, answered or not."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import polars as pl
import pytest

from pipelines.demo.traffic import row_requests, run
from pipelines.errors import Refused
from pipelines.settings import Settings
from pipelines.testing.ports import FakePorts

MODEL = "flight_delay"
DAY = date(2013, 1, 1)


class Door(BaseHTTPRequestHandler):
    """Every fifth request is turned away; the others are answered by version 3 as candidate."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self) -> None:
        Door.asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503 if Door.asked % 5 == 0 else 200)
        self.send_header("x-model-version", "3")
        self.send_header("x-model-arm", "candidate")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def door() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_who_answered_and_who_got_nothing_is_on_file(
    door: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path), "AIRWORTHY_GATEWAY": door})
    ports = FakePorts.make(tmp_path, settings=settings)
    file = tmp_path / "answers.parquet"
    asked = {"model": MODEL, "rps": 100.0, "seconds": 1.0, "first": DAY, "days": 1, "to": file}
    assert run(argparse.Namespace(**asked), ports) == 0
    found = pl.read_parquet(file)
    assert found.height == 100
    assert set(found.filter(pl.col("status") == 200)["version"]) == {"3"}
    assert set(found["arm"]) == {"candidate"}
    assert int((found["status"] == 503).sum()) == 20
    assert "100 requests, 20 errors; version 3 80" in capsys.readouterr().out


def test_each_flight_is_one_request_with_its_own_key(tmp_path: Path) -> None:
    bodies = [orjson.loads(body) for body in row_requests(MODEL, DAY, 1, FakePorts.make(tmp_path))]
    assert len(bodies) > 800
    assert len({body["ids"][0] for body in bodies}) == len(bodies)
    assert {len(body["dataframe_split"]["data"]) for body in bodies} == {1}


def test_days_without_flights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="flight_delay has no rows from 2020-01-01"):
        row_requests(MODEL, date(2020, 1, 1), 1, FakePorts.make(tmp_path))

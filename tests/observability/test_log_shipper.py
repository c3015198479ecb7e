"""The shipper's configuration finds what every part wrote, and one id leads through all of it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from pipelines.settings import REPOSITORY

SHIPPER = yaml.safe_load((REPOSITORY / "deploy" / "monitoring" / "fluent-bit.yaml").read_text())
CORRELATION = "4bf92f3577b34da6a3ce929d0e0e4736"
PERSONAL = ("jo.doe@mail.example", "+1 212 555 0199")
SERVICE = f"""
import logging, sys
from pipelines.logs.output import configure
configure(sys.argv[1], process="worker 0")
fields = {{"correlation_id": "{CORRELATION}"}}
logging.getLogger("airworthy.gateway").error("{PERSONAL[0]} failed (correlation id {CORRELATION})", extra=fields)
sys.stderr.write("a library that prints for itself\\n")
"""


def write_service(logs: Path, name: str, monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    """The log of a process of ours, as the stack keeps it."""
    monkeypatch.setenv("AIRWORTHY_LOG_FORMAT", log_format)
    with (logs / f"{name}.log").open("ab") as log:
        subprocess.run([sys.executable, "-c", SERVICE, name], stderr=log, check=True, timeout=120)


def write_task(file: Path, message: str) -> None:
    """The log of a task, with the fields that Airflow binds, masked by the plugin."""
    import masked_logs

    file.parent.mkdir(parents=True)
    before = structlog.get_config()
    with file.open("a") as log:
        structlog.configure(
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.WriteLoggerFactory(file=log),
        )
        try:
            masked_logs.mask_logs()
            with structlog.contextvars.bound_contextvars(dag_id="m__monitor", task_id="check_performance"):
                structlog.get_logger().info(message, *PERSONAL)
        finally:
            structlog.configure(**before)
            for handler in logging.getLogger().handlers:
                handler.removeFilter(masked_logs.mask_record)


def shipped(logs: Path) -> list[dict[str, Any]]:
    """What the configuration ships: the lines of all files that its paths name, parsed as it says."""
    files = [
        file
        for source in SHIPPER["pipeline"]["inputs"]
        for pattern in source["path"].replace("${AIRWORTHY_LOGS}/", "").split(",")
        for file in logs.glob(pattern)
    ]
    return [parsed(line) | {"file": file.name} for file in files for line in file.read_text().splitlines()]


def parsed(line: str) -> dict[str, Any]:
    (parser,) = SHIPPER["parsers"]
    if not line.startswith("{"):
        return {"log": line}
    fields: dict[str, Any] = json.loads(line)
    datetime.strptime(fields[parser["time_key"]], parser["time_format"].replace("%L", "%f"))  # noqa: DTZ007 - only its form
    return fields


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_correlation_id_finds_the_request_in_the_lines_of_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    write_service(tmp_path, "gateway", monkeypatch, log_format)
    message = f"far off: %s called from %s (correlation id {CORRELATION})"
    write_task(tmp_path / "airflow/dag_id=m/run_id=r 1/task_id=t/attempt=1.log", message)
    write_task(tmp_path / "airflow/dag_id=m/run_id=r 1/task_id=t/map_index=0/attempt=2.log", message)
    lines = shipped(tmp_path)
    assert len(lines) == 4
    hits = [line for line in lines if CORRELATION in json.dumps(line)]
    assert sorted(line["file"] for line in hits) == ["attempt=1.log", "attempt=2.log", "gateway.log"]
    assert {line.get("task_id") for line in hits} == {"check_performance", None}
    assert not [value for value in PERSONAL for line in lines if value in json.dumps(line)]
    if log_format == "json":
        assert [line["file"] for line in lines if line.get("correlation_id") == CORRELATION] == ["gateway.log"]


def test_what_is_no_json_is_shipped_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_service(tmp_path, "gateway", monkeypatch, "json")
    assert [line["log"] for line in shipped(tmp_path) if "log" in line] == ["a library that prints for itself"]
    (filtering,) = SHIPPER["pipeline"]["filters"]
    assert (filtering["key_name"], filtering["reserve_data"]) == ("log", True)
    assert filtering["parser"] == SHIPPER["parsers"][0]["name"]

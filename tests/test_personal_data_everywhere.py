"""From its file to a trained model, a planted person is in the tables of rows, and in no other file of the home."""

from __future__ import annotations

import gzip
import hashlib
import logging
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from pipelines import store_paths
from pipelines.incidents.look import look
from pipelines.logs.output import TEXT_LINE, ReadableFormatter
from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.messages.ingestion import IngestRequest, IngestResult
from pipelines.messages.message import Message
from pipelines.messages.training import SnapshotRequest, SnapshotResult, TrainRequest, TrainResult
from pipelines.messages.validation import AuditResult, PublishRequest, ValidateRequest
from pipelines.ports import Ports
from pipelines.rules.contract_check import judge_contract
from pipelines.rules.quarantine import judge_audit
from pipelines.rules.reproducible_training import judge_training
from pipelines.settings import Settings
from pipelines.verdict import Verdict
from pipelines.wiring import open_ports, run_step
from tests.mlflow_database import copy_empty_mlflow
from tests.steps.built_features import build_view

FIRST, DAYS, ROWS = date(2024, 4, 1), 3, 60
PERSON = "planted.person@mail.example"
"""In a column that is declared ``pii``, in most rows."""
OTHER = "Zebulon Planted-Person"
"""In a column of dates that is ``pii``, where it breaks the contract; and in one whose rows are quarantined."""
PLACES_OF_ROWS = ("landing/shop", "tables/raw", "tables/validated", "tables/quarantine", "staged")
"""Of the store: what was delivered, and the tables of its rows."""
DATASET: dict[str, Any] = {
    "schema": 2,
    "dataset": "shop",
    "description": "Orders",
    "owner": "sales",
    "partition": {"every": "day", "start": f"{FIRST}", "timezone": "UTC"},
    "max_quarantined_share": 0.5,
    "sources": {
        "orders": {
            "files": "{source}/{partition}/orders.csv",
            "key": ["at", "order"],
            "event_time": "at",
            "known": {"before": "1d"},
            "known_columns": {"returned_days": {"after": "1h"}},
            "suite": "orders",
            "columns": {
                "at": {"type": "timestamp"},
                "order": {"type": "integer"},
                "amount": {"type": "number"},
                "returned_days": {"type": "number"},
                "email": {"type": "string", "pii": True},
                "born": {"type": "date", "pii": True},
                "name": {"type": "string", "pii": True},
            },
        }
    },
}
SUITE = {
    "suite": "orders",
    "expectations": [
        {
            "type": "expect_column_values_to_not_be_in_set",
            "kwargs": {"column": "name", "value_set": ["nobody"]},
            "reason": "the name is nobody's",
        },
        {
            "type": "expect_column_value_lengths_to_be_between",
            "kwargs": {"column": "name", "max_value": 12},
            "reason": "the name is too long",
        },
    ],
}
VIEW = {
    "schema": 2,
    "view": "orders",
    "description": "Orders.",
    "owner": "sales",
    "entity": ["at", "order"],
    "rows": {"per": "orders"},
    "label": {"returned": "returned_days >= 5"},
    "features": {"amount": "own", "weekday": {"calendar": "weekday"}},
}
MODEL = {
    "schema": 2,
    "model": "returns",
    "description": "Whether an order comes back.",
    "owner": "sales",
    "view": "orders",
    "target": "returned",
    "training": {"minimum_rows": 50},
    "estimator": {"rounds": 5, "parameters": {"max_depth": 2, "nthread": 1}},
}


def test_a_planted_person_is_in_the_tables_of_rows_and_in_no_other_file(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A row of hers is published, one quarantined, and one refuses its delivery; all steps log to a file."""
    ports = opened(tmp_path)
    request.addfinalizer(logged_to(tmp_path / "logs" / "steps.log"))
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        assert deliver(ports, day, born="2001-02-03") == []
        take_day(ports, day)
    refused = FIRST + timedelta(days=DAYS)
    assert deliver(ports, refused, born=OTHER), "the contract refuses a name in the place of a date"
    train(ports)
    look(ports, observer="watch")

    folders = {"/".join(Path(place).parts[1:-1]) for place, texts in texts_found(tmp_path).items() if texts}
    assert not [folder for folder in folders if not folder.startswith(PLACES_OF_ROWS)]
    for place in PLACES_OF_ROWS:
        assert any(folder.startswith(place) for folder in folders), (
            f"{place} has rows of hers, which the search must see"
        )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.relative_to(tmp_path).parts[0] for path in files}
    assert {"store", "ledger", "mlruns.db", "logs"} <= names
    assert (tmp_path / "logs" / "steps.log").stat().st_size > 0


def opened(home: Path) -> Ports:
    include = home / "include"
    declared = {
        "datasets/shop": DATASET,
        "expectations/orders": SUITE,
        "features/orders": VIEW,
        "models/returns": MODEL,
    }
    for file, fields in declared.items():
        (include / f"{file}.yaml").parent.mkdir(parents=True, exist_ok=True)
        (include / f"{file}.yaml").write_text(yaml.safe_dump(fields))
    environment = {
        "AIRWORTHY_HOME": str(home),
        "AIRWORTHY_INCLUDE": str(include),
        "MLFLOW_TRACKING_URI": copy_empty_mlflow(home / "mlruns.db"),
    }
    ports = open_ports(Settings.from_environment(environment))
    assert ports.catalog.refused == {}
    return ports


def logged_to(file: Path) -> Any:
    """Everything that is logged, from INFO on, as a process writes it; returns what ends that."""
    file.parent.mkdir()
    handler, root = logging.FileHandler(file), logging.getLogger()
    handler.setFormatter(ReadableFormatter(TEXT_LINE))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)

    def end() -> None:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()

    return end


def step(name: str, message: Message, ports: Ports) -> Any:
    """By the door of tasks and pods, its request and result logged as they are there."""
    logging.getLogger("pipelines.steps").info("%s: %s", name, message.model_dump_json(by_alias=True))
    result = run_step(name, message.model_dump_json(by_alias=True), ports)
    logging.getLogger("pipelines.steps").info("%s: %s", name, result.model_dump_json(by_alias=True))
    return result


def record(ports: Ports, kind: str, model: str, verdict: Verdict) -> None:
    ports.ledger.append(kind, model, None, verdict.model_dump(mode="json"), actor="test")


def deliver(ports: Ports, day: date, born: str) -> list[str]:
    """Land a day and ingest it; returns why it was refused."""
    rng = np.random.default_rng(day.toordinal())
    amounts = rng.gamma(2, 50, ROWS)
    lines = ["at,order,amount,returned_days,email,born,name"]
    for number, amount in enumerate(amounts):
        name = OTHER if number == 7 else "Ann"
        back = 9 if amount + rng.normal(0, 40) > 100 else 0
        lines.append(f"{day}T{number % 20:02}:00:00Z,{number},{amount:.2f},{back},{PERSON},{born},{name}")
    content = "\n".join([*lines, ""]).encode()
    digest = f"SHA256:{hashlib.sha256(content).hexdigest().upper()}"
    ports.store.put(store_paths.landing("shop", "orders", day, "orders.csv"), content)
    file = LandedFile(name="orders.csv", rows=ROWS, sha256=digest)
    manifest = DeliveryManifest(source="orders", partition=f"{day}", files=[file])
    path = store_paths.landing("shop", "orders", day, store_paths.MANIFEST)
    ports.store.put(path, manifest.model_dump_json(by_alias=True).encode())
    result: IngestResult = step("ingest_partition", IngestRequest(dataset="shop", partition=f"{day}"), ports)
    verdict = judge_contract(result)
    record(ports, "data_verdict", "shop", verdict)
    return list(verdict.reasons)


def take_day(ports: Ports, day: date) -> None:
    audit: AuditResult = step("audit_partition", ValidateRequest(dataset="shop", partition=f"{day}"), ports)
    verdict = judge_audit(audit, 0.5)
    record(ports, "data_verdict", "shop", verdict)
    assert verdict.passed
    step("publish_partition", PublishRequest(audit=audit, accept=True), ports)
    assert build_view(ports, "orders", day).verdicts[day].passed


def train(ports: Ports) -> None:
    as_of = datetime(2024, 5, 1, tzinfo=UTC)
    snapshot: SnapshotResult = step("take_snapshot", SnapshotRequest(model="returns", as_of=as_of), ports)
    request = TrainRequest(model="returns", snapshot=snapshot.digest, run_key="returns__train/manual")
    result: TrainResult = step("train_model", request, ports)
    record(ports, "training", "returns", judge_training(result, ports.catalog.model("returns")))


def texts_found(home: Path) -> dict[str, list[str]]:
    """Each file below the home, to those of the two that its content has, whatever its compression."""
    texts = {}
    for path in sorted(home.rglob("*")):
        if path.is_file():
            whole = b"\n".join(contents(path))
            texts[path.relative_to(home).as_posix()] = [text for text in (PERSON, OTHER) if text.encode() in whole]
    return texts


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file as they are; of a compressed one unpacked, of a table all its texts."""
    content = path.read_bytes()
    yield content
    if content[:4] == b"PAR1":
        frame = pl.read_parquet(BytesIO(content))
        yield "\n".join(str(row) for row in frame.iter_rows()).encode()
    elif content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:2] == b"PK":
        with zipfile.ZipFile(BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())

"""`airworthy verify` prints each item and exits 0 only if the whole certificate holds."""

from __future__ import annotations

import argparse
import hashlib
import io
from pathlib import Path

import polars as pl
import pytest

from pipelines.cli import verify
from pipelines.ledger.certificate import Certificate
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.testing.ports import FakePorts
from pipelines.testing.rollout_target import FakeTarget
from pipelines.versions.records import append_rollback

MODEL = b"the native model"
DIGEST = hashlib.sha256(MODEL).hexdigest()
SNAPSHOT = pl.DataFrame({"flight": [1, 2, 3]})


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    """Version 1 was trained, passed every gate, was approved and released."""
    made = FakePorts.make(tmp_path)
    content = io.BytesIO()
    SNAPSHOT.write_parquet(content)
    name = table_digest(SNAPSHOT)
    made.store.put(f"snapshots/late/{name}/data.parquet", content.getvalue())
    manifest = b'{"model_digest": "%s", "files": {}}' % DIGEST.encode()
    made.store.put("bundles/late/1/bundle.json", manifest)
    digests = {"model_digest": DIGEST, "snapshot": name, "environment_digest": "e" * 64, "request_digest": "a" * 64}
    data = {"snapshot": name, "outcome": "pass", "table_versions": {"features/flights": 7}}
    made.ledger.append("data_verdict", "late", None, data, actor="a")
    made.ledger.append("training", "late", "1", {**digests, "outcome": "pass", "git_revision": "c" * 40}, actor="a")
    for gate in REQUIRED_GATES:
        details = {"gate": gate, "outcome": "pass", "model_digest": DIGEST}
        made.ledger.append("gate", "late", "1", details, actor="a")
    made.ledger.append("approval", "late", "1", {"model_digest": DIGEST, "semantic_version": "1.0.0"}, actor="ml_lead")
    released = {"model_digest": DIGEST, "sha256": hashlib.sha256(manifest).hexdigest()}
    made.ledger.append("release", "late", "1", released, actor="a")
    return made


def call(ports: FakePorts, *arguments: str) -> int:
    root = argparse.ArgumentParser()
    verify.add_parser(root.add_subparsers())
    options = root.parse_args(["verify", *arguments])
    status: int = options.run(options, ports)
    return status


def test_a_whole_certificate_is_printed_item_by_item(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(ports, "late", "1", "--offline") == 0
    printed = capsys.readouterr().out
    assert "late version 1 (1.0.0)" in printed
    for item in ("ledger", "training", *REQUIRED_GATES, "approval", "release", "snapshot", "bundle"):
        assert f"ok    {item} " in printed
    assert f"the certificate holds; head of the ledger 8:{ports.ledger.lines[-1].digest}" in printed


def test_at_80_columns_every_row_fits_and_digests_are_whole(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call(ports, "late", "1", "--offline") == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert ports.ledger.lines[-1].digest in printed
    assert table_digest(SNAPSHOT) in printed


def test_what_became_of_the_version_is_said_and_of_a_rollback_by_whom_and_why(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(ports, "late", "1", "--offline") == 0
    assert "by the ledger, version 1 is live since 2013-03-01 06:00 UTC by a" in capsys.readouterr().out
    told = {"taken_back": "1", "put_back": "0", "reason": "late flights look punctual", "traffic": 10_000}
    append_rollback(ports, "late", **told, actor="ann", key="k")  # type: ignore[arg-type]
    assert call(ports, "late", "1", "--offline") == 0
    rolled_back = "rolled back since 2013-03-01 06:00 UTC by ann: late flights look punctual"
    assert capsys.readouterr().out.splitlines()[-1] == f"by the ledger, version 1 is {rolled_back}"


def test_what_the_target_serves_otherwise_is_said_beside_what_the_ledger_says(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a rollout ended by its lease while no scheduler was there to write it down."""
    ports.registry.register("late", tags={"airworthy.model_digest": DIGEST})
    ports.targets["late"] = FakeTarget("2")
    call(ports, "late", "1")
    printed = capsys.readouterr().out
    assert "by the ledger, version 1 is live since" in printed
    assert "disagreement: the ledger's live version is 1, but the target serves version 2" in printed
    call(ports, "late", "1", "--offline")
    assert "disagreement" not in capsys.readouterr().out


def test_one_item_that_fails_gives_65_and_hides_no_other(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    ports.store.put("bundles/late/1/bundle.json", b"{}")
    ports.ledger.lines[4] = ports.ledger.lines[4].model_copy(update={"details": {}})
    assert call(ports, "late", "1", "--offline") == 65
    printed = capsys.readouterr().out
    failed = [line.split()[1] for line in printed.splitlines() if line.startswith("  FAIL")]
    assert failed == ["ledger", "champion_comparison_gate", "approval", "model", "bundle"]
    assert "line 5 was altered" in printed
    assert "airworthy ledger check names each fault" in printed
    assert "the certificate does NOT hold" in printed


def test_a_head_kept_elsewhere_finds_a_ledger_cut_short(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    kept = f"8:{ports.ledger.lines[-1].digest}"
    assert call(ports, "late", "1", "--offline", "--head", kept) == 0
    ports.ledger.append("rollback", "other", None, {}, actor="a")
    assert call(ports, "late", "1", "--offline", "--head", kept) == 0
    del ports.ledger.lines[7:]
    assert call(ports, "late", "1", "--offline", "--head", kept) == 65
    assert "line 8 is missing" in capsys.readouterr().out


def test_the_certificate_can_be_written_to_a_file(ports: FakePorts, tmp_path: Path) -> None:
    call(ports, "late", "1", "--offline", "--write", str(tmp_path / "certificate.json"))
    written = Certificate.model_validate_json((tmp_path / "certificate.json").read_text())
    assert written.model_digest == DIGEST
    assert len(written.entries) == 8

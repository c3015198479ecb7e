"""Behaviour of the door in a pod: tickets, declarations, logs, manifests and exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Refused
from pipelines.messages.pod_run import RunManifest, RunTicket
from pipelines.messages.training import SnapshotRequest
from pipelines.messages.validation import AuditResult, ValidateRequest
from pipelines.pod.declarations import restore_declarations, store_declarations
from pipelines.pod.run_seal import RUN_KEY, get_sealed, put_sealed, run_key
from pipelines.settings import REPOSITORY

RUN = store_paths.pod_run("flights__validate", "manual__1", "quarantine", "1-abc").rstrip("/")

KEY = run_key("of the installation", RUN)


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(str(tmp_path / "store"))


def ticket(store: DeltaStore, step: str, request: str, declarations: str | None = None) -> RunTicket:
    written = RunTicket(
        step=step, request=request, declarations=declarations or store_declarations(store, REPOSITORY / "include")
    )
    put_sealed(store, f"{RUN}/ticket.json", written.model_dump_json(by_alias=True).encode(), KEY)
    return written


def environment(store: DeltaStore, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRWORTHY", "AIRFLOW"))}
    return {**kept, "AIRWORTHY_STORE": store.root, "AIRWORTHY_INCLUDE": "/nowhere", RUN_KEY: KEY, **more}


def door(store: DeltaStore, step: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", step, "--run", RUN]
    return subprocess.run(
        command, env=environment(store, **more), capture_output=True, text=True, timeout=120, check=False
    )


def manifest(store: DeltaStore) -> RunManifest:
    return RunManifest.model_validate_json(get_sealed(store, f"{RUN}/manifest.json", [KEY]))


def snapshot_request(model: str) -> str:
    return SnapshotRequest.model_validate({"model": model, "as_of": "2013-03-01T05:00:00Z"}).model_dump_json(
        by_alias=True
    )


def test_a_refusal_is_in_the_manifest_with_its_subject_and_in_the_log_and_exits_65(store: DeltaStore) -> None:
    written = ticket(store, "take_snapshot", snapshot_request("flight_delay"))
    done = door(store, "take_snapshot")
    assert done.returncode == 65
    found = manifest(store)
    assert (found.outcome, found.result_sha256) == ("refused", None)
    assert found.subject is not None
    assert "there is no table" in found.subject
    assert found.request_sha256 == hashlib.sha256(written.request.encode()).hexdigest()
    assert "there is no table" in store.get(f"{RUN}/log.txt").decode()
    assert "there is no table" in done.stdout + done.stderr


def test_the_step_reads_the_declarations_of_its_ticket_and_not_those_of_the_image(store: DeltaStore) -> None:
    ticket(store, "take_snapshot", snapshot_request("some_other_model"))
    door(store, "take_snapshot")
    subject = manifest(store).subject
    assert subject is not None
    assert "some_other_model" in subject
    assert "flight_delay" in subject  # the known ones are listed: they came with the ticket


def test_altered_declarations_are_refused_before_the_step_begins(store: DeltaStore) -> None:
    written = ticket(store, "take_snapshot", snapshot_request("flight_delay"))
    store.put(store_paths.declarations(written.declarations), b"{}")
    done = door(store, "take_snapshot")
    assert done.returncode == 65
    assert "was altered" in done.stdout + done.stderr
    assert not store.exists(f"{RUN}/manifest.json")


def test_a_ticket_that_somebody_else_wrote_is_not_carried_out(store: DeltaStore) -> None:
    written = ticket(store, "take_snapshot", snapshot_request("flight_delay"))
    other = written.model_copy(update={"request": snapshot_request("some_other_model")})
    store.put(f"{RUN}/ticket.json", other.model_dump_json(by_alias=True).encode())
    done = door(store, "take_snapshot")
    assert done.returncode == 65
    assert "ticket.json has not the seal of its run" in done.stdout + done.stderr
    assert not store.exists(f"{RUN}/manifest.json")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such file"), (b"{}", "is not a ticket"), (b"not json", "is not a ticket")]
)
def test_without_a_ticket_nothing_runs(store: DeltaStore, content: bytes | None, said: str) -> None:
    if content is not None:
        put_sealed(store, f"{RUN}/ticket.json", content, KEY)
    done = door(store, "take_snapshot")
    assert done.returncode == 65
    assert said in done.stdout + done.stderr


def test_a_ticket_for_another_step_is_refused(store: DeltaStore) -> None:
    ticket(store, "take_snapshot", snapshot_request("flight_delay"))
    done = door(store, "train_model")
    assert done.returncode == 65
    assert "names take_snapshot" in done.stdout + done.stderr


def test_a_request_of_another_kind_is_refused_in_the_manifest(store: DeltaStore) -> None:
    ticket(store, "take_snapshot", '{"schema": 1, "dataset": "flights"}')
    assert door(store, "take_snapshot").returncode == 65
    assert manifest(store).subject == "the ticket holds no request of take_snapshot"


def test_a_fault_of_ours_writes_its_trace_to_the_log_and_no_manifest(store: DeltaStore) -> None:
    ticket(store, "take_snapshot", snapshot_request("flight_delay"))
    breaking = (
        "import pipelines.steps.take_snapshot as t\ndef broken(*_): raise ZeroDivisionError('ours')\nt.run = broken"
    )
    code = (
        f"{breaking}\nfrom pipelines.pod.main import run_ticket\nraise SystemExit(run_ticket('take_snapshot', '{RUN}'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(store), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "ZeroDivisionError: ours" in store.get(f"{RUN}/log.txt").decode()
    assert not store.exists(f"{RUN}/manifest.json")


def test_a_pod_that_is_told_to_go_leaves_its_log_behind_and_no_manifest(store: DeltaStore) -> None:
    ticket(store, "take_snapshot", snapshot_request("flight_delay"))
    slow = (
        "import time, pipelines.steps.take_snapshot as t\n"
        "def slowly(*_):\n    print('begun', flush=True)\n    time.sleep(60)\n"
        "t.run = slowly\n"
        f"from pipelines.pod.main import run_ticket\nraise SystemExit(run_ticket('take_snapshot', '{RUN}'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow],
        env=environment(store),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert "begun" in process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 143
    process.stdout.close()
    assert "begun" in store.get(f"{RUN}/log.txt").decode()
    assert not store.exists(f"{RUN}/manifest.json")


def test_a_store_that_does_not_answer_is_said_and_exits_75(store: DeltaStore) -> None:
    more = {
        "AIRWORTHY_STORE": "s3://nowhere",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    begun = time.monotonic()
    done = door(store, "take_snapshot", **more)
    assert done.returncode == 75
    assert "does not answer" in done.stdout + done.stderr
    assert time.monotonic() - begun < 60


def test_declarations_bear_the_digest_of_their_content_and_are_written_once(store: DeltaStore, tmp_path: Path) -> None:
    include = tmp_path / "include"
    (include / "models").mkdir(parents=True)
    (include / "models" / "a.yaml").write_text("a: 1\n")
    (include / "notes.txt").write_text("not a declaration")
    first = store_declarations(store, include)
    assert json.loads(store.get(store_paths.declarations(first))) == {"models/a.yaml": "a: 1\n"}
    assert store_declarations(store, include) == first
    (include / "models" / "a.yaml").write_text("a: 2\n")
    assert store_declarations(store, include) != first


@pytest.mark.parametrize("name", ["../outside.yaml", "models/../../outside.yaml", "{tmp}/outside.yaml"])
def test_declarations_are_written_into_their_own_folder_alone(name: str, store: DeltaStore, tmp_path: Path) -> None:
    content = json.dumps({name.format(tmp=tmp_path): "a: 1\n", "models/a.yaml": "a: 1\n"}).encode()
    digest = hashlib.sha256(content).hexdigest()
    store.put(store_paths.declarations(digest), content)
    with pytest.raises(Refused, match="names files outside of its folder"):
        restore_declarations(store, digest, tmp_path / "include")
    assert not (tmp_path / "outside.yaml").exists()


def test_a_result_is_named_by_its_digest(store: DeltaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ValidateRequest.model_validate({"dataset": "flights", "partition": "2013-01-01"})
    ticket(store, "audit_partition", request.model_dump_json(by_alias=True))
    answer: Any = AuditResult.model_validate(
        {"dataset": "flights", "partition": "2013-01-01", "sources": [], "staged": "s"}
    )
    code = (
        "import pipelines.steps.audit_partition as a\nfrom pipelines.messages.validation import AuditResult\n"
        f"a.run = lambda *_: AuditResult.model_validate_json({answer.model_dump_json(by_alias=True)!r})\n"
        f"from pipelines.pod.main import run_ticket\nraise SystemExit(run_ticket('audit_partition', '{RUN}'))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(store), capture_output=True, timeout=120)
    assert done.returncode == 0
    content = store.get(f"{RUN}/result.json")
    assert manifest(store).result_sha256 == hashlib.sha256(content).hexdigest()
    assert AuditResult.model_validate_json(content) == answer

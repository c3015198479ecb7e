"""A certificate holds when every line and every stored byte agrees, and fails on each item that does not."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.errors import Unavailable
from pipelines.ledger.certificate import Check, collect_certificate
from pipelines.ledger.hash_chain import head
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ports import VersionInfo
from pipelines.steps.certificate.verification import verify
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.testing.ports import FakePorts, MemoryRegistry

MODEL = b"the native model"
CODE = "0123456789abcdef0123456789abcdef01234567"
Lines = list[tuple[str, str | None, dict[str, Any]]]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SNAPSHOT = pl.DataFrame(
    {"flight": [1, 2], "prediction_time": [datetime(2013, 1, 1, tzinfo=UTC)] * 2, "target": [0.0, 1]}
)
DIGEST = sha256(MODEL)
FILES = {"model.onnx": b"the served model", "categories.json": b"{}"}
MANIFEST = json.dumps(
    {"model_digest": DIGEST, "files": {name: sha256(content) for name, content in FILES.items()}}
).encode()


def lines() -> Lines:
    """What the practices write for one version from training to release."""
    passed = {"outcome": "pass", "reasons": []}
    training = {
        "model_digest": DIGEST,
        "snapshot": table_digest(SNAPSHOT),
        "environment_digest": "e" * 64,
        "request_digest": "a" * 64,
        "git_revision": CODE,
        "run_id": "r",
    }
    data = {"snapshot": table_digest(SNAPSHOT), "table_versions": {"features/flight_delay": 7}, **passed}
    evaluation = {"gate": "candidate_evaluation", "snapshot": table_digest(SNAPSHOT), **passed}
    gates: Lines = [("gate", "1", {"gate": name, "model_digest": DIGEST, **passed}) for name in REQUIRED_GATES[1:]]
    return [
        ("data_verdict", None, data),
        ("training", "1", training | passed),
        ("gate", "1", evaluation),
        *gates,
        ("approval", "1", {"semantic_version": "1.0.0", "model_digest": DIGEST}),
        ("release", "1", {"model_digest": DIGEST, "sha256": sha256(MANIFEST)}),
    ]


@dataclass
class Installation:
    """One released version with all its lines and files; change anything, then ``check``."""

    ports: FakePorts
    folder: Path
    lines: Lines = field(default_factory=lines)

    def details(self, kind: str, gate: str | None = None) -> dict[str, Any]:
        return next(d for name, _, d in self.lines if name == kind and (gate is None or d.get("gate") == gate))

    def drop(self, kind: str, gate: str | None = None) -> None:
        details = self.details(kind, gate)
        self.lines = [line for line in self.lines if line[2] is not details]

    def move_last(self, kind: str, gate: str | None = None) -> None:
        details = self.details(kind, gate)
        self.lines.sort(key=lambda line: line[2] is details)

    @property
    def snapshot(self) -> str:
        return f"snapshots/flight_delay/{table_digest(SNAPSHOT)}/data.parquet"

    def write(self) -> None:
        for kind, version, details in self.lines:
            self.ports.ledger.append(kind, "flight_delay", version, details, actor="ml_lead")
        self.ports.ledger.append("gate", "flight_delay", "2", {"gate": "slice_gate", "outcome": "fail"}, actor="a")

    def check(self, **options: Any) -> dict[str, Check]:
        if not self.ports.ledger.lines:
            self.write()
        _, checks = verify("flight_delay", "1", self.ports, **options)
        return {check.name: check for check in checks}

    def failed(self, **options: Any) -> dict[str, str]:
        return {name: check.detail for name, check in self.check(**options).items() if check.state == "FAIL"}


class LocalRegistry(MemoryRegistry):
    """Its versions lie in a folder of this machine."""

    folder: Path

    def get(self, model: str, version: str) -> VersionInfo:
        return super().get(model, version).model_copy(update={"source": str(self.folder)})


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    ports = FakePorts.make(tmp_path, registry=LocalRegistry())
    ports.registry.folder = tmp_path / "model"
    ports.registry.folder.mkdir()
    (ports.registry.folder / "model.ubj").write_bytes(MODEL)
    tags = {
        "airworthy.model_digest": DIGEST,
        "airworthy.snapshot": table_digest(SNAPSHOT),
        "airworthy.semantic_version": "1.0.0",
    }
    ports.registry.register("flight_delay", tags=tags)
    installation = Installation(ports, ports.registry.folder)
    content = io.BytesIO()
    SNAPSHOT.write_parquet(content)
    ports.store.put(installation.snapshot, content.getvalue())
    for name, file in FILES.items():
        ports.store.put(f"bundles/flight_delay/1/{name}", file)
    ports.store.put("bundles/flight_delay/1/bundle.json", MANIFEST)
    return installation


def test_a_whole_certificate_holds_in_every_item(installation: Installation) -> None:
    checks = installation.check()
    assert {check.state for check in checks.values()} == {"ok"}
    assert list(checks) == [
        "ledger",
        "training",
        "data verdict",
        "code revision",
        *REQUIRED_GATES,
        "approval",
        "release",
        "snapshot",
        "registry",
        "model file",
        "bundle",
    ]


def test_a_certificate_is_the_closed_set_of_its_lines_and_digests(installation: Installation) -> None:
    installation.write()
    certificate = collect_certificate("flight_delay", "1", installation.ports.ledger.entries())
    assert [entry.number for entry in certificate.entries] == list(range(1, 9))
    assert certificate.model_digest == DIGEST
    assert certificate.snapshot == table_digest(SNAPSHOT)
    assert certificate.table_versions == {"features/flight_delay": 7}
    assert certificate.git_revision == CODE
    assert certificate.semantic_version == "1.0.0"
    assert certificate.bundle_sha256 == sha256(MANIFEST)
    assert certificate.head == head(installation.ports.ledger.entries())


Tamper = Callable[[Installation], Any]


def refit(installation: Installation, judged: bytes = b"the judged model") -> None:
    """The version as a training leaves it that deployed a refitted model."""
    for details in [
        installation.details("training"),
        *(details for kind, _, details in installation.lines if kind == "gate"),
    ]:
        details |= {"model_digest": DIGEST, "judged_digest": sha256(b"the judged model")}
    (installation.folder / "judged").mkdir()
    (installation.folder / "judged" / "model.ubj").write_bytes(judged)


def test_a_refitted_version_holds_by_the_files_of_both_models(installation: Installation) -> None:
    refit(installation)
    checks = installation.check()
    assert {check.state for check in checks.values()} == {"ok"}
    named = f"model.ubj {DIGEST}; judged/model.ubj {sha256(b'the judged model')}"
    assert checks["model file"].detail == named


def test_a_refitted_version_fails_by_an_altered_file_of_the_judged_model(installation: Installation) -> None:
    refit(installation, b"another model")
    assert "has the registered digest" in installation.failed()["model file"]


@pytest.mark.parametrize(
    ("tamper", "item", "reason"),
    [
        (lambda i: i.drop("training"), "training", "no training of this version"),
        (lambda i: i.details("training").pop("model_digest"), "training", "model_digest is missing"),
        (lambda i: i.details("training").update(environment_digest="x"), "training", "environment_digest is missing"),
        (lambda i: i.details("training").update(outcome="fail"), "training", "judged 'fail'"),
        (lambda i: i.details("training").pop("git_revision"), "code revision", "not on record"),
        (
            lambda i: i.lines.append(("training", "1", i.details("training") | {"model_digest": "f" * 64})),
            "training",
            "gave 2 different models",
        ),
        (lambda i: i.drop("data_verdict"), "data verdict", "no verdict on snapshot"),
        (lambda i: i.details("data_verdict").update(outcome="unknown"), "data verdict", "judged 'unknown'"),
        (lambda i: i.details("data_verdict").pop("table_versions"), "data verdict", "no table versions"),
        (lambda i: i.drop("approval"), "approval", "no approval"),
        (lambda i: i.details("approval").update(model_digest="f" * 64), "approval", "is about model ffffffffffff"),
        (lambda i: i.details("approval").pop("semantic_version"), "approval", "no semantic version"),
        (lambda i: i.move_last("gate", "slice_gate"), "approval", "came before slice_gate had passed"),
        (lambda i: i.details("release").update(model_digest="f" * 64), "release", "is about model ffffffffffff"),
        (lambda i: i.details("release").pop("sha256"), "release", "names no bundle"),
        (lambda i: i.move_last("approval"), "release", "came before any approval"),
        (lambda i: i.ports.store.files.pop(i.snapshot), "snapshot", "has no snapshot"),
        (lambda i: i.ports.store.files.update({i.snapshot: b"PAR1"}), "snapshot", ""),
        (
            lambda i: i.ports.registry.set_tags("flight_delay", "1", {"airworthy.snapshot": "f" * 64}),
            "registry",
            "airworthy.snapshot is ffff",
        ),
        (
            lambda i: i.ports.registry.set_tags("flight_delay", "1", {"airworthy.semantic_version": "2.0.0"}),
            "registry",
            "airworthy.semantic_version is 2.0.0, the ledger says 1.0.0",
        ),
        (lambda i: (i.folder / "model.ubj").write_bytes(MODEL + b" "), "model file", "has the registered digest"),
        (lambda i: (i.folder / "model.ubj").unlink(), "model file", "…: none"),
        (lambda i: i.ports.store.put("bundles/flight_delay/1/model.onnx", b"another"), "bundle", "model.onnx gives"),
        (lambda i: i.ports.store.delete("bundles/flight_delay/1/categories.json"), "bundle", "categories.json"),
        (lambda i: i.ports.store.put("bundles/flight_delay/1/bundle.json", b"{}"), "bundle", "has digest"),
        (lambda i: i.ports.store.delete("bundles/flight_delay/1/bundle.json"), "bundle", "no file"),
        (lambda i: i.details("training").update(model_digest="f" * 64), "bundle", "was built from model"),
    ],
)
def test_each_item_fails_when_it_is_tampered_with(
    installation: Installation, tamper: Tamper, item: str, reason: str
) -> None:
    tamper(installation)
    failed = installation.failed()
    assert item in failed
    assert reason in failed[item]


@pytest.mark.parametrize("gate", REQUIRED_GATES)
@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda i, gate: i.drop("gate", gate), "no verdict of this gate"),
        (lambda i, gate: i.details("gate", gate).update(outcome="fail", reasons=["auc 0.6 < 0.7"]), "auc 0.6 < 0.7"),
        (lambda i, gate: i.details("gate", gate).update(outcome="unknown"), "says 'unknown'"),
        (lambda i, gate: i.details("gate", gate).update(model_digest="f" * 64), "is about model ffffffffffff"),
        (
            lambda i, gate: i.details("gate", gate).update(model_digest=None, snapshot="f" * 64),
            "names neither this model nor its snapshot",
        ),
    ],
)
def test_each_gate_must_have_passed_this_very_model(
    installation: Installation, gate: str, tamper: Callable[[Installation, str], Any], reason: str
) -> None:
    tamper(installation, gate)
    assert reason in installation.failed()[gate]


def test_the_last_word_of_a_gate_counts(installation: Installation) -> None:
    installation.lines.append(("gate", "1", {"gate": "slice_gate", "model_digest": DIGEST, "outcome": "fail"}))
    assert "says 'fail'" in installation.failed()["slice_gate"]


def test_an_altered_line_breaks_the_ledger(installation: Installation) -> None:
    installation.write()
    ledger = installation.ports.ledger
    ledger.lines[2] = ledger.lines[2].model_copy(update={"actor": "someone else"})
    assert "line 3 was altered" in installation.failed()["ledger"]


def test_a_ledger_cut_short_is_found_by_a_head_kept_elsewhere(installation: Installation) -> None:
    installation.write()
    ledger_head = head(installation.ports.ledger.entries())
    assert installation.failed(heads=[ledger_head]) == {}
    del installation.ports.ledger.lines[-1]
    assert "line 9 is missing" in installation.failed()["ledger"]
    installation.ports.ledger.heads.clear()
    assert installation.failed() == {}
    assert "line 9 is missing" in installation.failed(heads=[ledger_head])["ledger"]


def test_a_version_never_released_holds_without_a_bundle(installation: Installation) -> None:
    installation.drop("release")
    checks = installation.check()
    assert installation.failed() == {}
    assert checks["release"].state == "noted"
    assert "bundle" not in checks


def test_without_the_registry_the_released_bundle_stands_for_the_model(installation: Installation) -> None:
    installation.ports.registry.down = True
    assert installation.failed() == {}
    assert installation.check()["model file"].state == "noted"
    assert installation.failed(ask_registry=False) == {}


def test_without_registry_and_bundle_the_model_file_is_not_proven(installation: Installation) -> None:
    installation.drop("release")
    assert "no copy of the model could be read" in installation.failed(ask_registry=False)["model file"]


def test_an_unknown_code_revision_is_noted(installation: Installation) -> None:
    installation.details("training").update(git_revision="unknown")
    assert installation.check()["code revision"].state == "noted"


def test_a_version_nobody_knows_fails_in_every_item(installation: Installation) -> None:
    installation.write()
    _, checks = verify("flight_delay", "7", installation.ports)
    assert {check.name for check in checks if check.state == "FAIL"} >= {"training", *REQUIRED_GATES, "approval"}


@pytest.mark.parametrize("port", ["ledger", "store"])
def test_a_ledger_or_store_that_does_not_answer_is_unavailable(installation: Installation, port: str) -> None:
    installation.write()
    getattr(installation.ports, port).down = True
    with pytest.raises(Unavailable):
        installation.check()


# ---- sealed stretches ----------------------------------------------------------------------------------------------


def repaired(installation: Installation, number: int) -> None:
    """Line ``number`` is altered, and ada seals it."""
    installation.write()
    ledger = installation.ports.ledger
    ledger.lines[number - 1] = ledger.lines[number - 1].model_copy(update={"actor": "eve"})
    ledger.repair("a disk failed", person="ada")


@pytest.mark.parametrize(
    ("number", "item"),
    [(1, "data verdict"), (2, "training"), (3, REQUIRED_GATES[0]), (6, REQUIRED_GATES[3]), (7, "approval")],
)
def test_a_certificate_that_rests_on_a_sealed_line_fails_and_says_by_whom_and_why(
    installation: Installation, number: int, item: str
) -> None:
    repaired(installation, number)
    failed = installation.failed()
    assert item in failed
    assert "ledger" not in failed
    if item != "data verdict":
        assert f"line {number} (" in failed["sealed lines"]
        assert f"line {number}, sealed by line 10 (ada: a disk failed)" in failed["sealed lines"]


def test_a_certificate_beside_a_sealed_stretch_holds_and_names_it(installation: Installation) -> None:
    installation.lines.append(("gate", "2", {"gate": "slice_gate", "outcome": "pass"}))
    repaired(installation, 10)
    assert installation.failed() == {}
    detail = installation.check()["ledger"].detail
    assert "nothing is proven by line 10, sealed by line 11 (ada: a disk failed)" in detail


def test_a_sealed_rejection_does_not_let_an_older_pass_count_again(installation: Installation) -> None:
    installation.lines.append(("gate", "1", {"gate": "slice_gate", "model_digest": DIGEST, "outcome": "fail"}))
    repaired(installation, 9)
    assert "line 9 (gate) proves nothing" in installation.failed()["sealed lines"]


def test_a_sealed_monitoring_line_is_noted_and_the_certificate_holds(installation: Installation) -> None:
    installation.lines.append(("monitoring_verdict", "1", {"check": "drift_check", "outcome": "fail"}))
    repaired(installation, 9)
    assert installation.failed() == {}
    assert installation.check()["sealed lines"].state == "noted"


def test_a_given_head_of_a_lost_line_fails_and_names_the_repair(installation: Installation) -> None:
    installation.write()
    ledger = installation.ports.ledger
    ledger.append("gate", "other", "1", {}, actor="a")
    lost = head(ledger.lines)
    del ledger.lines[-1]
    ledger.repair("restored from yesterday's backup", person="ada")
    assert installation.failed() == {}
    found = installation.failed(heads=[lost])["ledger"]
    assert "line 10 was rewritten" in found
    assert "line 10 (lost), sealed by line 10 (ada: restored from yesterday's backup)" in found

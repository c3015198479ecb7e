"""The certificate of a model version: its ledger lines, the data verdict on its snapshot, and the digests they name.

Everything here is decided from those lines alone; ``pipelines.steps.certificate.verification`` compares them with the
stored bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipelines.ledger.hash_chain import head
from pipelines.ledger.people import answer_texts, approver_names, quorum_faults
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ledger.seals import Seal, read_seals, seal_of, sealed_evidence, sealed_observations
from pipelines.ledger.version_state import lines_about
from pipelines.ports import LedgerEntry

TRAINING_DIGESTS = ("model_digest", "snapshot", "environment_digest", "request_digest")
HEX_DIGITS = set("0123456789abcdef")


class Check(BaseModel):
    """The result of one check. ``noted``: neither passed nor failed (never released, no server available)."""

    model_config = ConfigDict(frozen=True)

    name: str
    state: Literal["ok", "FAIL", "noted"]
    detail: str


class Certificate(BaseModel):
    """The digests of one model version and every ledger line about it, oldest first. None: not on record."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    semantic_version: str | None = None
    model_digest: str | None = None
    judged_digest: str | None = None
    """Digest of the model that the gates judged, if the deployed one was trained again on all rows: one line of the
    ledger, that of the training, ties the two. None: they are one."""
    snapshot: str | None = None
    table_versions: dict[str, int] = {}
    environment_digest: str | None = None
    request_digest: str | None = None
    git_revision: str | None = None
    bundle_sha256: str | None = None
    """Digest of the newest release's bundle; None if the version was never released."""
    entries: list[LedgerEntry]
    seals: list[Seal] = []
    """Repairs of the ledger by which some of these lines prove nothing."""
    head: str
    """Head of the whole ledger at the time of issue."""

    @property
    def proven_lines(self) -> list[LedgerEntry]:
        """The lines without those of sealed stretches."""
        return [entry for entry in self.entries if not seal_of(entry, self.seals)]

    def lines_of_kind(self, kind: str) -> list[LedgerEntry]:
        return [entry for entry in self.proven_lines if entry.kind == kind]

    def gate(self, name: str) -> list[LedgerEntry]:
        return [entry for entry in self.lines_of_kind("gate") if entry.details.get("gate") == name]


def collect_certificate(model: str, version: str, ledger: Sequence[LedgerEntry]) -> Certificate:
    """The certificate of a version from all lines of the ledger, even if lines are missing."""
    seals = read_seals(ledger)
    own = lines_about(version, [entry for entry in ledger if entry.model == model])
    proven = [entry for entry in own if not seal_of(entry, seals)]
    training = _newest(proven, "training")
    approval = _newest(proven, "approval")
    release = _newest(proven, "release")
    snapshot = training.get("snapshot")
    data = [
        entry
        for entry in ledger
        if entry.kind == "data_verdict"
        and entry.model == model
        and snapshot
        and entry.details.get("snapshot") == snapshot
    ]
    entries = sorted({entry.number: entry for entry in [*data, *own]}.values(), key=lambda entry: entry.number)
    return Certificate(
        model=model,
        version=version,
        semantic_version=approval.get("semantic_version"),
        table_versions=_newest([entry for entry in data if not seal_of(entry, seals)], "data_verdict").get(
            "table_versions", {}
        ),
        judged_digest=training.get("judged_digest"),
        git_revision=training.get("git_revision"),
        bundle_sha256=release.get("sha256"),
        entries=entries,
        seals=[seal for seal in seals if _concerns(seal, model, version, entries)],
        head=head(ledger),
        **{name: training.get(name) for name in TRAINING_DIGESTS},
    )


def _concerns(seal: Seal, model: str, version: str, entries: Sequence[LedgerEntry]) -> bool:
    """Whether a line of this version, readable or not, or one of its certificate lies in the sealed stretch."""
    named = any((line.model, line.version) == (model, version) for line in seal.lines)
    return named or any(seal.covers(entry.number) for entry in entries)


def check_lines(certificate: Certificate) -> list[Check]:
    """Checks that need only the lines: sealed ones, training, data, code, each gate, approval, people, releases."""
    return [
        *_check_seals(certificate),
        _check_training(certificate),
        _check_data(certificate),
        _check_code(certificate),
        *[_check_gate(certificate, name) for name in REQUIRED_GATES],
        _check_approval(certificate),
        *_check_people(certificate),
        _check_releases(certificate),
    ]


def _check_seals(certificate: Certificate) -> list[Check]:
    model, version, seals = certificate.model, certificate.version, certificate.seals
    if texts := sealed_evidence(model, version, seals):
        return [_failed_check("sealed lines", "; ".join([*texts, "train and deploy another version"]))]
    noted = sealed_observations(model, version, seals)
    return [Check(name="sealed lines", state="noted", detail="; ".join(noted))] if noted else []


def _check_training(certificate: Certificate) -> Check:
    lines = certificate.lines_of_kind("training")
    if not lines:
        return _failed_check("training", "the ledger has no training of this version")
    faults = [
        f"{name} is missing or not a sha256" for name in TRAINING_DIGESTS if not _is_digest(getattr(certificate, name))
    ]
    if certificate.judged_digest is not None and not _is_digest(certificate.judged_digest):
        faults.append("judged_digest is not a sha256")
    digests = {(line.details.get("model_digest"), line.details.get("judged_digest")) for line in lines}
    if len(digests) > 1:
        faults.append(f"{len(lines)} trainings under one version gave {len(digests)} different models")
    if lines[-1].details.get("outcome") != "pass":
        faults.append(f"judged {lines[-1].details.get('outcome')!r}")
    twin = certificate.judged_digest
    judged = f", trained again on all rows after model {_short(twin)}, which was judged" if twin else ""
    return _check_result(
        "training", faults, f"line {lines[-1].number}, model {_short(certificate.model_digest)}{judged}"
    )


def _check_data(certificate: Certificate) -> Check:
    lines = certificate.lines_of_kind("data_verdict")
    if not lines:
        return _failed_check("data verdict", f"the ledger has no verdict on snapshot {_short(certificate.snapshot)}")
    faults = [] if lines[-1].details.get("outcome") == "pass" else [f"judged {lines[-1].details.get('outcome')!r}"]
    if not certificate.table_versions:
        faults.append("no table versions are on record")
    versions = ", ".join(f"{table} {version}" for table, version in certificate.table_versions.items())
    return _check_result("data verdict", faults, f"line {lines[-1].number}, tables {versions}")


def _check_code(certificate: Certificate) -> Check:
    revision = certificate.git_revision
    if not revision:
        return _failed_check("code revision", "not on record")
    if revision == "unknown":
        return Check(name="code revision", state="noted", detail="was unknown; set AIRWORTHY_GIT_REVISION in images")
    return Check(name="code revision", state="ok", detail=revision)


def _check_gate(certificate: Certificate, name: str) -> Check:
    lines = certificate.gate(name)
    if not lines:
        return _failed_check(name, "the ledger has no verdict of this gate")
    faults = [
        f"line {line.number} is about model {_short(line.details['model_digest'])}, not this one"
        for line in lines[-1:]
        if line.details.get("model_digest") not in (None, certificate.model_digest)
    ]
    if lines[-1].details.get("model_digest") is None and lines[-1].details.get("snapshot") != certificate.snapshot:
        faults.append(f"line {lines[-1].number} names neither this model nor its snapshot")
    if lines[-1].details.get("judged_digest") != certificate.judged_digest:
        named = _short(lines[-1].details.get("judged_digest"))
        faults.append(f"line {lines[-1].number} judged model {named}, not {_short(certificate.judged_digest)}")
    if lines[-1].details.get("outcome") != "pass":
        faults += [f"line {lines[-1].number} says {lines[-1].details.get('outcome')!r}"]
        faults += [str(reason) for reason in lines[-1].details.get("reasons", [])]
    return _check_result(name, faults, f"line {lines[-1].number}, pass")


def _check_approval(certificate: Certificate) -> Check:
    lines = certificate.lines_of_kind("approval")
    if not lines:
        return _failed_check("approval", "the ledger has no approval of this version")
    last = lines[-1]
    faults = _model_faults(last, certificate)
    if not last.details.get("semantic_version"):
        faults.append("names no semantic version")
    for name in REQUIRED_GATES:
        if not any(
            gate.number < last.number and gate.details.get("outcome") == "pass" for gate in certificate.gate(name)
        ):
            faults.append(f"came before {name} had passed")
    people = approver_names(certificate.proven_lines)
    by = f"; approved by {', '.join(people)}" if people else f" by {last.actor}"
    return _check_result("approval", faults, f"line {last.number}, {certificate.semantic_version}{by}")


def _check_people(certificate: Certificate) -> list[Check]:
    """Who answered the requests for approval, in which role and with which comment; none where nobody was asked."""
    lines = certificate.proven_lines
    if not any(line.kind in ("approval_request", "approval_answer") for line in lines):
        return []
    texts = answer_texts(lines)
    faults = [*quorum_faults(lines), *([] if texts else ["nobody has answered yet"])]
    return [_check_result("people", [*faults, *texts] if faults else [], "; ".join(texts))]


def _check_releases(certificate: Certificate) -> Check:
    lines = certificate.lines_of_kind("release")
    if not lines:
        return Check(name="release", state="noted", detail="never released")
    faults: list[str] = []
    approvals = certificate.lines_of_kind("approval")
    for line in lines:
        faults += _model_faults(line, certificate)
        if not any(approval.number < line.number for approval in approvals):
            faults.append(f"line {line.number} came before any approval")
        if not _is_digest(line.details.get("sha256")):
            faults.append(f"line {line.number} names no bundle")
    return _check_result("release", faults, "line " + ", ".join(str(line.number) for line in lines))


def _model_faults(line: LedgerEntry, certificate: Certificate) -> list[str]:
    named = line.details.get("model_digest")
    if named is not None and named == certificate.model_digest:
        return []
    return [f"line {line.number} is about model {_short(named)}, not {_short(certificate.model_digest)}"]


def _newest(lines: Sequence[LedgerEntry], kind: str) -> dict[str, Any]:
    return next((line.details for line in reversed(lines) if line.kind == kind), {})


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= HEX_DIGITS


def _check_result(name: str, faults: Sequence[str], detail: str) -> Check:
    return _failed_check(name, "; ".join(faults)) if faults else Check(name=name, state="ok", detail=detail)


def _failed_check(name: str, detail: str) -> Check:
    return Check(name=name, state="FAIL", detail=detail)


def _short(digest: object) -> str:
    return f"{digest[:12]}…" if isinstance(digest, str) else "(none)"

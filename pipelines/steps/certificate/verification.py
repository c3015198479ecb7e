"""Verifies a certificate: the stored bytes must still have the digests that its ledger lines name."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.ledger.certificate import Certificate, Check, check_lines, collect_certificate
from pipelines.ledger.hash_chain import head_faults
from pipelines.ledger.seals import Seal, read_seals
from pipelines.mlflow_client import fetch_model, open_client
from pipelines.ports import Ports, VersionInfo
from pipelines.steps.take_snapshot import count_verified_rows

REGISTRY_TAGS = {
    "model_digest": "airworthy.model_digest",
    "snapshot": "airworthy.snapshot",
    "semantic_version": "airworthy.semantic_version",
}


def verify(
    model: str, version: str, ports: Ports, *, heads: Sequence[str] = (), ask_registry: bool = True
) -> tuple[Certificate, list[Check]]:
    """Check every item, also after one has failed.

    ``heads``: heads of the ledger kept elsewhere (``<number>:<digest>``). Needs ledger and store only: a registry
    that does not answer is noted, and the released bundle is verified instead of the model. Raises ``Unavailable``
    if ledger or store do not answer.
    """
    chain, certificate = _check_ledger(model, version, ports, heads)
    bundle = _check_bundle(certificate, ports)
    registered = list(_check_registered(certificate, ports)) if ask_registry else []
    if not any(check.name == "model file" for check in registered):
        proven = bundle is not None and bundle.state == "ok"
        why = "the registry was not asked" if not ask_registry else registered[0].detail
        detail = f"{why}; " + ("its bundle is verified instead" if proven else "no copy of the model could be read")
        registered.append(Check(name="model file", state="noted" if proven else "FAIL", detail=detail))
    checks = [chain, *check_lines(certificate), _check_snapshot(certificate, ports), *registered]
    return certificate, checks + ([bundle] if bundle else [])


def _check_ledger(model: str, version: str, ports: Ports, heads: Sequence[str]) -> tuple[Check, Certificate]:
    faults, lines = ports.ledger.faults(), ports.ledger.entries()
    seals = read_seals(lines)
    faults += [_with_seal(fault, text, seals) for text in heads for fault in head_faults(lines, [text])]
    detail = f"{len(lines)} lines, chain whole" + (f", holds {len(heads)} given head(s)" if heads else "")
    if seals:
        detail += f"; nothing is proven by {'; '.join(map(str, seals))}"
    return _check_result("ledger", faults, detail), collect_certificate(model, version, lines)


def _with_seal(fault: str, head_text: str, seals: Sequence[Seal]) -> str:
    """The fault of a head that was given, and which repair of the ledger declared its line lost."""
    by = next((seal for seal in seals if head_text.strip() in seal.heads), None)
    return f"{fault}; {by}" if by else fault


def _check_snapshot(certificate: Certificate, ports: Ports) -> Check:
    digest = certificate.snapshot
    if digest is None:
        return _check_result("snapshot", ["the training names no snapshot"], "")
    try:
        rows = count_verified_rows(ports.store, certificate.model, digest)
    except (Refused, pl.exceptions.PolarsError, OSError) as error:
        return _check_result("snapshot", [str(error)], "")
    return _check_result("snapshot", [], f"{rows} rows, {digest}")


def _check_registered(certificate: Certificate, ports: Ports) -> Iterator[Check]:
    """The registry's tags and the registered model's files against the ledger."""
    try:
        info = ports.registry.get(certificate.model, certificate.version)
    except Unavailable as unavailable:
        yield Check(name="registry", state="noted", detail=str(unavailable))
        return
    except Refused as refusal:
        yield _check_result("registry", [str(refusal)], "")
        return
    tags = {name: info.tags.get(tag) for name, tag in REGISTRY_TAGS.items()}
    known = {name: getattr(certificate, name) for name in REGISTRY_TAGS}
    differing = [
        f"{REGISTRY_TAGS[name]} is {tags[name]}, the ledger says {known[name]}"
        for name in REGISTRY_TAGS
        if tags[name] != known[name]
    ]
    yield _check_result("registry", differing, "tags agree with the ledger")
    try:
        yield _check_model_file(certificate, info, ports)
    except Unavailable as unavailable:
        yield Check(name="model files", state="noted", detail=str(unavailable))


def _check_model_file(certificate: Certificate, info: VersionInfo, ports: Ports) -> Check:
    with tempfile.TemporaryDirectory(prefix="airworthy-verify-") as folder:
        try:
            model_path = fetch_model(open_client(ports.settings.tracking), info.source, Path(folder))
        except Refused as refusal:
            return _check_result("model file", [str(refusal)], "")
        files = [path for path in sorted(model_path.rglob("*")) if path.is_file()]
        digests = {path.relative_to(model_path).as_posix(): _sha256(path.read_bytes()) for path in files}
    faults, details = [], []
    for digest in filter(None, (certificate.model_digest, certificate.judged_digest)):
        names = [name for name, of_file in digests.items() if of_file == digest]
        details.append(f"{', '.join(names)} {digest}")
        if not names:
            faults.append(f"no file has the registered digest {digest[:12]}…: {', '.join(digests) or 'none'}")
    if certificate.model_digest is None:
        faults.append("the training names no digest of a model file")
    return _check_result("model file", faults, "; ".join(details))


def _check_bundle(certificate: Certificate, ports: Ports) -> Check | None:
    """The released bundle, file by file; None for a version that was never released."""
    released = certificate.bundle_sha256
    if released is None:
        return None
    try:
        content = ports.store.get(store_paths.bundle(certificate.model, certificate.version, "bundle.json"))
    except Refused as refusal:
        return _check_result("bundle", [str(refusal)], "")
    if _sha256(content) != released:
        return _check_result("bundle", [f"bundle.json has digest {_sha256(content)[:12]}…, not {released[:12]}…"], "")
    manifest: dict[str, Any] = json.loads(content)
    faults = []
    if manifest["model_digest"] != certificate.model_digest:
        faults.append(f"was built from model {manifest['model_digest'][:12]}…, not {certificate.model_digest}")
    for name, expected in manifest["files"].items():
        try:
            digest = _sha256(ports.store.get(store_paths.bundle(certificate.model, certificate.version, name)))
        except Refused as refusal:
            faults.append(str(refusal))
            continue
        if digest != expected:
            faults.append(f"{name} gives {digest[:12]}…, the manifest says {expected[:12]}…")
    return _check_result("bundle", faults, f"{len(manifest['files'])} files, {released}")


def _check_result(name: str, faults: Sequence[str], detail: str) -> Check:
    if faults:
        return Check(name=name, state="FAIL", detail="; ".join(faults))
    return Check(name=name, state="ok", detail=detail)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

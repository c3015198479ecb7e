"""Reads and verifies bundles: one is served only if every file in it has the approved digest."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipelines.serving.files import read_file

MANIFEST_FILE = "bundle.json"
GOLDEN_FILE = "golden.json"
DIGEST_PATTERN = re.compile(r"[0-9a-f]{64}")
VERSION_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A version is named in headers, paths and logs."""


class BundleRefused(Exception):
    """The bundle must not be served; ``reasons`` lists every fault."""

    def __init__(self, subject: str, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__(f"{subject}: {'; '.join(reasons)}")


class InputColumn(msgspec.Struct, frozen=True):
    """One feature column, in the model's order; ``minimum`` and ``maximum`` bound its valid numbers.

    ``allowed``: the categories that the contract of its source lists; None where it lists none.
    """

    name: str
    type: Literal["categorical", "numeric"]
    minimum: float | None = None
    maximum: float | None = None
    allowed: list[str] | None = None


class BundleManifest(msgspec.Struct, frozen=True):
    """``bundle.json``: the description of a bundle and the sha256 of every other file in it.

    ``output``: ``probability`` (of the positive class) or ``value`` (of a regression). ``id_columns``: whose values,
    joined by ``|``, are the id of a row; empty where the bundle does not say.
    """

    model: str
    version: str
    predictor: Literal["onnx", "native"]
    output: Literal["probability", "value"]
    features: list[InputColumn]
    files: dict[str, str]
    model_digest: str
    entry: str
    """Name of the file that holds the model."""
    libraries: dict[str, str] = {}
    notes: list[str] = []
    id_columns: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)


class GoldenRows(msgspec.Struct, frozen=True):
    """Reference rows with the predictions that the bundle made when it was built."""

    rows: list[list[Any]]
    predictions: list[float]


def sha256_hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_manifest(content: bytes) -> BundleManifest:
    """Parse ``bundle.json``. Raises ``BundleRefused`` for anything else."""
    try:
        manifest = msgspec.json.decode(content, type=BundleManifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BundleRefused(MANIFEST_FILE, [f"not a bundle's manifest: {error}"]) from error
    faults = [f"{name!r} points outside the bundle" for name in (*manifest.files, manifest.entry) if _is_outside(name)]
    if VERSION_PATTERN.fullmatch(manifest.version) is None:
        faults.append(f"version {manifest.version[:80]!r} is not 1 to 64 letters, digits, dots and dashes")
    if manifest.entry not in manifest.files:
        faults.append(f"entry {manifest.entry!r} is not among the files, so no digest covers it")
    if faults:
        raise BundleRefused(MANIFEST_FILE, faults)
    return manifest


def _is_outside(name: str) -> bool:
    return name.startswith("/") or "\\" in name or not {"", ".", ".."}.isdisjoint(name.split("/"))


def _check_digest(subject: str, sha256: str) -> None:
    if DIGEST_PATTERN.fullmatch(sha256) is None:
        raise BundleRefused(subject, [f"{sha256[:80]!r} is no sha256 of 64 hex digits; give that of {MANIFEST_FILE}"])


def verify(folder: Path, sha256: str) -> BundleManifest:
    """Verify the manifest by ``sha256`` and every file by the manifest. Raises ``BundleRefused`` with all faults."""
    _check_digest(str(folder), sha256)
    try:
        content = (folder / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise BundleRefused(str(folder), [f"{MANIFEST_FILE} cannot be read: {error}"]) from error
    if sha256_hex(content) != sha256:
        raise BundleRefused(str(folder), [f"{MANIFEST_FILE} has sha256 {sha256_hex(content)}, approved was {sha256}"])
    manifest = read_manifest(content)
    faults = []
    for name, expected in manifest.files.items():
        try:
            actual = sha256_hex((folder / name).read_bytes())
        except OSError as error:
            faults.append(f"{name} cannot be read: {error}")
            continue
        if actual != expected:
            faults.append(f"{name} has sha256 {actual}, the manifest says {expected}")
    if faults:
        raise BundleRefused(str(folder), faults)
    return manifest


def fetch(uri: str, sha256: str, cache: Path) -> Path:
    """Copy a bundle into the local cache under its digest, verified; after that it needs no store.

    Raises ``BundleRefused`` for a bundle that differs from the approved one, ``OSError`` if the store does not answer.
    """
    _check_digest(uri, sha256)  # it names a folder of the cache, which is removed if it is no such bundle
    folder = cache / sha256
    if folder.exists():
        try:
            verify(folder, sha256)
        except BundleRefused:
            shutil.rmtree(folder)
        else:
            return folder
    content = read_file(f"{uri.rstrip('/')}/{MANIFEST_FILE}")
    if sha256_hex(content) != sha256:
        raise BundleRefused(uri, [f"{MANIFEST_FILE} has sha256 {sha256_hex(content)}, approved was {sha256}"])
    manifest = read_manifest(content)
    partial = cache / f".{sha256}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        (partial / MANIFEST_FILE).write_bytes(content)
        for name in manifest.files:
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.write_bytes(read_file(f"{uri.rstrip('/')}/{name}"))
            except FileNotFoundError:
                continue  # verify() lists it together with all other faults
        verify(partial, sha256)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder

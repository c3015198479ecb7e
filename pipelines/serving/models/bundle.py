"""A bundle is served only if every file in it has the digest that was approved."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipelines.serving.files import read_file

MANIFEST = "bundle.json"
GOLDEN = "golden.json"


class BundleRefused(Exception):
    """The bundle must not be served; ``reasons`` lists every fault found."""

    def __init__(self, subject: str, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__(f"{subject}: {'; '.join(reasons)}")


class InputColumn(msgspec.Struct, frozen=True):
    """One feature column, in the order in which the model takes it; a number outside its range is no feature."""

    name: str
    type: Literal["categorical", "numeric"]
    minimum: float | None = None
    maximum: float | None = None


class BundleManifest(msgspec.Struct, frozen=True):
    """``bundle.json``: what the bundle is and the sha256 of every other file in it.

    ``output``: ``probability`` (of the positive class) or ``value`` (of a regression).
    """

    model: str
    version: str
    predictor: Literal["onnx", "native", "pyfunc"]
    output: Literal["probability", "value"]
    features: list[InputColumn]
    files: dict[str, str]
    model_digest: str
    entry: str
    """Name of the file (or folder, for pyfunc) that holds the model."""
    libraries: dict[str, str] = {}
    notes: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)


class GoldenRows(msgspec.Struct, frozen=True):
    """A few reference rows with the answers the bundle gave when it was built."""

    rows: list[list[Any]]
    predictions: list[float]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_manifest(content: bytes) -> BundleManifest:
    """Parse ``bundle.json``. Raises ``BundleRefused`` for anything else."""
    try:
        manifest = msgspec.json.decode(content, type=BundleManifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BundleRefused(MANIFEST, [f"not a bundle's manifest: {error}"]) from error
    unsafe = [name for name in manifest.files if name.startswith("/") or ".." in name.split("/")]
    if unsafe:
        raise BundleRefused(MANIFEST, [f"{name!r} points outside the bundle" for name in unsafe])
    return manifest


def verify(folder: Path, sha256: str) -> BundleManifest:
    """Check every file of a local bundle against its manifest, and the manifest against ``sha256``.

    Raises ``BundleRefused`` with every missing or altered file.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleRefused(str(folder), [f"{MANIFEST} cannot be read: {error}"]) from error
    if digest(content) != sha256:
        raise BundleRefused(str(folder), [f"{MANIFEST} has sha256 {digest(content)}, approved was {sha256}"])
    manifest = read_manifest(content)
    faults = []
    for name, expected in manifest.files.items():
        try:
            actual = digest((folder / name).read_bytes())
        except OSError as error:
            faults.append(f"{name} cannot be read: {error}")
            continue
        if actual != expected:
            faults.append(f"{name} has sha256 {actual}, the manifest says {expected}")
    if faults:
        raise BundleRefused(str(folder), faults)
    return manifest


def fetch(uri: str, sha256: str, cache: Path) -> Path:
    """Copy a bundle into the local cache under its digest, verified; from then on it is served without its store.

    Raises ``BundleRefused`` for a bundle that is not what was approved, ``OSError`` when the store does not answer.
    """
    folder = cache / sha256
    if folder.exists():
        try:
            verify(folder, sha256)
        except BundleRefused:
            shutil.rmtree(folder)
        else:
            return folder
    content = read_file(f"{uri.rstrip('/')}/{MANIFEST}")
    if digest(content) != sha256:
        raise BundleRefused(uri, [f"{MANIFEST} has sha256 {digest(content)}, approved was {sha256}"])
    manifest = read_manifest(content)
    partial = cache / f".{sha256}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        (partial / MANIFEST).write_bytes(content)
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

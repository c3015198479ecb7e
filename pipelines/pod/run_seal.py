"""Seals the ticket and the manifest of a run in a pod, so that nobody without the run's own key can write either.

A pod may be able to write to the whole store, and so beside the files of other runs. Each run has a key of its own:
the task derives it from a secret that no pod has, and the pod gets it in its environment. A seal is the HMAC-SHA256, by
that key, of the file's name and content; it lies beside the file as ``<file>.seal``, written first.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from pipelines.errors import Refused
from pipelines.ports import Store

RUN_KEY = "AIRWORTHY_RUN_KEY"
"""Environment variable of a pod that holds the key of its run."""


def run_key(secret: str, run: str) -> str:
    """The key, 64 hex digits, of the run whose files lie below ``run``."""
    return hmac.new(secret.encode(), f"airworthy run\0{run}".encode(), hashlib.sha256).hexdigest()


def put_sealed(store: Store, path: str, content: bytes, key: str | None) -> None:
    """Write the seal and then the file; without a key the file alone."""
    if key:
        store.put(seal_path(path), _seal(key, path, content).encode())
    store.put(path, content)


def get_sealed(store: Store, path: str, keys: Sequence[str]) -> bytes:
    """The content, sealed by one of the keys; whatever it is if there are no keys.

    Raises ``Refused`` for another seal, and for none.
    """
    content = store.get(path)
    if not keys:
        return content
    if not store.exists(seal_path(path)):
        raise Refused(
            f"{path} has no seal: somebody who is not of this run wrote it, or an image of an earlier release",
            ["let steps run the image of this release, and look for who writes to the store; then clear the task"],
        )
    seal = store.get(seal_path(path))
    if not any(hmac.compare_digest(seal, _seal(key, path, content).encode()) for key in keys):
        raise Refused(
            f"{path} has not the seal of its run: somebody else wrote it or changed it",
            ["look for who writes to the store, then clear the task, which starts a pod anew"],
        )
    return content


def seal_path(path: str) -> str:
    return f"{path}.seal"


def _seal(key: str, path: str, content: bytes) -> str:
    name = path.rpartition("/")[2]
    return hmac.new(key.encode(), name.encode() + b"\0" + content, hashlib.sha256).hexdigest()

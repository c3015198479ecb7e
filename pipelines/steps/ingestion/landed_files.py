"""The files of a delivery as their manifest lists them, each held against its digest; every fault is named."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping

from pipelines.messages.delivery import DeliveryManifest
from pipelines.spec.source import SourceSpec
from pipelines.store_paths import MANIFEST


def landed_files(
    manifest: DeliveryManifest, source: SourceSpec, get: Callable[[str], bytes | None]
) -> tuple[dict[str, bytes], list[str]]:
    """Name to content of each listed file that is there, and the faults. ``get``: a file's content, None: missing."""
    files = source.files
    names = [file.name for file in manifest.files]
    failures = [f"{MANIFEST} lists {name!r} more than once" for name, times in Counter(names).items() if times > 1]
    failures += [
        f"{MANIFEST} lists {name!r}, which the contract does not know: its files are {files.name}"
        for name in dict.fromkeys(names)
        if not files.has(name)
    ]
    listed = {file.name: file for file in manifest.files if files.has(file.name)}
    if not listed and not source.may_land_no_file:
        failures.append(f"{MANIFEST} does not list {files.name}")
    contents: dict[str, bytes] = {}
    for name, file in listed.items():
        content = get(name)
        if content is None:
            failures.append(f"{name} is listed but missing; deliver it again")
            continue
        contents[name] = content
        digest = hashlib.sha256(content).hexdigest()
        if digest != file.sha256:
            failures.append(
                f"{name} has sha256 {digest[:12]}…, its manifest says {file.sha256[:12]}…; it was truncated or "
                "changed, deliver it again"
            )
    return contents, failures


def file_digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Name to sha256 of each file, 64 hex digits."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}

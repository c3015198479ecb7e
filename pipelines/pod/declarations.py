"""A pod reads the YAML and SQL declarations of the task that launched it, not those of its image."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ports import Store

DECLARATION_SUFFIXES = (".yaml", ".yml", ".sql", ".py")


def store_declarations(store: Store, include: Path) -> str:
    """Put all declarations below ``include`` into the store under their digest, once; returns the digest."""
    files = sorted(path for path in include.rglob("*") if path.suffix in DECLARATION_SUFFIXES and path.is_file())
    texts = {path.relative_to(include).as_posix(): path.read_text(encoding="utf-8") for path in files}
    content = json.dumps(texts, sort_keys=True, ensure_ascii=False).encode()
    digest = hashlib.sha256(content).hexdigest()
    if not store.exists(store_paths.declarations(digest)):
        store.put(store_paths.declarations(digest), content)
    return digest


def restore_declarations(store: Store, digest: str, include: Path) -> None:
    """Write the declarations out as a folder again. ``Refused`` if their digest differs or a name leaves it."""
    content = store.get(store_paths.declarations(digest))
    if (actual := hashlib.sha256(content).hexdigest()) != digest:
        raise Refused(
            f"{store_paths.declarations(digest)} was altered: its content has digest {actual}; start the task again"
        )
    texts: dict[str, str] = json.loads(content)
    if outside := [name for name in texts if name.startswith("/") or ".." in name.split("/")]:
        raise Refused(f"{store_paths.declarations(digest)} names files outside of its folder", outside)
    for name, text in texts.items():
        target = include / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

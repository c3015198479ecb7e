"""Reads and writes whole files by path or by URL (`s3://`); a reader never sees a partial file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def _remote_filesystem(uri: str) -> tuple[Any, str] | None:
    if "://" not in uri or uri.startswith("file://"):
        return None
    from pyarrow import fs

    filesystem, path = fs.FileSystem.from_uri(uri)
    return filesystem, path


def _local_path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def is_below(uri: str, roots: Sequence[str]) -> bool:
    """Whether a path or URL lies below one of these, with no way out by ``..`` or by a link."""
    return any(_is_below(uri, root) for root in roots)


def _is_below(uri: str, root: str) -> bool:
    if "://" in uri and not uri.startswith("file://"):
        parts = uri.split("://", 1)[1].split("/")
        return uri.startswith(root.rstrip("/") + "/") and {".", ".."}.isdisjoint(parts) and "%" not in uri
    if "://" in root and not root.startswith("file://"):
        return False
    return _local_path(uri).resolve().is_relative_to(_local_path(root).resolve())


def read_file(uri: str) -> bytes:
    """Content of one file. Raises ``FileNotFoundError`` if there is none, ``OSError`` if the store does not answer."""
    remote = _remote_filesystem(uri)
    if remote is None:
        return _local_path(uri).read_bytes()
    filesystem, path = remote
    with filesystem.open_input_stream(path) as stream:
        content: bytes = stream.read()
        return content


def write_file(uri: str, content: bytes) -> None:
    """Write one file atomically, replacing an existing one."""
    remote = _remote_filesystem(uri)
    if remote is not None:
        filesystem, path = remote
        with filesystem.open_output_stream(path) as stream:
            stream.write(content)
        return
    target = _local_path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(target)

"""A file of the store is written whole or not at all, in a folder or behind any URL that Delta Lake can write to."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pipelines.errors import Refused, Unavailable


class Files(Protocol):
    """Files by checked relative path, below one root. ``list`` takes any beginning of a path."""

    root: str

    def put(self, path: str, content: bytes) -> None: ...
    def get(self, path: str) -> bytes: ...
    def delete(self, path: str) -> None: ...
    def exists(self, path: str) -> bool: ...
    def list(self, prefix: str) -> list[str]: ...


def open_files(root: str, options: Mapping[str, str]) -> Files:
    """Files below a folder path, ``file://`` or any other URL (``s3://bucket/prefix``)."""
    root = root.removeprefix("file://")
    return RemoteFiles(root, options) if "://" in root else LocalFiles(root)


def checked(path: str, root: str) -> str:
    """The path relative to the root. ``Refused`` for one that leaves the root."""
    relative = path.removeprefix("file://").removeprefix(f"{root}/")
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or "://" in relative or ".." in parts:
        raise Refused(f"{path!r} is no path inside the store {root}; give one relative to its root")
    return relative


@contextmanager
def answering(doing: str) -> Iterator[None]:
    """Say in our words why the storage gave nothing: ``Refused`` for what is not there, else ``Unavailable``."""
    try:
        yield
    except FileNotFoundError as error:
        raise Refused(f"{doing}: there is no such file") from error
    except OSError as error:
        # Errors of cloud storage come as several lines drawn as a tree with terminal colours.
        text = " ".join(str(error).replace("\x1b[31m↳\x1b[0m", "").split())
        raise Unavailable(f"{doing}: the storage does not answer ({type(error).__name__}: {text[:400]})") from error


class LocalFiles:
    """Files in a folder. A reader sees the old content or the new, also if the writer is killed half-way."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def put(self, path: str, content: bytes) -> None:
        target = Path(self.root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            draft.write_bytes(content)
            os.replace(draft, target)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()

    def get(self, path: str) -> bytes:
        return Path(self.root, path).read_bytes()

    def delete(self, path: str) -> None:
        Path(self.root, path).unlink(missing_ok=True)

    def exists(self, path: str) -> bool:
        return Path(self.root, path).is_file()

    def list(self, prefix: str) -> list[str]:
        folder = Path(self.root, prefix) if prefix.endswith("/") or not prefix else Path(self.root, prefix).parent
        found = []
        for where, _, names in os.walk(folder):
            inside = Path(where).relative_to(self.root)
            found += [str(inside / name) for name in names if not (name.startswith(".") and name.endswith(".tmp"))]
        return sorted(path for path in found if path.startswith(prefix))


S3_ARGUMENTS = {
    "AWS_ACCESS_KEY_ID": "access_key",
    "AWS_SECRET_ACCESS_KEY": "secret_key",
    "AWS_SESSION_TOKEN": "session_token",
    "AWS_REGION": "region",
    "AWS_ENDPOINT_URL": "endpoint_override",
}
"""Delta Lake's storage options to what pyarrow calls them."""


class RemoteFiles:
    """Files in object storage by ``pyarrow.fs``; an object appears whole when its upload is closed.

    ``options`` are those of the Delta tables; they are needed only where the environment does not say (S3 alone:
    other clouds are reached by what the environment says).
    """

    def __init__(self, root: str, options: Mapping[str, str]) -> None:
        self.root = root.rstrip("/")
        self._options = {key.upper(): value for key, value in options.items()}

    @cached_property
    def _system(self) -> Any:
        from pyarrow.fs import FileSystem, S3FileSystem, SubTreeFileSystem

        scheme, _, place = self.root.partition("://")
        given = {S3_ARGUMENTS[key]: value for key, value in self._options.items() if key in S3_ARGUMENTS}
        if scheme not in ("s3", "s3a") or not given:
            system, place = FileSystem.from_uri(self.root)
            return SubTreeFileSystem(place, system)
        if given.get("endpoint_override", "").startswith("http://"):
            given["scheme"] = "http"
        return SubTreeFileSystem(place, S3FileSystem(**given))

    def put(self, path: str, content: bytes) -> None:
        with self._system.open_output_stream(path) as stream:
            stream.write(content)

    def get(self, path: str) -> bytes:
        with self._system.open_input_stream(path) as stream:
            content: bytes = stream.read()
            return content

    def delete(self, path: str) -> None:
        if self.exists(path):
            self._system.delete_file(path)

    def exists(self, path: str) -> bool:
        return bool(self._system.get_file_info(path).is_file)

    def list(self, prefix: str) -> list[str]:
        from pyarrow.fs import FileSelector

        folder = prefix.rpartition("/")[0]
        found = self._system.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
        return sorted(info.path for info in found if info.is_file and info.path.startswith(prefix))

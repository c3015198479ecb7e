"""Files of the store, in a folder or behind a URL: readers see the whole old content or the whole new one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pipelines.errors import Refused, Unavailable

HIDDEN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""What S3 repeats in some of its errors, and nobody may read."""
SHORTEST = 8
"""A shorter one is a test's, and could be part of any word."""


class StorageAccess:
    """How object storage is reached: Delta Lake's storage options, asked for anew at each use and never shown.

    ``options`` are the options or a function that returns them, so that credentials may be renewed meanwhile.
    """

    def __init__(self, options: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None) -> None:
        self._given = options or {}
        self._shown: set[str] = set()

    def options(self) -> dict[str, str]:
        """The options of this moment. Plain http is allowed where the endpoint says http."""
        given = self._given() if callable(self._given) else self._given
        options = {key.upper() if key.lower().startswith("aws_") else key: value for key, value in given.items()}
        self._shown |= {options[key] for key in HIDDEN if len(options.get(key, "")) >= SHORTEST}
        if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
            options.setdefault("AWS_ALLOW_HTTP", "true")
        return options

    def hide(self, text: str) -> str:
        """The text without any credential that was used here, or that the environment holds."""
        for secret in self._shown | {os.environ[key] for key in HIDDEN if len(os.environ.get(key, "")) >= SHORTEST}:
            text = text.replace(secret, "***")
        return text


class Files(Protocol):
    """Files by checked relative path, below one root. ``list`` and ``stamps`` take any beginning of a path."""

    root: str

    def put(self, path: str, content: bytes) -> None: ...
    def get(self, path: str) -> bytes: ...
    def delete(self, path: str) -> None: ...
    def exists(self, path: str) -> bool: ...
    def list(self, prefix: str) -> list[str]: ...
    def stamps(self, prefix: str) -> dict[str, str]: ...


def open_files(root: str, access: StorageAccess) -> Files:
    """Files below a folder path, ``file://`` or any other URL (``s3://bucket/prefix``)."""
    root = root.removeprefix("file://")
    return RemoteFiles(root, access) if "://" in root else LocalFiles(root)


def checked(path: str, root: str) -> str:
    """The path relative to the root. ``Refused`` for one that leaves the root."""
    relative = path.removeprefix("file://").removeprefix(f"{root}/")
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or "://" in relative or ".." in parts:
        raise Refused(f"{path!r} is no path inside the store {root}; give one relative to its root")
    return relative


@contextmanager
def answering(doing: str, access: StorageAccess) -> Iterator[None]:
    """Say in our words why the storage gave nothing: ``Unavailable``, or ``Refused`` for what is not there or not ours.

    Where the storage repeated a credential, the error is told without it and without its cause.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise Refused(f"{doing}: there is no such file") from error
    except OSError as error:
        # Errors of cloud storage come as several lines drawn as a tree with terminal colours.
        message = " ".join(str(error).replace("\x1b[31m↳\x1b[0m", "").split())
        text = access.hide(message)
        raise turned_away(doing, text) or Unavailable(
            f"{doing}: the storage does not answer ({type(error).__name__}: {text[:400]})"
        ) from (error if text == message else None)


FORBIDDEN = ("ACCESS_DENIED", "AccessDenied", "HTTP status 403", "lacked the necessary privileges", "403 Forbidden")
"""How pyarrow and Delta Lake say that S3 knows us, or does not, and will not let us."""


def turned_away(doing: str, text: str) -> Refused | None:
    """``Refused`` where ``text`` says that the storage does not let us in; expired credentials are no such case."""
    if "Expired" in text or not any(word in text for word in FORBIDDEN):
        return None
    return Refused(f"{doing}: the storage does not let us in; check the credentials and their policy", [text[:400]])


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
        return [path for path, _ in self._walked(prefix)]

    def stamps(self, prefix: str) -> dict[str, str]:
        stamps = {}
        for path, entry in self._walked(prefix):
            with suppress(FileNotFoundError):  # moved away since it was listed
                seen = entry.stat()
                stamps[path] = f"{seen.st_mtime_ns}-{seen.st_size}-{seen.st_ino}"
        return stamps

    def _walked(self, prefix: str) -> Sequence[tuple[str, os.DirEntry[str]]]:
        """Files whose path begins so, ascending. Years of landing folders are walked every few seconds: no ``Path``."""
        files, folders = [], [prefix.rpartition("/")[0]]
        while folders:
            folder = folders.pop()
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{self.root}/{folder}") as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif (
                        path.startswith(prefix)
                        and not (entry.name.startswith(".") and entry.name.endswith(".tmp"))
                        and entry.is_file()
                    ):
                        files.append((path, entry))
        return sorted(files, key=lambda pair: pair[0])


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

    ``access`` is that of the Delta tables; it is needed only where the environment does not say (S3 alone: other
    clouds are reached by what the environment says).
    """

    def __init__(self, root: str, access: StorageAccess) -> None:
        self.root = root.rstrip("/")
        self._access = access
        self._opened: tuple[dict[str, str], Any] | None = None

    @property
    def _system(self) -> Any:
        """Kept as long as the credentials are the same."""
        options = self._access.options()
        opened = self._opened
        if opened is None or opened[0] != options:
            opened = self._opened = (options, self._open(options))
        return opened[1]

    def _open(self, options: Mapping[str, str]) -> Any:
        from pyarrow.fs import FileSystem, S3FileSystem, SubTreeFileSystem

        scheme, _, place = self.root.partition("://")
        given = {S3_ARGUMENTS[key]: value for key, value in options.items() if value and key in S3_ARGUMENTS}
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
        return sorted(self.stamps(prefix))

    def stamps(self, prefix: str) -> dict[str, str]:
        """One request per thousand files below the prefix's folder."""
        from pyarrow.fs import FileSelector

        folder = prefix.rpartition("/")[0]
        listing = self._system.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
        files = [info for info in listing if info.is_file and info.path.startswith(prefix)]
        return {info.path: f"{info.mtime_ns}-{info.size}" for info in files}

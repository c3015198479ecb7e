"""Files of the store, in a folder or behind a URL: readers see the whole old content or the whole new one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pipelines.errors import Refused, Unavailable
from pipelines.ports import FileStamp

SECRET_OPTIONS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Credentials that S3 repeats in some of its errors, and that no message may show."""
MIN_MASKED_LENGTH = 8
"""Shorter credentials occur only in tests, and could match part of any word."""


class StorageAccess:
    """How object storage is reached: Delta Lake's storage options, read again at each use and never shown.

    ``options`` are the options or a function that returns them, so that credentials can be renewed.
    """

    def __init__(self, options: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None) -> None:
        self._configured = options or {}
        self._secrets: set[str] = set()

    def options(self) -> dict[str, str]:
        """The current options. Plain http is allowed if the endpoint's URL is http."""
        configured = self._configured() if callable(self._configured) else self._configured
        options = {key.upper() if key.lower().startswith("aws_") else key: value for key, value in configured.items()}
        self._secrets |= {options[key] for key in SECRET_OPTIONS if len(options.get(key, "")) >= MIN_MASKED_LENGTH}
        if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
            options.setdefault("AWS_ALLOW_HTTP", "true")
        return options

    def mask_secrets(self, text: str) -> str:
        """The text with ``***`` for each credential that was used here or that the environment holds."""
        for value in self._secrets | {
            os.environ[key] for key in SECRET_OPTIONS if len(os.environ.get(key, "")) >= MIN_MASKED_LENGTH
        }:
            text = text.replace(value, "***")
        return text


class Files(Protocol):
    """Files by checked relative path, below one root. ``list`` and ``stamps`` take any prefix of a path."""

    root: str

    def put(self, path: str, content: bytes) -> None: ...
    def get(self, path: str) -> bytes: ...
    def delete(self, path: str) -> None: ...
    def exists(self, path: str) -> bool: ...
    def list(self, prefix: str) -> list[str]: ...
    def stamps(self, prefix: str) -> dict[str, FileStamp]: ...


def open_files(root: str, access: StorageAccess) -> Files:
    """Files below a folder path, ``file://`` or any other URL (``s3://bucket/prefix``)."""
    root = root.removeprefix("file://")
    return RemoteFiles(root, access) if "://" in root else LocalFiles(root)


def relative_path(path: str, root: str) -> str:
    """The path relative to the root. ``Refused`` for one that leaves the root."""
    relative = path.removeprefix("file://").removeprefix(f"{root}/")
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or "://" in relative or ".." in parts:
        raise Refused(f"{path!r} is not inside the store {root}; give a path relative to its root")
    return relative


@contextmanager
def storage_errors(action: str, access: StorageAccess) -> Iterator[None]:
    """Translate the storage's errors: ``Refused`` for missing files and denied access, else ``Unavailable``.

    If an error contains a credential, it is raised without the credential and without its cause.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise Refused(f"{action}: there is no such file") from error
    except OSError as error:
        # Errors of cloud storage come as several lines drawn as a tree with terminal colours.
        message = " ".join(str(error).replace("\x1b[31m↳\x1b[0m", "").split())
        text = access.mask_secrets(message)
        raise access_refusal(action, text) or Unavailable(
            f"{action}: the storage does not answer ({type(error).__name__}: {text[:400]})"
        ) from (error if text == message else None)


DENIED_TEXTS = ("ACCESS_DENIED", "AccessDenied", "HTTP status 403", "lacked the necessary privileges", "403 Forbidden")
"""Texts by which pyarrow and Delta Lake report that S3 denied access."""


def access_refusal(action: str, text: str) -> Refused | None:
    """``Refused`` if ``text`` says that the storage denied access; None for expired credentials and other errors."""
    if "Expired" in text or not any(word in text for word in DENIED_TEXTS):
        return None
    return Refused(f"{action}: the storage denied access; check the credentials and their policy", [text[:400]])


class LocalFiles:
    """Files in a folder. A reader sees the old content or the new, even if the writer is killed."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def put(self, path: str, content: bytes) -> None:
        target = Path(self.root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, target)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()

    def get(self, path: str) -> bytes:
        return Path(self.root, path).read_bytes()

    def delete(self, path: str) -> None:
        Path(self.root, path).unlink(missing_ok=True)

    def exists(self, path: str) -> bool:
        return Path(self.root, path).is_file()

    def list(self, prefix: str) -> list[str]:
        return [path for path, _ in self._walk(prefix)]

    def stamps(self, prefix: str) -> dict[str, FileStamp]:
        stamps = {}
        for path, entry in self._walk(prefix):
            with suppress(FileNotFoundError):  # removed since it was listed
                status = entry.stat()
                etag = f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
                stamps[path] = FileStamp(etag, datetime.fromtimestamp(status.st_mtime, UTC))
        return stamps

    def _walk(self, prefix: str) -> Sequence[tuple[str, os.DirEntry[str]]]:
        """Files with this prefix, ascending. It runs every few seconds on years of folders, so it avoids ``Path``."""
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
"""Delta Lake's storage options to pyarrow's argument names."""


class RemoteFiles:
    """Files in object storage by ``pyarrow.fs``; an object appears whole when its upload is closed.

    ``access`` is that of the Delta tables. Its options apply to S3; other clouds are configured by the environment.
    """

    def __init__(self, root: str, access: StorageAccess) -> None:
        self.root = root.rstrip("/")
        self._access = access
        self._cached: tuple[dict[str, str], Any] | None = None

    @property
    def _filesystem(self) -> Any:
        """The filesystem, opened again when the credentials change."""
        options = self._access.options()
        opened = self._cached
        if opened is None or opened[0] != options:
            opened = self._cached = (options, self._open(options))
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
        with self._filesystem.open_output_stream(path) as stream:
            stream.write(content)

    def get(self, path: str) -> bytes:
        with self._filesystem.open_input_stream(path) as stream:
            content: bytes = stream.read()
            return content

    def delete(self, path: str) -> None:
        if self.exists(path):
            self._filesystem.delete_file(path)

    def exists(self, path: str) -> bool:
        return bool(self._filesystem.get_file_info(path).is_file)

    def list(self, prefix: str) -> list[str]:
        return sorted(self.stamps(prefix))

    def stamps(self, prefix: str) -> dict[str, FileStamp]:
        """One request per thousand files below the prefix's folder."""
        from pyarrow.fs import FileSelector

        folder = prefix.rpartition("/")[0]
        listing = self._filesystem.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
        files = [info for info in listing if info.is_file and info.path.startswith(prefix)]
        return {info.path: FileStamp(f"{info.mtime_ns}-{info.size}", info.mtime.astimezone(UTC)) for info in files}

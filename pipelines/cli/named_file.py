"""Reads a file that a person names on the command line."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import Refused


def read_named_file(path: Path) -> bytes:
    """The content. ``Refused`` with the system's reason if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error

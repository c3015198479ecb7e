"""Finds a data file of an installed Python distribution, without importing it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from pipelines.errors import Refused


def distribution_file(package: str, version: str, name: str) -> Path:
    """The file of that name. Raises ``Refused`` if the distribution is not installed, or holds no such file."""
    locked = f"install version {version}, as locked: make setup"
    try:
        listed = files(package) or []
    except PackageNotFoundError as error:
        raise Refused(f"{package} is not installed", [locked]) from error
    for file in listed:
        if file.name == name:
            return Path(str(file.locate()))
    raise Refused(f"{package} holds no file {name}", [locked])

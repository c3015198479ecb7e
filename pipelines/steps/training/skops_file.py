"""Stores an sklearn model without pickle: the same model, the same bytes; only types that may be loaded again.

skops names what it stores by memory address and dates its zip entries; both are replaced, addresses by their order of
appearance, so that the digest of a model depends on the model alone.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

from pipelines.errors import Refused
from pipelines.serving.models.skops_file import SCHEMA_FILE, forbidden_parts
from pipelines.serving.models.skops_file import load as load_file

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip file can express."""


def dump(model: Any) -> bytes:
    """Raises ``Refused`` if the model holds a function, or a type that no loader would open."""
    import skops.io  # slow to import (it searches every loaded module), and boosting never needs it

    content = skops.io.dumps(model)
    if faults := forbidden_parts(content):
        remedy = "choose another class_path or other parameters under training.estimator"
        raise Refused("the model cannot be stored", [f"it holds {fault}; {remedy}" for fault in faults])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read(SCHEMA_FILE))
        numbers: dict[str, str] = {}
        _renumber_ids(schema, numbers)
        files = {
            _renumber_name(name, numbers): archive.read(name) for name in archive.namelist() if name != SCHEMA_FILE
        }
    files[SCHEMA_FILE] = json.dumps(schema, indent=1).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return target.getvalue()


def load(content: bytes) -> Any:
    """Raises ``Refused`` for a file that holds a function or a type that is not listed."""
    try:
        return load_file(content)
    except ValueError as error:
        raise Refused("the model is not loaded", [str(error)]) from error


def _renumber_ids(node: Any, numbers: dict[str, str]) -> None:
    if isinstance(node, list):
        for item in node:
            _renumber_ids(item, numbers)
    elif isinstance(node, dict):
        if "__id__" in node:
            node["__id__"] = int(numbers.setdefault(str(node["__id__"]), str(len(numbers))))
        for item in node.values():
            _renumber_ids(item, numbers)
        if isinstance(node.get("file"), str):
            node["file"] = _renumber_name(node["file"], numbers)


def _renumber_name(name: str, numbers: dict[str, str]) -> str:
    match = re.fullmatch(r"(\d+)\.(\w+)", name)
    return f"{numbers.setdefault(match[1], str(len(numbers)))}.{match[2]}" if match else name

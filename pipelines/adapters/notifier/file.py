"""A channel that is a file: one JSON line a message, for its owner's eyes, and the same in the log."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from pipelines.errors import Unavailable
from pipelines.messages.incident import Notice

log = logging.getLogger(__name__)


def alerts_file(home: Path) -> Path:
    """Where an installation's channel of this kind writes."""
    return home / "alerts" / "alerts.jsonl"


def read_alerts(home: Path) -> list[dict[str, Any]]:
    """The messages so far, oldest first."""
    path = alerts_file(home)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class FileNotifier:
    """Appends to ``path``, which only its owner may read; each message is one write, durable on return."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, notice: Notice) -> None:
        line: dict[str, Any] = {
            "id": notice.id,
            "severity": notice.severity,
            "title": notice.title,
            "body": notice.body,
        }
        line |= {"incidents": [incident.number for incident in notice.incidents], "links": notice.links}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab", buffering=0) as file:
                file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be written: {error}") from error
        log.warning("%s\n%s", notice.title, notice.body)

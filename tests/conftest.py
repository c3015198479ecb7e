"""Tests run steps in their own process, which is set up as an entry point sets it up, and trust one authority."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import certifi
import pytest

from pipelines.settings import let_waiting_threads_sleep

let_waiting_threads_sleep()
END = "-----END CERTIFICATE-----\n"


def pytest_configure(config: pytest.Config) -> None:
    """httpx reads all trusted authorities for every client, 30 ms of CPU; tests reach no host that one vouches for."""
    if hasattr(config, "workerinput"):
        return  # set by the process that started this worker
    folder = tempfile.TemporaryDirectory(prefix="airworthy-tests-")
    config.add_cleanup(folder.cleanup)
    authority = Path(folder.name) / "authority.pem"
    authority.write_text(certifi.contents().partition(END)[0] + END)
    os.environ["SSL_CERT_FILE"] = str(authority)

"""The keys of an identity provider are fetched beside the data path; while it is down the last ones stay."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.serving.data_plane.authentication import public_keys
from pipelines.serving.settings import KEY_SET, GatewayConfig

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("airworthy.gateway")

TIMEOUT = 10.0
MAX_BYTES = 1024 * 1024
RETRY_SECONDS = 5.0


async def keep_fresh(door: GatewayConfig, folder: Path) -> None:
    """Fetch the key set again and again into ``folder``, where the workers find it; returns if there is none to fetch.

    What is no key set is never written. A failed fetch is tried again soon, and the file stays as it was.
    """
    declared = door.authentication.jwt if door.authentication else None
    if declared is None or declared.key_set is None or declared.key_set.startswith("file:"):
        return
    import httpx

    if not _same_source(declared.key_set, folder):
        (folder / KEY_SET).unlink(missing_ok=True)
    async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
        while True:
            wait = declared.refresh_seconds
            try:
                write(folder, await fetch(client, declared.key_set))
            except (httpx.HTTPError, OSError, ValueError) as error:
                wait = min(wait, RETRY_SECONDS)
                log.warning("the key set %s was not read: %s; the last one stays", declared.key_set, error)
            await asyncio.sleep(wait)


def _same_source(url: str, folder: Path) -> bool:
    """Whether the file that is there came from ``url``: another provider's keys are never trusted."""
    note = folder / f"{KEY_SET}.source"
    same = note.exists() and note.read_text() == url
    note.write_text(url)
    return same


async def fetch(client: httpx.AsyncClient, url: str) -> bytes:
    """The key set at ``url``. Raises ``httpx.HTTPError`` if it does not answer, ``ValueError`` if it is none."""
    async with client.stream("GET", url) as response:
        response.raise_for_status()
        content = b""
        async for part in response.aiter_bytes():
            content += part
            if len(content) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    public_keys(content)
    return content


def write(folder: Path, content: bytes) -> None:
    """Replace the file, unless it says the same."""
    target = folder / KEY_SET
    if target.exists() and target.read_bytes() == content:
        return
    partial = folder / f".{KEY_SET}"
    partial.write_bytes(content)
    partial.replace(target)

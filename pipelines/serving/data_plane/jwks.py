"""Fetches the key set of an identity provider in the background; if it does not answer, the former one stays."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.serving.data_plane.authentication import public_keys
from pipelines.serving.settings import KEY_SET_FILE, GatewayConfig

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("airworthy.gateway")

TIMEOUT_SECONDS = 10.0
MAX_BYTES = 1024 * 1024
RETRY_SECONDS = 5.0


async def refresh_key_set(config: GatewayConfig, folder: Path) -> None:
    """Write the key set of a configured URL to ``folder`` regularly; a failed fetch keeps the file and is retried."""
    jwt_config = config.authentication.jwt if config.authentication else None
    if jwt_config is None or jwt_config.key_set is None or jwt_config.key_set.startswith("file:"):
        return
    import httpx

    if not _is_same_source(jwt_config.key_set, folder):
        (folder / KEY_SET_FILE).unlink(missing_ok=True)
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        while True:
            wait = jwt_config.refresh_seconds
            try:
                write_key_set(folder, await fetch_key_set(client, jwt_config.key_set))
            except (httpx.HTTPError, OSError, ValueError) as error:
                wait = min(wait, RETRY_SECONDS)
                log.warning("the key set %s was not read: %s; the former one stays in use", jwt_config.key_set, error)
            await asyncio.sleep(wait)


def _is_same_source(url: str, folder: Path) -> bool:
    """Whether the stored file came from ``url``: another provider's keys are never trusted."""
    source_file = folder / f"{KEY_SET_FILE}.source"
    is_same = source_file.exists() and source_file.read_text() == url
    source_file.write_text(url)
    return is_same


async def fetch_key_set(client: httpx.AsyncClient, url: str) -> bytes:
    """The key set at ``url``. Raises ``httpx.HTTPError`` if it does not answer, ``ValueError`` if it is not valid."""
    async with client.stream("GET", url) as response:
        response.raise_for_status()
        content = b""
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    public_keys(content)
    return content


def write_key_set(folder: Path, content: bytes) -> None:
    """Replace the file if its content differs."""
    target = folder / KEY_SET_FILE
    if target.exists() and target.read_bytes() == content:
        return
    partial = folder / f".{KEY_SET_FILE}"
    partial.write_bytes(content)
    partial.replace(target)

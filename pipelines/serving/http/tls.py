"""TLS of a listener: at least version 1.2, by files that are read again when they are replaced."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from pipelines.serving.settings import TlsConfig

log = logging.getLogger("airworthy.gateway")

RELOAD_SECONDS = 20.0
"""How often the files are looked at."""


class ServerTls:
    """The certificate of a listener. Raises ``OSError`` (``ssl.SSLError`` among them) for files that do not serve."""

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self._files = self._file_versions()
        self.context = _loaded(config)

    def reload(self) -> None:
        """Use files that were replaced, for connections that begin from now on; faulty ones are named in the log."""
        try:
            files = self._file_versions()
            if files == self._files:
                return
            _loaded(self._config)  # apart first: a certificate without its key would leave the listener with neither
            self.context.load_cert_chain(self._config.certificate, self._config.key)
            self._files = files
        except OSError as error:
            log.warning("the new TLS files cannot be used, the former ones stay in use: %s", error)

    def _file_versions(self) -> list[tuple[int, int, int]]:
        stats = [Path(path).stat() for path in (self._config.certificate, self._config.key)]
        return [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats]


async def reload_regularly(tls: ServerTls) -> None:
    while True:
        await asyncio.sleep(RELOAD_SECONDS)
        tls.reload()


def tls_faults(config: TlsConfig) -> list[str]:
    """Why the files cannot serve; empty if they can."""
    try:
        ServerTls(config)
    except OSError as error:
        reason = error.strerror or str(error)
        return [f"tls: {config.certificate} with {config.key}: {reason}; give a certificate and its key as PEM files"]
    return []


def _loaded(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A key with a passphrase would wait for somebody to type it.
    context.load_cert_chain(config.certificate, config.key, password=_refuse_passphrase)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _refuse_passphrase() -> str:
    raise OSError("the key has a passphrase; give one without")

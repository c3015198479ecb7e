"""The listener's own TLS: no version before 1.2, files that are replaced are used, faulty ones are not."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from uvicorn.server import ServerState

from pipelines.serving.http.listener import ConnectionLimits, ListenerState
from pipelines.serving.http.server import create_server
from pipelines.serving.http.tls import ServerTls, tls_faults
from pipelines.serving.settings import TlsConfig
from tests.serving.http.connections import Handler, post


def write_certificate(folder: Path, name: str, *, passphrase: bytes | None = None) -> TlsConfig:
    """A self-signed certificate of that name, in the listener's files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    certificate = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    config = TlsConfig(str(folder / "tls.crt"), str(folder / "tls.key"))
    Path(config.certificate).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    Path(config.key).write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    )
    return config


def read(file: Path) -> bytes:
    return file.read_bytes()


def replace(file: Path, content: bytes) -> None:
    file.write_bytes(content)


@contextlib.asynccontextmanager
async def serving(tls: ServerTls) -> AsyncIterator[int]:
    """The port of a listener with this TLS."""
    state = ListenerState(ConnectionLimits())
    state.inline_handler = handler = Handler()
    config = create_server(handler, state, tls.context).config
    shared, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: config.http_protocol_class(config, shared, {}, loop),  # type: ignore[operator, call-arg, return-value]
        "127.0.0.1",
        0,
        ssl=config.ssl,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def ask(port: int, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[str, bytes]:
    """The name of the listener's certificate, and its answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
    context.set_ciphers("ALL:@SECLEVEL=0")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(post("/inline", b"x"))
    answer = await reader.readuntil(b"inline 1")
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    [name] = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value), answer


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_callers_are_answered_by_tls_1_2_and_newer_and_by_nothing_older(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(ServerTls(write_certificate(tmp_path, "first"))) as port:
            for newest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
                name, answer = await ask(port, newest)
                assert (name, answer[:12]) == ("first", b"HTTP/1.1 200")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await ask(port, ssl.TLSVersion.TLSv1_1)

    uvloop.run(test())


def test_replaced_files_are_used_and_faulty_ones_leave_the_former_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_certificate(tmp_path, "first")
    key_file = Path(config.key)

    async def test() -> None:
        tls = ServerTls(config)
        async with serving(tls) as port:
            former_key = read(key_file)
            write_certificate(tmp_path, "second")
            second_key = read(key_file)
            replace(key_file, former_key)
            tls.reload()
            assert "former ones stay in use" in caplog.text
            assert (await ask(port))[0] == "first"
            replace(key_file, second_key)
            tls.reload()
            assert (await ask(port))[0] == "second"

    uvloop.run(test())


def test_files_that_cannot_serve_are_named_before_the_gateway_starts(tmp_path: Path) -> None:
    good = write_certificate(tmp_path, "good")
    assert tls_faults(good) == []
    (tmp_path / "other").mkdir()
    other = write_certificate(tmp_path / "other", "other")
    (tmp_path / "secret").mkdir()
    secret = write_certificate(tmp_path / "secret", "secret", passphrase=b"hush")
    for config in (
        TlsConfig("/nowhere/tls.crt", good.key),
        TlsConfig(good.certificate, other.key),
        TlsConfig(good.key, good.certificate),
        secret,
    ):
        [fault] = tls_faults(config)
        assert config.certificate in fault
        assert "PEM" in fault

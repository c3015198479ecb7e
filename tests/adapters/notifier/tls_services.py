"""Services behind TLS with an authority of the tests: what a real one would be sent is kept, and checked by tests."""

from __future__ import annotations

import base64
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Authority:
    """Signs certificates for the names that a test asks for; ``bundle`` is what its clients trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
        certificate = self._sign(self._name, self._key.public_key(), is_authority=True)
        self.bundle = folder / "authority.pem"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """A server's context with a certificate for ``host``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._sign(subject, key.public_key(), host=host)
        pem = self._folder / f"{host}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _sign(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, *, host: str = "", is_authority: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


class TlsProxy:
    """An HTTPS proxy that answers for every host itself; ``requests`` holds host, head and body of each."""

    def __init__(self, authority: Authority) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.answer = ANSWER
        self._authority = authority

    def serve(self, raw: socket.socket) -> None:
        line = _read_head(raw).split(b"\r\n")[0].decode()
        host = line.split()[1].partition(":")[0]
        raw.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with self._authority.context(host).wrap_socket(raw, server_side=True) as tls:
            head = _read_head(tls)
            self.requests.append((host, head.decode(), _read_body(tls, head)))
            tls.sendall(self.answer)


class MailServer:
    """Enough of SMTP to take a message: STARTTLS, a log-in, one or more recipients. ``mails`` holds what was sent."""

    def __init__(self, authority: Authority) -> None:
        self.mails: list[str] = []
        self.logins: list[str] = []
        self._context = authority.context("localhost")

    def serve(self, raw: socket.socket) -> None:
        raw.sendall(b"220 mail\r\n")
        connection, file = raw, raw.makefile("rb")
        while line := file.readline():
            verb = line.strip().split(b" ")[0].upper()
            if verb == b"STARTTLS":
                connection.sendall(b"220 go\r\n")
                connection = self._context.wrap_socket(raw, server_side=True)
                file = connection.makefile("rb")
            elif verb == b"EHLO":
                connection.sendall(b"250-mail\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
            elif verb == b"AUTH":
                self.logins.append(base64.b64decode(line.split()[-1]).decode())
                connection.sendall(b"235 welcome\r\n")
            elif verb == b"DATA":
                connection.sendall(b"354 go\r\n")
                self.mails.append(b"".join(iter(file.readline, b".\r\n")).decode())
                connection.sendall(b"250 taken\r\n")
            elif verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"250 ok\r\n")


@contextmanager
def serving(service: TlsProxy | MailServer) -> Iterator[int]:
    """The port on which the service answers, each caller in a thread of its own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                service.serve(self.request)
            except (OSError, ssl.SSLError):  # a client that does not trust the authority hangs up
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise OSError("the client hung up")
        head += byte
    return head


def _read_body(connection: socket.socket, head: bytes) -> bytes:
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size, body = int(lengths[0].split(b":")[1]) if lengths else 0, b""
    while len(body) < size:
        body += connection.recv(size - len(body))
    return body

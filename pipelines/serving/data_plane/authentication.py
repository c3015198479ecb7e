"""A caller is known by a key or a token, or is told no more than that it is not known."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipelines.serving.settings import KEY_SET, AuthenticationConfig, JwtConfig, secret

log = logging.getLogger("airworthy.gateway")

REMEMBERED = 4096
"""Tokens whose signature is not checked again, per worker."""
LOOK_SECONDS = 1.0
NEVER = float("inf")
SCOPES = ("predict", "admin")


class AuthenticatedClient(msgspec.Struct, frozen=True):
    """Who asks. ``until``: seconds since 1970 at which the credentials expire."""

    name: str
    scopes: frozenset[str]
    until: float = NEVER


class NotAuthenticated(Exception):
    """The credentials are missing, wrong or expired; which of these is nobody's business."""


class KeysMissing(Exception):
    """No key set has been read yet, so no token can be judged."""


class Authenticator:
    """Identifies callers by ``x-api-key`` or ``authorization: Bearer``, from memory alone.

    Keys are found by the sha256 of what was sent: the caller cannot steer a digest, so how long the search takes tells
    nothing about any key; the found digest is compared once more in constant time. ``folder`` is the gateway's state
    folder, where the supervisor keeps the key set of a URL.
    """

    def __init__(self, declared: AuthenticationConfig, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._keys: dict[bytes, tuple[bytes, AuthenticatedClient]] = {}
        for key in declared.keys:
            until = NEVER if key.expires is None else key.expires
            digest = bytes.fromhex(key.sha256)
            self._keys[digest] = (digest, AuthenticatedClient(f"key:{key.id}", frozenset(key.scopes), until))
        self._tokens = JwtVerifier(declared.jwt, folder, now) if declared.jwt else None

    def of(self, headers: Mapping[bytes, bytes]) -> AuthenticatedClient:
        """Raises ``NotAuthenticated``, or ``KeysMissing`` for a token while there is no key set."""
        sent = _sent(headers)
        digest = hashlib.sha256(sent).digest()
        client = self._key(digest) if sent else None
        if client is None and sent and self._tokens is not None:
            client = self._tokens.of(sent, digest)
        if client is None or client.until <= self._now():
            raise NotAuthenticated
        return client

    def by_key(self, headers: Mapping[bytes, bytes]) -> AuthenticatedClient | None:
        """The caller if it sent a key that holds: found at the price of one digest."""
        client = self._key(hashlib.sha256(_sent(headers)).digest())
        return client if client is not None and client.until > self._now() else None

    def is_familiar(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether this is a token whose signature was checked before."""
        return self._tokens is not None and self._tokens.knows(hashlib.sha256(_sent(headers)).digest())

    def _key(self, digest: bytes) -> AuthenticatedClient | None:
        stored, client = self._keys.get(digest, (b"", None))
        return client if hmac.compare_digest(stored, digest) else None


def _sent(headers: Mapping[bytes, bytes]) -> bytes:
    """The key or token; empty if there is none."""
    key = headers.get(b"x-api-key")
    if key is not None:
        return key
    kind, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token if kind.lower() == b"bearer" else b""


class JwtVerifier:
    """Judges JWTs (RFC 7519) by pinned algorithms and a key set that is read from a local file when it changes."""

    def __init__(self, declared: JwtConfig, folder: Path, now: Callable[[], float]) -> None:
        import jwt

        self._jwt, self._declared, self._now = jwt, declared, now
        self._known: dict[bytes, AuthenticatedClient] = {}
        self._keys: dict[str | None, Any] = {}
        self._file: Path | None = None
        self._stamp: tuple[int, int] | None = None
        self._looked = -NEVER
        if declared.development_secret is not None:
            self._keys = {None: secret(declared.development_secret)}
        elif declared.key_set is not None:
            local = declared.key_set.startswith("file:")
            self._file = Path(declared.key_set.removeprefix("file:")) if local else folder / KEY_SET

    def knows(self, digest: bytes) -> bool:
        return digest in self._known

    def of(self, token: bytes, digest: bytes) -> AuthenticatedClient | None:
        """Whose token it is; None for one that does not hold."""
        self._look()
        if digest in self._known:
            return self._known[digest]
        if not self._keys:
            raise KeysMissing
        client = self._judge(token)
        if client is not None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[digest] = client
        return client

    def _judge(self, token: bytes) -> AuthenticatedClient | None:
        config = self._declared
        try:
            name = self._jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(name)
            if key is None and (name is None or None in self._keys) and len(self._keys) == 1:
                (key,) = self._keys.values()
            if key is None:
                return None
            claims = self._jwt.decode(
                token,
                key,
                algorithms=config.algorithms,
                audience=config.audience,
                issuer=config.issuer,
                leeway=config.leeway_seconds,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
            scope_claim = claims.get(config.scope_claim, "")
            words = scope_claim.split() if isinstance(scope_claim, str) else scope_claim
            scopes = frozenset(scope for scope in SCOPES if isinstance(words, list) and scope in words)
            return AuthenticatedClient(
                f"sub:{claims['sub']}"[:256], scopes, float(claims["exp"]) + config.leeway_seconds
            )
        except Exception:  # whatever a library says of what a stranger sent, the answer is that it does not hold
            return None

    def _look(self) -> None:
        """Read the key set again if its file changed; tokens are then judged anew."""
        now = self._now()
        if self._file is None or abs(now - self._looked) < LOOK_SECONDS:
            return
        self._looked = now
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._stamp:
                return
            keys = public_keys(self._file.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("the key set %s cannot be read: %s; the last one stays", self._file, error)
            return
        self._stamp, self._keys = stamp, keys
        self._known.clear()


def public_keys(content: bytes) -> dict[str | None, Any]:
    """The RSA and EC signing keys of a JWKS (RFC 7517) by ``kid``. Raises ``ValueError`` if there is none."""
    import jwt

    try:
        entries = msgspec.json.decode(content)["keys"]
        usable = [entry for entry in entries if entry.get("kty") in ("RSA", "EC") and entry.get("use", "sig") == "sig"]
        keys: dict[str | None, Any] = {entry.get("kid"): jwt.PyJWK(entry) for entry in usable}
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise ValueError(f"it is no key set: {type(error).__name__}") from None
    if not keys:
        raise ValueError("it has no RSA or EC key for signatures")
    return keys

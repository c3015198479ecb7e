"""Authenticates callers by API key or JWT; a refusal does not say what is wrong with the credentials."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipelines.serving.settings import KEY_SET_FILE, AuthenticationConfig, JwtConfig, read_secret

log = logging.getLogger("airworthy.gateway")

MAX_VERIFIED_TOKENS = 4096
"""Tokens per worker whose signature is not verified again."""
KEY_SET_CHECK_SECONDS = 1.0
NO_EXPIRY = float("inf")
SCOPES = ("predict", "replay", "admin")


class AuthenticatedClient(msgspec.Struct, frozen=True):
    """Name and scopes of a caller. ``expires_at``: end of the credentials in seconds since 1970."""

    name: str
    scopes: frozenset[str]
    expires_at: float = NO_EXPIRY


class NotAuthenticated(Exception):
    """The credentials are missing, wrong or expired; the caller does not learn which."""


class KeySetMissing(Exception):
    """No key set has been read yet, so no token can be verified."""


class Authenticator:
    """Authenticates callers by ``x-api-key`` or ``authorization: Bearer`` without network access.

    Keys are looked up by their sha256: callers cannot choose a digest, so the time of the lookup reveals nothing about
    a key; the digests are then compared in constant time. ``folder`` is the gateway's state folder, where the
    supervisor stores the key set of a URL.
    """

    def __init__(self, config: AuthenticationConfig, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._keys: dict[bytes, tuple[bytes, AuthenticatedClient]] = {}
        for key in config.keys:
            expires_at = NO_EXPIRY if key.expires is None else key.expires
            digest = bytes.fromhex(key.sha256)
            self._keys[digest] = (digest, AuthenticatedClient(f"key:{key.id}", frozenset(key.scopes), expires_at))
        self._tokens = JwtVerifier(config.jwt, folder, now) if config.jwt else None

    def authenticate(self, headers: Mapping[bytes, bytes]) -> AuthenticatedClient:
        """The caller. Raises ``NotAuthenticated``, or ``KeySetMissing`` for a token while there is no key set."""
        credentials = _credentials(headers)
        digest = hashlib.sha256(credentials).digest()
        client = self._client_of_key(digest) if credentials else None
        if client is None and credentials and self._tokens is not None:
            client = self._tokens.verify(credentials, digest)
        if client is None or client.expires_at <= self._now():
            raise NotAuthenticated
        return client

    def authenticate_by_key(self, headers: Mapping[bytes, bytes]) -> AuthenticatedClient | None:
        """The caller if it sent a valid API key; this costs one digest."""
        client = self._client_of_key(hashlib.sha256(_credentials(headers)).digest())
        return client if client is not None and client.expires_at > self._now() else None

    def is_verified_token(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the signature of the token sent was verified before."""
        return self._tokens is not None and self._tokens.is_verified(hashlib.sha256(_credentials(headers)).digest())

    def _client_of_key(self, digest: bytes) -> AuthenticatedClient | None:
        stored, client = self._keys.get(digest, (b"", None))
        return client if hmac.compare_digest(stored, digest) else None


def _credentials(headers: Mapping[bytes, bytes]) -> bytes:
    """The key or token sent; empty if there is none."""
    key = headers.get(b"x-api-key")
    if key is not None:
        return key
    kind, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token if kind.lower() == b"bearer" else b""


class JwtVerifier:
    """Verifies JWTs (RFC 7519) with fixed algorithms and a key set file, which is read again when it changes."""

    def __init__(self, config: JwtConfig, folder: Path, now: Callable[[], float]) -> None:
        import jwt

        self._jwt, self._config, self._now = jwt, config, now
        self._verified: dict[bytes, AuthenticatedClient] = {}
        self._keys: dict[str | None, Any] = {}
        self._file: Path | None = None
        self._file_version: tuple[int, int] | None = None
        self._checked_at = -NO_EXPIRY
        if config.development_secret is not None:
            self._keys = {None: read_secret(config.development_secret)}
        elif config.key_set is not None:
            is_local = config.key_set.startswith("file:")
            self._file = Path(config.key_set.removeprefix("file:")) if is_local else folder / KEY_SET_FILE

    def is_verified(self, digest: bytes) -> bool:
        return digest in self._verified

    def verify(self, token: bytes, digest: bytes) -> AuthenticatedClient | None:
        """The caller of a token; None for an invalid one."""
        self._reload_keys()
        if digest in self._verified:
            return self._verified[digest]
        if not self._keys:
            raise KeySetMissing
        client = self._verify(token)
        if client is not None:
            if len(self._verified) >= MAX_VERIFIED_TOKENS:
                self._verified.clear()
            self._verified[digest] = client
        return client

    def _verify(self, token: bytes) -> AuthenticatedClient | None:
        config = self._config
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
            scope_names = scope_claim.split() if isinstance(scope_claim, str) else scope_claim
            scopes = frozenset(scope for scope in SCOPES if isinstance(scope_names, list) and scope in scope_names)
            # A text that is not Unicode could be neither counted nor logged.
            name = f"sub:{claims['sub']}"[:256].encode("utf-8", "replace").decode()
            return AuthenticatedClient(name, scopes, float(claims["exp"]) + config.leeway_seconds)
        except Exception:  # whatever the library raises, the token is invalid
            return None

    def _reload_keys(self) -> None:
        """Read the key set again if its file changed; every token is then verified again."""
        now = self._now()
        if self._file is None or abs(now - self._checked_at) < KEY_SET_CHECK_SECONDS:
            return
        self._checked_at = now
        try:
            stat = self._file.stat()
            file_version = (stat.st_mtime_ns, stat.st_size)
            if file_version == self._file_version:
                return
            keys = public_keys(self._file.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("the key set %s cannot be read: %s; the former one stays in use", self._file, error)
            return
        self._file_version, self._keys = file_version, keys
        self._verified.clear()


def public_keys(content: bytes) -> dict[str | None, Any]:
    """The RSA and EC signing keys of a JWKS (RFC 7517) by ``kid``. Raises ``ValueError`` if there is none."""
    import jwt

    try:
        entries = msgspec.json.decode(content)["keys"]
        usable = [entry for entry in entries if entry.get("kty") in ("RSA", "EC") and entry.get("use", "sig") == "sig"]
        keys: dict[str | None, Any] = {entry.get("kid"): jwt.PyJWK(entry) for entry in usable}
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise ValueError(f"it is not a key set: {type(error).__name__}") from None
    if not keys:
        raise ValueError("it has no RSA or EC signing key")
    return keys

"""`gateway.yaml` declares who may call the gateway's public listener, how much, and what of it is logged."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from pipelines.loopback import is_loopback
from pipelines.spec.declared import Declared, Identifier

Scope = Literal["predict", "admin"]
Page = Literal["health", "ready", "metrics", "openapi"]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$")]
"""Where a secret is read from: ``env:NAME`` or ``file:/path``. The secret itself is never written here."""
Treatment = Literal["drop", "hash", "mask"]


class ApiKey(Declared):
    """One client that sends a key; only the key's sha256 is written here."""

    id: Identifier
    sha256: Digest
    scopes: list[Scope] = Field(default=["predict"], min_length=1)
    expires: datetime | None = None
    """With time zone; none: it does not expire."""

    @field_validator("expires")
    @classmethod
    def has_a_time_zone(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("expires has no time zone; write 2027-01-01T00:00:00Z")
        return moment


class Jwt(Declared):
    """Tokens of an identity provider. Claims ``exp``, ``aud``, ``iss`` and ``sub`` are required."""

    algorithms: list[Literal["RS256", "ES256", "HS256"]] = Field(default=["RS256"], min_length=1)
    key_set: str | None = None
    """JWKS: ``file:/path``, or an https URL that the supervisor reads now and then."""
    refresh_seconds: float = Field(default=300, ge=5)
    """How often a key set at a URL is read."""
    development_secret: Reference | None = None
    """The shared secret of HS256: for development alone, and on loopback alone."""
    audience: str = Field(min_length=1)
    issuer: str = Field(min_length=1)
    leeway_seconds: float = Field(default=30, ge=0, le=300)
    scope_claim: str = "scope"
    """Claim with the scopes, as words in one text or as a list."""

    @model_validator(mode="after")
    def keys_fit_the_algorithms(self) -> Self:
        shared = "HS256" in self.algorithms
        if shared and len(self.algorithms) > 1:
            raise ValueError("HS256 stands alone; beside RS256 or ES256 it would let a public key pass for a secret")
        if shared != (self.development_secret is not None):
            raise ValueError("development_secret belongs to algorithms: [HS256], and only to it")
        if shared == (self.key_set is not None):
            raise ValueError("key_set belongs to RS256 and ES256, and only to them")
        if self.key_set is not None and not _is_key_set(self.key_set):
            raise ValueError(f"key_set is {self.key_set!r}; give file:/path or an https URL (http on loopback alone)")
        return self


class Authentication(Declared):
    """Who may ask. Without ``anonymous`` every page but health and ``open_pages`` wants a key or token with a scope."""

    keys: list[ApiKey] = []
    jwt: Jwt | None = None
    anonymous: str | None = Field(default=None, min_length=10)
    """Why everyone who reaches the listener may predict, such as a mesh that knows its callers."""
    open_pages: list[Page] = ["health", "ready"]
    failures_per_minute: int = Field(default=60, ge=1)
    """Wrong credentials per address and worker, before further ones are answered 429 unread."""

    @model_validator(mode="after")
    def is_decided(self) -> Self:
        names, digests = [key.id for key in self.keys], [key.sha256 for key in self.keys]
        faults = [f"two keys are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
        faults += ["two keys have the same sha256"] if len(set(digests)) < len(digests) else []
        if not self.keys and self.jwt is None and self.anonymous is None:
            faults.append("give keys or jwt; or say under anonymous why everyone may ask")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class Limits(Declared):
    """What one request and one worker may cost. ``body_bytes`` and ``rows``: none for the command line's."""

    body_bytes: int | None = Field(default=None, ge=1)
    rows: int | None = Field(default=None, ge=1)
    header_bytes: int = Field(default=64 * 1024, ge=1024)
    request_seconds: float = Field(default=30, gt=0)
    """From a request's first byte to its last; a slower client is answered 408 and cut off."""
    connections: int = Field(default=2000, ge=1)
    """Open at once; each worker takes its share."""
    concurrency: int = Field(default=512, ge=1)
    """Requests received and not yet answered; what exceeds a worker's share is shed with 503."""


class Rate(Declared):
    """Token bucket per client: key, token subject or, without credentials, address. Each worker keeps its share."""

    per_minute: float = Field(gt=0)
    burst: int = Field(ge=1)


class Checks(Declared):
    """What a row must be beyond its types."""

    missing: Literal["accept", "refuse"] = "accept"
    """null values. NaN and infinity are no JSON and always refused."""
    ranges: Literal["refuse", "ignore"] = "refuse"
    """Numbers outside the minimum and maximum that the bundle's schema states."""


class Cache(Declared):
    """Answers of the same version to the same rows, in each worker's memory."""

    backend: Literal["memory"] = "memory"
    max_bytes: int = Field(default=32 * 1024 * 1024, ge=4096)
    """Per worker, keys and bookkeeping included."""
    ttl_seconds: float = Field(default=300, gt=0)

    @field_validator("backend", mode="before")
    @classmethod
    def is_in_memory(cls, backend: object) -> object:
        if backend == "redis":
            raise ValueError(
                "redis is not served: a call over the network takes longer than the prediction it would save; "
                "say memory"
            )
        return backend


class Privacy(Declared):
    """What is done to values before the prediction log is written; the model still sees them."""

    secret: Reference | None = None
    """Key of the HMAC that ``hash`` needs; at least 32 bytes."""
    columns: dict[Identifier, dict[str, Treatment]] = {}
    """By model and column. drop: null. hash: HMAC-SHA256, 32 hex digits. mask: texts keep their first character,
    numbers their first digit."""
    entity_ids: Literal["keep", "hash", "drop"] = "keep"
    """Labels are joined by these ids: hash or drop them only if labels come another way."""
    net: bool = False
    """Replace what looks like an e-mail address or a phone number in text columns and correlation ids."""

    @model_validator(mode="after")
    def hashes_have_a_secret(self) -> Self:
        treatments = [
            self.entity_ids,
            *(treatment for by_column in self.columns.values() for treatment in by_column.values()),
        ]
        if "hash" in treatments and self.secret is None:
            raise ValueError("hash needs privacy.secret; without one anybody could try all values")
        return self


class Log(Declared):
    """The prediction log."""

    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of the answers that is logged, each with the weight 1 / share; fallbacks are always logged."""


class GatewaySpec(Declared):
    """``include/gateway.yaml``. Whatever is left out is as if there were no file."""

    schema_: Literal[1] = Field(alias="schema")
    authentication: Authentication | None = None
    limits: Limits = Limits()
    rate: Rate | None = None
    checks: Checks = Checks()
    cache: Cache | None = None
    privacy: Privacy | None = None
    log: Log = Log()

    def faults_on(self, host: str) -> list[str]:
        """Why the public listener must not be opened at ``host``; empty if it may."""
        outside = f"--host {host} is reachable from outside"
        if is_loopback(host):
            return []
        if self.authentication is None:
            how = "declare authentication in the file that --config names, or listen on 127.0.0.1"
            return [f"{outside} and nobody is asked who they are; {how}"]
        if self.authentication.jwt is not None and self.authentication.jwt.development_secret is not None:
            return [f"{outside}; HS256 is for development on loopback: take RS256 or ES256"]
        return []


def _is_key_set(where: str) -> bool:
    if re.fullmatch(r"file:/.+", where):
        return True
    parts = urlsplit(where)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    )

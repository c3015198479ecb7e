"""`gateway.yaml` declares who may call the gateway's public listener, its limits, and what is logged."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from pipelines.loopback import is_loopback
from pipelines.spec.declared import DeclarationBlock, Identifier

Scope = Literal["predict", "replay", "admin"]
"""replay: predict for any time by ``x-prediction-time``. admin: choose the version; it may predict and replay, too."""
Page = Literal["health", "ready", "metrics", "openapi", "docs", "version"]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$")]
"""Where a secret is read from: ``env:NAME`` or ``file:/path``. The secret itself is never written here."""
Treatment = Literal["drop", "hash", "mask"]


class ApiKey(DeclarationBlock):
    """One client that sends a key; only the key's sha256 is written here."""

    id: Identifier
    sha256: Digest
    scopes: list[Scope] = Field(default=["predict"], min_length=1)
    expires: datetime | None = None
    """Time of expiry with time zone; none: the key does not expire."""

    @field_validator("expires")
    @classmethod
    def check_has_time_zone(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("expires has no time zone; use a form such as 2027-01-01T00:00:00Z")
        return moment


class Jwt(DeclarationBlock):
    """Tokens of an identity provider. Claims ``exp``, ``aud``, ``iss`` and ``sub`` are required."""

    algorithms: list[Literal["RS256", "ES256", "HS256"]] = Field(default=["RS256"], min_length=1)
    key_set: str | None = None
    """JWKS: ``file:/path``, or an https URL that the supervisor reads every ``refresh_seconds``."""
    refresh_seconds: float = Field(default=300, ge=5)
    """How often a key set at a URL is read."""
    development_secret: Reference | None = None
    """The shared secret of HS256, only for development on loopback."""
    audience: str = Field(min_length=1)
    issuer: str = Field(min_length=1)
    leeway_seconds: float = Field(default=30, ge=0, le=300)
    scope_claim: str = "scope"
    """Claim with the scopes, as words in one text or as a list."""

    @model_validator(mode="after")
    def check_keys_fit_algorithms(self) -> Self:
        shared = "HS256" in self.algorithms
        if shared and len(self.algorithms) > 1:
            raise ValueError("HS256 cannot be combined with RS256 or ES256; a public key would serve as the secret")
        if shared != (self.development_secret is not None):
            raise ValueError("development_secret is needed for algorithms: [HS256] and for nothing else")
        if shared == (self.key_set is not None):
            raise ValueError("key_set is needed for RS256 and ES256 and for nothing else")
        if self.key_set is not None and not _is_key_set(self.key_set):
            raise ValueError(
                f"key_set is {self.key_set!r}; use file:/path or an https URL (http only on loopback) "
                "without a password, which this file and the log would show"
            )
        return self


class Authentication(DeclarationBlock):
    """Who may call. Without ``anonymous`` all pages but health and ``open_pages`` need a key or token with a scope."""

    keys: list[ApiKey] = []
    jwt: Jwt | None = None
    anonymous: str | None = Field(default=None, min_length=10)
    """Why callers need no credentials, for example because a service mesh authenticates them."""
    open_pages: list[Page] = ["health", "ready"]
    failures_per_minute: int = Field(default=60, ge=1)
    """Wrong credentials per address and worker, after which further ones get 429 without a check."""

    @model_validator(mode="after")
    def check_authentication(self) -> Self:
        names, digests = [key.id for key in self.keys], [key.sha256 for key in self.keys]
        faults = [f"two keys are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
        faults += ["two keys have the same sha256"] if len(set(digests)) < len(digests) else []
        if not self.keys and self.jwt is None and self.anonymous is None:
            faults.append("declare keys or jwt, or explain under anonymous why everyone may call")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class Limits(DeclarationBlock):
    """Limits of one request and one worker. ``body_bytes`` and ``rows``: none for the command line's limits."""

    body_bytes: int | None = Field(default=None, ge=1)
    rows: int | None = Field(default=None, ge=1)
    header_bytes: int = Field(default=64 * 1024, ge=1024)
    request_seconds: float = Field(default=30, gt=0)
    """Time from a request's first byte to its last; a slower client gets 408 and is disconnected."""
    connections: int = Field(default=2000, ge=1)
    """Connections open at once; each worker has its share. Beyond it the address with the most of them gives one up."""
    connections_per_address: int | None = Field(default=None, ge=1)
    """Connections of one address; none: all that nobody else needs. Each worker has its share. Does not hold for
    ``trusted_proxies``."""
    concurrency: int = Field(default=512, ge=1)
    """Requests in progress; those beyond a worker's share get 503."""
    bytes_in_flight: int = Field(default=128 * 1024 * 1024, ge=1024)
    """Bytes of requests that arrive or wait for an answer; each worker has its share. Beyond it the address with the
    most of them is answered 503."""
    bytes_in_flight_per_address: int | None = Field(default=None, ge=1024)
    """The same of one address, beyond which it is answered 429; none: a quarter of ``bytes_in_flight``."""
    prediction_time_days: float = Field(default=7, gt=0)
    """How many days before or after now ``x-prediction-time`` may lie for callers without the scope replay or admin.
    Without ``authentication`` it may lie anywhere."""


class Rate(DeclarationBlock):
    """Token bucket per client: key, token subject or, without credentials, address. Each worker has its share."""

    per_minute: float = Field(gt=0)
    burst: int = Field(ge=1)


class Checks(DeclarationBlock):
    """Checks of a row in addition to its types."""

    missing: Literal["accept", "refuse"] = "accept"
    """null values. NaN and infinity are not JSON and always refused."""
    ranges: Literal["refuse", "ignore"] = "refuse"
    """Numbers outside the minimum and maximum of the bundle's schema."""
    categories: Literal["accept", "refuse"] = "accept"
    """Categories that the contract's ``allowed`` does not list or, where it lists none, that no training row had. They
    are counted in the metrics in either case."""
    ids: Literal["accept", "refuse"] = "accept"
    """Requests without an entity id per row, whose predictions no label can meet. They are counted in either case."""


class Cache(DeclarationBlock):
    """Cache of answers by version and rows, in each worker's memory."""

    backend: Literal["memory"] = "memory"
    max_bytes: int = Field(default=32 * 1024 * 1024, ge=4096)
    """Per worker, keys and bookkeeping included."""
    ttl_seconds: float = Field(default=300, gt=0)

    @field_validator("backend", mode="before")
    @classmethod
    def check_in_memory(cls, backend: object) -> object:
        if backend == "redis":
            raise ValueError(
                "redis is not served: a call over the network takes longer than the prediction it would save; "
                "say memory"
            )
        return backend


class Privacy(DeclarationBlock):
    """How values are changed before they are written to the prediction log; the model gets them unchanged."""

    secret: Reference | None = None
    """Key of the HMAC that ``hash`` needs; at least 32 bytes."""
    callers: Literal["keep", "hash", "drop"] = "keep"
    """The name of the key or the subject of the token that asked. A subject may be a person."""
    columns: dict[Identifier, dict[str, Treatment]] = {}
    """By model and column. drop: null. hash: HMAC-SHA256, 32 hex digits. mask: keeps a text's first character or a
    number's first digit."""
    entity_ids: Literal["keep", "hash", "drop"] = "keep"
    """Labels are joined by these ids: hash or drop them only if labels are joined otherwise."""
    net: bool = False
    """Mask texts that look like an e-mail address or a phone number in text columns and correlation ids."""

    @model_validator(mode="after")
    def check_hashes_have_secret(self) -> Self:
        treatments = [
            self.entity_ids,
            self.callers,
            *(rule for by_column in self.columns.values() for rule in by_column.values()),
        ]
        if "hash" in treatments and self.secret is None:
            raise ValueError("hash needs privacy.secret; without a secret anybody could hash all values and compare")
        return self


class Log(DeclarationBlock):
    """The prediction log."""

    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of the answers that is logged, each with the weight 1 / share; fallbacks are always logged."""


class Tls(DeclarationBlock):
    """TLS 1.2 or newer on the public listener. Files that are replaced are read again within a minute."""

    certificate: str = Field(pattern=r"^/")
    """PEM file with the certificate and those that it rests on."""
    key: str = Field(pattern=r"^/")
    """PEM file with its private key, without a passphrase."""


class GatewaySpec(DeclarationBlock):
    """``include/gateway.yaml``. Omitted fields have the defaults of a gateway without this file."""

    schema_: Literal[1] = Field(alias="schema")
    authentication: Authentication | None = None
    tls: Tls | None = None
    trusted_proxies: list[str] = []
    """Addresses or networks of proxies whose ``X-Forwarded-For`` names the caller, such as 10.0.0.0/8."""
    limits: Limits = Limits()
    rate: Rate | None = None
    checks: Checks = Checks()
    cache: Cache | None = None
    privacy: Privacy | None = None
    log: Log = Log()

    @field_validator("trusted_proxies")
    @classmethod
    def check_are_networks(cls, networks: list[str]) -> list[str]:
        for network in networks:
            try:
                width = ipaddress.ip_network(network).prefixlen
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {error}; give an address or a network such as 10.0.0.0/8") from None
            if width == 0:
                raise ValueError(f"trusted_proxies: {network} is everyone, who could then name any address; narrow it")
        return networks

    def exposure_faults(self, host: str) -> list[str]:
        """Why the public listener must not be opened at ``host``; empty if there is no fault."""
        outside = f"--host {host} is reachable from outside"
        if is_loopback(host):
            return []
        if self.authentication is None:
            how = "declare authentication in the file that --config names, or listen on 127.0.0.1"
            return [f"{outside} without authentication; {how}"]
        if self.authentication.jwt is not None and self.authentication.jwt.development_secret is not None:
            return [f"{outside}, but HS256 is only for development on loopback; use RS256 or ES256"]
        return []


def _is_key_set(where: str) -> bool:
    if re.fullmatch(r"file:/.+", where):
        return True
    parts = urlsplit(where)
    return (
        bool(parts.hostname)
        and "@" not in parts.netloc
        and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))
    )

"""The public listener's declaration, checked at start and passed to the workers as a JSON file without secrets."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from pipelines.errors import Refused
from pipelines.loopback import is_loopback

CONFIG_FILE = "door.json"
KEY_SET_FILE = "key_set.json"
"""File in the gateway's state folder with the last key set that was read from a URL."""
MIN_SECRET_BYTES = 32


class ApiKeyConfig(msgspec.Struct, frozen=True):
    id: str
    sha256: str
    scopes: list[str]
    expires: float | None
    """Seconds since 1970."""


class JwtConfig(msgspec.Struct, frozen=True):
    algorithms: list[str]
    key_set: str | None
    refresh_seconds: float
    development_secret: str | None
    audience: str
    issuer: str
    leeway_seconds: float
    scope_claim: str


class AuthenticationConfig(msgspec.Struct, frozen=True):
    keys: list[ApiKeyConfig]
    jwt: JwtConfig | None
    anonymous: str | None
    open_pages: list[str]
    failures_per_minute: int


class LimitsConfig(msgspec.Struct, frozen=True):
    body_bytes: int | None = None
    rows: int | None = None
    header_bytes: int = 64 * 1024
    request_seconds: float = 30.0
    connections: int = 2000
    connections_per_address: int | None = None
    concurrency: int = 512
    bytes_in_flight: int = 128 * 1024 * 1024
    bytes_in_flight_per_address: int | None = None
    prediction_time_days: float = 7


class RateConfig(msgspec.Struct, frozen=True):
    per_minute: float
    burst: int


class ChecksConfig(msgspec.Struct, frozen=True):
    missing: str = "accept"
    ranges: str = "refuse"
    categories: str = "accept"
    ids: str = "accept"


class CacheConfig(msgspec.Struct, frozen=True):
    backend: str
    max_bytes: int
    ttl_seconds: float


class PrivacyConfig(msgspec.Struct, frozen=True):
    secret: str | None
    columns: dict[str, dict[str, str]]
    entity_ids: str
    net: bool
    callers: str = "keep"


class LogConfig(msgspec.Struct, frozen=True):
    sample: float = 1.0


class TlsConfig(msgspec.Struct, frozen=True):
    certificate: str
    key: str


class GatewayConfig(msgspec.Struct, frozen=True):
    """``pipelines.spec.gateway.GatewaySpec``, field by field. ``workers`` divide the limits of the gateway."""

    authentication: AuthenticationConfig | None = None
    tls: TlsConfig | None = None
    trusted_proxies: list[str] = []
    limits: LimitsConfig = LimitsConfig()
    rate: RateConfig | None = None
    checks: ChecksConfig = ChecksConfig()
    cache: CacheConfig | None = None
    privacy: PrivacyConfig | None = None
    log: LogConfig = LogConfig()
    workers: int = 1


def load_config(path: Path | None, host: str, workers: int) -> GatewayConfig:
    """The configuration in ``path`` for a listener at ``host``; without a file anonymous access on loopback.

    Raises ``Refused`` with every fault of the declaration and every secret that cannot be read.
    """
    if path is None and is_loopback(host):
        return GatewayConfig(workers=workers)  # saves importing yaml and pydantic, about half a second
    from pipelines.spec.catalog import read_declaration
    from pipelines.spec.gateway import GatewaySpec
    from pipelines.spec.plain_yaml import with_lines

    subject = f"the gateway cannot start as {path} declares it" if path else "the gateway cannot start"
    try:
        spec = read_declaration(path, GatewaySpec) if path else GatewaySpec(schema=1)
    except OSError as error:
        raise Refused(subject, [f"it cannot be read ({error.strerror}); correct its name or its rights"]) from error
    except Refused as error:
        raise Refused(subject, error.reasons or [error.subject]) from error
    fields = spec.model_dump(mode="python", by_alias=True, exclude={"schema_"})
    for key in (fields["authentication"] or {}).get("keys", ()):
        key["expires"] = None if key["expires"] is None else key["expires"].timestamp()
    config = msgspec.convert(fields | {"workers": workers}, GatewayConfig)
    faults = spec.exposure_faults(host) + secret_faults(config)
    if faults:
        raise Refused(subject, with_lines(path.read_text(encoding="utf-8"), faults) if path else faults)
    return config


def security_warnings(config: GatewayConfig) -> list[str]:
    """Warnings to log when the gateway starts."""
    if config.authentication is None:
        return []
    warnings = []
    if config.authentication.anonymous is not None:
        warnings.append(f"everyone who reaches the public listener may predict: {config.authentication.anonymous}")
    if config.authentication.jwt is not None and config.authentication.jwt.development_secret is not None:
        warnings.append("tokens are signed with a shared secret (HS256); use that for development only")
    return warnings


def secret_faults(config: GatewayConfig) -> list[str]:
    """One fault per secret that cannot be read or is shorter than ``MIN_SECRET_BYTES``."""
    jwt = config.authentication.jwt if config.authentication else None
    references = {
        "authentication.jwt.development_secret": jwt.development_secret if jwt else None,
        "privacy.secret": config.privacy.secret if config.privacy else None,
    }
    faults = []
    for field, reference in references.items():
        if reference is None:
            continue
        try:
            length = len(read_secret(reference))
        except (OSError, KeyError):
            faults.append(f"{field}: {reference} cannot be read; set it before the gateway starts")
            continue
        if length < MIN_SECRET_BYTES:
            faults.append(f"{field}: {reference} has {length} bytes; give at least {MIN_SECRET_BYTES}")
    return faults


def read_secret(reference: str) -> bytes:
    """The secret of ``env:NAME`` or ``file:/path``. Raises ``KeyError`` or ``OSError`` if there is none."""
    kind, _, location = reference.partition(":")
    return os.environ[location].encode() if kind == "env" else Path(location).read_bytes().strip()


def write_config(folder: Path, config: GatewayConfig) -> Path:
    """Write the configuration for the workers into the gateway's state folder; returns ``folder``."""
    partial = folder / f".{CONFIG_FILE}"
    partial.write_bytes(msgspec.json.encode(config))
    partial.chmod(0o600)
    partial.replace(folder / CONFIG_FILE)
    return folder


def read_config(folder: Path) -> GatewayConfig:
    """The configuration that ``write_config`` wrote; anonymous access if there is none."""
    try:
        return msgspec.json.decode((folder / CONFIG_FILE).read_bytes(), type=GatewayConfig)
    except FileNotFoundError:
        return GatewayConfig()

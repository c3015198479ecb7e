"""The declaration of the public listener: checked once, then left for the workers as JSON without any secret."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from pipelines.errors import Refused
from pipelines.loopback import is_loopback

FILE = "door.json"
KEY_SET = "key_set.json"
"""In the gateway's state folder: the last key set that a URL answered."""
LEAST_SECRET = 32


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
    concurrency: int = 512


class RateConfig(msgspec.Struct, frozen=True):
    per_minute: float
    burst: int


class ChecksConfig(msgspec.Struct, frozen=True):
    missing: str = "accept"
    ranges: str = "refuse"


class CacheConfig(msgspec.Struct, frozen=True):
    backend: str
    max_bytes: int
    ttl_seconds: float


class PrivacyConfig(msgspec.Struct, frozen=True):
    secret: str | None
    columns: dict[str, dict[str, str]]
    entity_ids: str
    net: bool


class LogConfig(msgspec.Struct, frozen=True):
    sample: float = 1.0


class GatewayConfig(msgspec.Struct, frozen=True):
    """``pipelines.spec.gateway.GatewaySpec``, field by field; see there. ``workers`` share what is per gateway."""

    authentication: AuthenticationConfig | None = None
    limits: LimitsConfig = LimitsConfig()
    rate: RateConfig | None = None
    checks: ChecksConfig = ChecksConfig()
    cache: CacheConfig | None = None
    privacy: PrivacyConfig | None = None
    log: LogConfig = LogConfig()
    workers: int = 1


def declared(path: Path | None, host: str, workers: int) -> GatewayConfig:
    """The door that ``path`` declares for a listener at ``host``; without a file the one that is open on loopback.

    Raises ``Refused`` with every fault of the declaration, and every secret that it names and that is not there.
    """
    if path is None and is_loopback(host):
        return GatewayConfig(workers=workers)  # without the half second that reading declarations takes to import
    import yaml
    from pydantic import ValidationError

    from pipelines.spec.gateway import GatewaySpec
    from pipelines.spec.plain_yaml import load

    subject = f"the gateway cannot start as {path} declares it" if path else "the gateway cannot start"
    try:
        content = load(path.read_text()) if path else {"schema": 1}
        spec = GatewaySpec.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(subject, [str(error)]) from error
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise Refused(subject, [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in wrong]) from None
    plain = spec.model_dump(mode="python", by_alias=True, exclude={"schema_"})
    for key in (plain["authentication"] or {}).get("keys", ()):
        key["expires"] = None if key["expires"] is None else key["expires"].timestamp()
    door = msgspec.convert(plain | {"workers": workers}, GatewayConfig)
    faults = spec.faults_on(host) + secret_faults(door)
    if faults:
        raise Refused(subject, faults)
    return door


def notes(door: GatewayConfig) -> list[str]:
    """What whoever starts this gateway should hear."""
    if door.authentication is None:
        return []
    warnings = []
    if door.authentication.anonymous is not None:
        warnings.append(f"everyone who reaches the public listener may predict: {door.authentication.anonymous}")
    if door.authentication.jwt is not None and door.authentication.jwt.development_secret is not None:
        warnings.append("tokens are signed with a shared secret (HS256), which is for development alone")
    return warnings


def secret_faults(door: GatewayConfig) -> list[str]:
    """Every secret named and not there, or too short to be one."""
    jwt = door.authentication.jwt if door.authentication else None
    named = {
        "authentication.jwt.development_secret": jwt.development_secret if jwt else None,
        "privacy.secret": door.privacy.secret if door.privacy else None,
    }
    faults = []
    for field, reference in named.items():
        if reference is None:
            continue
        try:
            length = len(secret(reference))
        except (OSError, KeyError):
            faults.append(f"{field}: {reference} cannot be read; set it before the gateway starts")
            continue
        if length < LEAST_SECRET:
            faults.append(f"{field}: {reference} has {length} bytes; give at least {LEAST_SECRET}")
    return faults


def secret(reference: str) -> bytes:
    """The secret behind ``env:NAME`` or ``file:/path``. Raises ``KeyError`` or ``OSError`` if it is not there."""
    kind, _, where = reference.partition(":")
    return os.environ[where].encode() if kind == "env" else Path(where).read_bytes().strip()


def write(folder: Path, door: GatewayConfig) -> Path:
    """Leave the door's settings for the workers of the gateway whose state is in ``folder``; returns ``folder``."""
    partial = folder / f".{FILE}"
    partial.write_bytes(msgspec.json.encode(door))
    partial.chmod(0o600)
    partial.replace(folder / FILE)
    return folder


def read(folder: Path) -> GatewayConfig:
    """What ``write`` left there; the open door if nothing was."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=GatewayConfig)
    except FileNotFoundError:
        return GatewayConfig()

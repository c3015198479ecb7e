"""Gateways with a declared door, the keys that open it, and tokens of an identity provider, for tests."""

from __future__ import annotations

import hashlib
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.serving.gateway_process import Gateway

KEYS = {"caller": "key-of-the-caller-0123456789", "root": "key-of-the-root-0123456789", "old": "key-long-expired-0123"}
AUDIENCE, ISSUER = "airworthy", "https://identity.example/"


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def keys() -> list[dict[str, Any]]:
    return [
        {"id": "caller", "sha256": sha256(KEYS["caller"])},
        {"id": "root", "sha256": sha256(KEYS["root"]), "scopes": ["predict", "admin"]},
        {"id": "old", "sha256": sha256(KEYS["old"]), "expires": "2020-01-01T00:00:00Z"},
    ]


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """One key pair per name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_set(*names: str) -> dict[str, Any]:
    """A JWKS with an RSA key and an EC key ``<name>-ec`` of each name."""
    found = []
    for name in names:
        for kid, algorithm, key in (
            (name, jwt.algorithms.RSAAlgorithm, rsa_key(name)),
            (f"{name}-ec", jwt.algorithms.ECAlgorithm, ec_key(name)),
        ):
            found.append(json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"})
    return {"keys": found}


def token(
    name: str = "one", algorithm: str = "RS256", *, kid: str | None = None, key: Any = None, **claims: Any
) -> str:
    """A token that holds for ten minutes; a claim of None is left out."""
    content = {"sub": "lee", "aud": AUDIENCE, "iss": ISSUER, "exp": time.time() + 600, "scope": "predict"} | claims
    content = {claim: value for claim, value in content.items() if value is not None}
    signing = key if key is not None else ec_key(name) if algorithm == "ES256" else rsa_key(name)
    header = {"kid": kid or (f"{name}-ec" if algorithm == "ES256" else name)}
    return jwt.encode(content, signing, algorithm, headers=header)


def front(folder: Path, *, workers: int = 1, **declared: Any) -> Gateway:
    """A gateway, not started, whose door is declared so."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump({"schema": 1} | declared))
    return Gateway(folder / "gateway", workers=workers, extra=["--config", str(path)])

"""Only a key or a token that holds opens the door, and nothing says why another did not."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from pipelines.serving.data_plane.authentication import (
    AuthenticatedClient,
    Authenticator,
    KeySetMissing,
    NotAuthenticated,
    public_keys,
)
from pipelines.serving.settings import ApiKeyConfig, AuthenticationConfig, JwtConfig
from tests.serving.front_gateways import AUDIENCE, ISSUER, KEYS, key_set, rsa_key, sha256, token

NOW = 1_800_000_000.0


def declared(*keys: ApiKeyConfig, tokens: JwtConfig | None = None) -> AuthenticationConfig:
    return AuthenticationConfig(list(keys), tokens, None, ["health", "ready"], 60)


def tokens(path: Path, *algorithms: str) -> JwtConfig:
    return JwtConfig(list(algorithms or ("RS256", "ES256")), f"file:{path}", 300, None, AUDIENCE, ISSUER, 30, "scope")


@pytest.fixture
def access(tmp_path: Path) -> Authenticator:
    (tmp_path / "jwks.json").write_text(json.dumps(key_set("one")))
    return Authenticator(declared(tokens=tokens(tmp_path / "jwks.json")), tmp_path)


def bearer(value: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {value}".encode()}


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({b"x-api-key": KEYS["caller"].encode()}, True),
        (bearer(KEYS["caller"]), True),
        ({b"authorization": b"bearer " + KEYS["caller"].encode()}, True),
        ({b"x-api-key": b"wrong"}, False),
        ({b"x-api-key": b""}, False),
        ({b"x-api-key": sha256(KEYS["caller"]).encode()}, False),
        ({b"x-api-key": KEYS["old"].encode()}, False),
        ({b"authorization": b"Basic " + KEYS["caller"].encode()}, False),
        ({b"authorization": b"Bearer"}, False),
        ({}, False),
    ],
)
def test_a_key_is_known_by_its_digest_until_it_expires(
    headers: dict[bytes, bytes], known: bool, tmp_path: Path
) -> None:
    caller = ApiKeyConfig("caller", sha256(KEYS["caller"]), ["predict"], None)
    old = ApiKeyConfig("old", sha256(KEYS["old"]), ["predict"], NOW - 1)
    access = Authenticator(declared(caller, old), tmp_path, now=lambda: NOW)
    if known:
        assert access.authenticate(headers) == AuthenticatedClient("key:caller", frozenset({"predict"}))
    else:
        with pytest.raises(NotAuthenticated):
            access.authenticate(headers)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_token_of_the_provider_names_its_subject_and_scopes(access: Authenticator, algorithm: str) -> None:
    client = access.authenticate(bearer(token(algorithm=algorithm, scope="predict admin email")))
    assert (client.name, client.scopes) == ("sub:lee", {"predict", "admin"})
    assert access.authenticate(bearer(token(algorithm=algorithm, scope=["predict"]))).scopes == {"predict"}


def public_pem() -> bytes:
    return (
        rsa_key("one")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def forged_by_public_key() -> str:
    """The classic confusion: HS256 with the provider's public key as the secret."""
    import base64
    import hashlib
    import hmac

    def part(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    claims = {"sub": "lee", "aud": AUDIENCE, "iss": ISSUER, "exp": time.time() + 600, "scope": "admin"}
    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    signed = head + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.new(public_pem(), signed, hashlib.sha256).digest())).decode()


BAD: dict[str, Any] = {
    "expired": lambda: token(exp=time.time() - 60),
    "not yet valid": lambda: token(nbf=time.time() + 600),
    "another audience": lambda: token(aud="billing"),
    "another issuer": lambda: token(iss="https://evil.example/"),
    "no expiry": lambda: token(exp=None),
    "no audience": lambda: token(aud=None),
    "no issuer": lambda: token(iss=None),
    "no subject": lambda: token(sub=None),
    "altered signature": lambda: token()[:-6] + "AAAAAA",
    "signed by a stranger under a known name": lambda: token("stranger", kid="one"),
    "a name nobody knows": lambda: token("stranger"),
    "an algorithm that is not pinned": lambda: jwt.encode(
        {"sub": "lee", "aud": AUDIENCE, "iss": ISSUER, "exp": time.time() + 600},
        rsa_key("one"),
        "RS512",
        {"kid": "one"},
    ),
    "unsigned": lambda: jwt.encode(
        {"sub": "lee", "aud": AUDIENCE, "iss": ISSUER, "exp": time.time() + 600}, None, "none", {"kid": "one"}
    ),
    "public key as secret": forged_by_public_key,
    "RSA token under the EC key's name": lambda: token(kid="one-ec"),
    "not a token": lambda: "a.b.c",
    "empty parts": lambda: "..",
}


@pytest.mark.parametrize("name", BAD)
def test_a_token_that_does_not_hold_is_unknown(access: Authenticator, name: str) -> None:
    with pytest.raises(NotAuthenticated):
        access.authenticate(bearer(BAD[name]()))


def test_a_token_that_was_judged_once_still_expires(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps(key_set("one")))
    clock = [time.time()]
    access = Authenticator(declared(tokens=tokens(tmp_path / "jwks.json")), tmp_path, now=lambda: clock[0])
    sent = bearer(token())
    assert access.authenticate(sent).name == "sub:lee"
    clock[0] += 700
    with pytest.raises(NotAuthenticated):
        access.authenticate(sent)


def test_a_key_taken_out_of_the_set_closes_the_door_to_tokens_already_judged(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(key_set("one")))
    clock = [time.time()]
    access = Authenticator(declared(tokens=tokens(path)), tmp_path, now=lambda: clock[0])
    access.authenticate(bearer(token("one")))
    path.write_text(json.dumps(key_set("two")))
    os.utime(path, ns=(1, 1))
    clock[0] += 2
    with pytest.raises(NotAuthenticated):
        access.authenticate(bearer(token("one")))
    assert access.authenticate(bearer(token("two"))).name == "sub:lee"


def test_a_broken_key_set_leaves_the_last_one_in_force(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(key_set("one")))
    clock = [time.time()]
    access = Authenticator(declared(tokens=tokens(path)), tmp_path, now=lambda: clock[0])
    access.authenticate(bearer(token()))
    path.write_text("<html>")
    clock[0] += 2
    assert access.authenticate(bearer(token(sub="kim"))).name == "sub:kim"


def test_without_any_key_set_a_token_can_be_tried_again(tmp_path: Path) -> None:
    access = Authenticator(declared(tokens=tokens(tmp_path / "absent.json")), tmp_path)
    with pytest.raises(KeySetMissing):
        access.authenticate(bearer(token()))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"keys": 1}', b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AA"}]}', b'{"keys": [1]}']
)
def test_what_holds_no_public_key_is_no_key_set(content: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        public_keys(content)

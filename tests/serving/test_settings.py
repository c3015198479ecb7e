"""A door that is declared wrongly stays shut, and says everything that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.errors import Refused
from pipelines.serving import settings
from pipelines.serving.settings import GatewayConfig, load_config
from pipelines.settings import REPOSITORY
from tests.serving.front_gateways import AUDIENCE, ISSUER, sha256
from tests.serving.gateway_process import Gateway

KEY = {"id": "a", "sha256": "0" * 64}
JWT = {"audience": AUDIENCE, "issuer": ISSUER}


def door(tmp_path: Path, content: Any, host: str = "127.0.0.1", workers: int = 1) -> GatewayConfig:
    path = tmp_path / "gateway.yaml"
    text = content if isinstance(content, str | bytes) else yaml.safe_dump({"schema": 1} | content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path, host, workers)


def test_the_default_file_says_what_no_file_says() -> None:
    path = REPOSITORY / "include" / "gateway.yaml"
    assert load_config(path, "127.0.0.1", 1) == load_config(None, "127.0.0.1", 1) == GatewayConfig()
    assert path.read_text().startswith("# yaml-language-server: $schema=schemas/gateway.schema.json\n")


def test_the_door_of_the_compose_stack_may_be_opened() -> None:
    found = load_config(REPOSITORY / "deploy" / "compose" / "gateway.yaml", "0.0.0.0", 2)
    assert found.authentication is not None
    assert settings.security_warnings(found)[0].startswith("everyone who reaches the public listener may predict")


BAD: list[tuple[str, Any, list[str]]] = [
    ("a typo", {"limitz": {}}, ["limitz: unknown field; remove it or correct the spelling (line 1)"]),
    (
        "two faults",
        {"rate": {"per_minute": 0, "burst": 0}},
        ["rate.per_minute: must be above 0.0 (got 0) (line 3)", "rate.burst: must be at least 1 (got 0) (line 2)"],
    ),
    ("no YAML", "{", ["fields that { begin have no }", "(line"]),
    ("no UTF-8", b"schema: 1\n# \xff", ["it is not UTF-8; save it as UTF-8 (line 2)"]),
    ("a field given twice", "schema: 1\nlog: {}\nlog: {}", ["'log' is given twice; remove one of them (line 3)"]),
    ("a list", "[]", ["start it with `schema: 1`"]),
    ("another schema", "schema: 2", ["schema: must be 1 (got 2) (line 1)"]),
    ("authentication by nobody", {"authentication": {}}, ["declare keys or jwt"]),
    (
        "an open door without a reason",
        {"authentication": {"anonymous": "x"}},
        ["anonymous: must not be empty; it needs at least 10 character(s)"],
    ),
    ("a key in clear", {"authentication": {"keys": [KEY | {"sha256": "secret"}]}}, ["sha256"]),
    ("a key twice", {"authentication": {"keys": [KEY, KEY]}}, ["two keys are called a", "the same sha256"]),
    ("expiry without zone", {"authentication": {"keys": [KEY | {"expires": "2027-01-01T00:00:00"}]}}, ["no time zone"]),
    ("tokens without keys", {"authentication": {"jwt": JWT}}, ["key_set is needed for"]),
    (
        "a password in an address",
        {"authentication": {"jwt": JWT | {"key_set": "https://airworthy:tell-nobody@identity.example/jwks"}}},
        ["'https://***@identity.example/jwks'", "without a password"],
    ),
    ("plain http", {"authentication": {"jwt": JWT | {"key_set": "http://identity.example/jwks"}}}, ["https URL"]),
    (
        "HS256 beside RS256",
        {"authentication": {"jwt": JWT | {"algorithms": ["HS256", "RS256"], "development_secret": "env:A"}}},
        ["HS256 cannot be combined"],
    ),
    (
        "a secret in clear",
        {"authentication": {"jwt": JWT | {"algorithms": ["HS256"], "development_secret": "s3cret"}}},
        ["development_secret"],
    ),
    (
        "a secret that is not there",
        {"authentication": {"jwt": JWT | {"algorithms": ["HS256"], "development_secret": "env:NOT_SET_ANYWHERE"}}},
        ["env:NOT_SET_ANYWHERE cannot be read; set it before the gateway starts (line 6)"],
    ),
    ("redis", {"cache": {"backend": "redis"}}, ["redis is not served"]),
    ("hash without secret", {"privacy": {"columns": {"m": {"c": "hash"}}}}, ["hash needs privacy.secret"]),
    ("an unknown treatment", {"privacy": {"columns": {"m": {"c": "encrypt"}}}}, ["privacy.columns.m.c"]),
    ("a sample of nothing", {"log": {"sample": 0}}, ["log.sample"]),
]


@pytest.mark.parametrize(("content", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_faulty_declaration_is_refused_with_its_faults(tmp_path: Path, content: Any, says: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        door(tmp_path, content)
    assert [phrase for phrase in says if phrase not in str(caught.value)] == [], str(caught.value)
    assert "tell-nobody" not in str(caught.value)


def test_a_short_secret_is_refused_without_being_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "hunter2")
    with pytest.raises(Refused, match="has 7 bytes") as caught:
        door(tmp_path, {"privacy": {"secret": "env:SHORT", "columns": {"m": {"c": "hash"}}}})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "gateway.example"])
def test_a_listener_that_others_reach_needs_authentication(tmp_path: Path, host: str) -> None:
    with pytest.raises(Refused, match="reachable from outside without authentication"):
        load_config(None, host, 1)
    assert door(tmp_path, {"authentication": {"keys": [KEY]}}, host).authentication


def test_a_shared_secret_for_tokens_is_for_loopback_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED", "0123456789abcdef0123456789abcdef")
    content = {"authentication": {"jwt": JWT | {"algorithms": ["HS256"], "development_secret": "env:SHARED"}}}
    found = door(tmp_path, content)
    assert settings.security_warnings(found) == [
        "tokens are signed with a shared secret (HS256); use that for development only"
    ]
    with pytest.raises(Refused, match="HS256 is only for development"):
        door(tmp_path, content, "0.0.0.0")


def test_what_workers_read_is_what_was_declared_and_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEPPER", "pepper-pepper-pepper-pepper-pepper")
    privacy = {"secret": "env:PEPPER", "columns": {"m": {"c": "hash"}}, "net": True}
    found = door(tmp_path, {"authentication": {"keys": [KEY | {"sha256": sha256("k")}]}, "privacy": privacy}, workers=3)
    assert settings.read_config(settings.write_config(tmp_path, found)) == found
    written = tmp_path / settings.CONFIG_FILE
    assert (b"pepper-pepper" in written.read_bytes(), oct(written.stat().st_mode)[-3:]) == (False, "600")
    assert settings.read_config(tmp_path / "elsewhere") == GatewayConfig()


def test_a_gateway_that_others_would_reach_does_not_start_open(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, extra=["--host", "0.0.0.0"])
    with pytest.raises(AssertionError, match="declare authentication"):
        gateway.start()


@pytest.mark.parametrize(("option", "says"), [("--workers", "workers"), ("--max-rows", "max-rows")])
def test_an_option_below_one_is_refused(tmp_path: Path, option: str, says: str) -> None:
    gateway = Gateway(tmp_path, extra=[option, "0"])
    with pytest.raises(AssertionError, match=f"--{says} is 0"):
        gateway.start()

"""The provider's keys are fetched beside the data path: it may be slow, wrong or down, and tokens are judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipelines.serving.settings import KEY_SET_FILE
from tests.serving.front_gateways import AUDIENCE, ISSUER, front, key_set, token
from tests.serving.gateway_process import Gateway, write_bundle

ROW = {"inputs": [["UA", 1, 2]]}


class Provider:
    """An identity provider whose answer a test sets."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, json.dumps(key_set("one")).encode(), 0
        provider = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                self.send_response(provider.status)
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/jwks.json"


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def gateway(tmp_path: Path, provider: Provider) -> Iterator[Gateway]:
    """Not started."""
    declared = {"key_set": provider.url, "refresh_seconds": 5, "audience": AUDIENCE, "issuer": ISSUER}
    found = front(tmp_path, authentication={"jwt": declared})
    yield found
    found.stop()


def code(gateway: Gateway, name: str) -> int:
    return gateway.invoke(ROW, authorization=f"Bearer {token(name)}").status_code


def test_keys_are_changed_without_a_restart_and_kept_while_the_provider_fails(
    gateway: Gateway, provider: Provider, tmp_path: Path
) -> None:
    gateway.start().release("1", write_bundle(tmp_path / "bundles", "1"))
    gateway.wait_for(lambda: code(gateway, "one") == 200)
    assert code(gateway, "two") == 401
    provider.status, provider.body = 500, b"down"
    asked = provider.asked
    gateway.wait_for(lambda: provider.asked > asked)
    assert code(gateway, "one") == 200
    provider.status, provider.body = 200, json.dumps(key_set("two")).encode()
    gateway.wait_for(lambda: code(gateway, "two") == 200)
    assert code(gateway, "one") == 401


def test_after_a_restart_with_the_provider_down_the_last_keys_are_still_there(
    gateway: Gateway, provider: Provider, tmp_path: Path
) -> None:
    gateway.start().release("1", write_bundle(tmp_path / "bundles", "1"))
    gateway.wait_for(lambda: code(gateway, "one") == 200)
    gateway.stop()
    provider.status = 503
    gateway.start()
    assert code(gateway, "one") == 200


def test_before_any_key_is_known_a_token_is_told_to_try_again(
    gateway: Gateway, provider: Provider, tmp_path: Path
) -> None:
    provider.body = b"<html>login</html>"
    gateway.start().release("1", write_bundle(tmp_path / "bundles", "1"))
    response = gateway.invoke(ROW, authorization=f"Bearer {token('one')}")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert not (gateway.folder / "state" / KEY_SET_FILE).exists()


def test_keys_of_another_provider_are_not_trusted_after_the_declaration_changed(
    gateway: Gateway, provider: Provider, tmp_path: Path
) -> None:
    gateway.start().release("1", write_bundle(tmp_path / "bundles", "1"))
    gateway.wait_for(lambda: code(gateway, "one") == 200)
    gateway.stop()
    path = tmp_path / "gateway.yaml"
    path.write_text(path.read_text().replace("jwks.json", "moved.json"))
    provider.status = 503
    gateway.start()
    assert code(gateway, "one") == 503

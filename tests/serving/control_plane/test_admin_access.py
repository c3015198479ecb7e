"""The admin listener answers who has its token and asks this machine by its name, and takes bundles from the store."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import httpx
import pytest

from pipelines.serving.control_plane.admin_access import AdminAccess
from pipelines.serving.files import is_below
from tests.serving.gateway_process import Gateway, write_bundle

TOKEN = "a token of the tests alone"
BEARER = b"Bearer " + TOKEN.encode()
BASIC = b"Basic " + base64.b64encode(b"anybody:" + TOKEN.encode())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({b"host": b"127.0.0.1:8901", b"authorization": BEARER}, None),
        ({b"host": b"localhost:8901", b"authorization": BEARER}, None),
        ({b"host": b"[::1]:8901", b"authorization": BASIC}, None),
        ({b"host": b"127.0.0.1:8901", b"authorization": b"bearer  " + TOKEN.encode()}, None),
        ({b"host": b"127.0.0.1:8901"}, 401),
        ({b"host": b"127.0.0.1:8901", b"authorization": b"Bearer "}, 401),
        ({b"host": b"127.0.0.1:8901", b"authorization": b"Bearer guess"}, 401),
        ({b"host": b"127.0.0.1:8901", b"authorization": TOKEN.encode()}, 401),
        ({b"host": b"127.0.0.1:8901", b"authorization": b"Basic ???"}, 401),
        ({b"host": b"rebound.example:8901", b"authorization": BEARER}, 403),
        ({b"host": b"127.0.0.1.example", b"authorization": BEARER}, 403),
        ({b"host": b"[::1", b"authorization": BEARER}, 403),
        ({b"host": b"", b"authorization": BEARER}, 403),
        ({b"authorization": BEARER}, 403),
        ({b"host": b"127.0.0.1:8901", b"authorization": BEARER, b"origin": b"http://127.0.0.1:8080"}, 403),
        ({b"host": b"127.0.0.1:8901", b"authorization": BEARER, b"origin": b"null"}, 403),
    ],
)
def test_only_the_token_by_a_name_of_this_machine_and_from_no_page_is_let_in(
    headers: dict[bytes, bytes], status: int | None
) -> None:
    fault = AdminAccess(TOKEN, local_only=True).fault(headers)
    assert (None if fault is None else fault[0]) == status


def test_a_listener_beyond_loopback_has_names_of_its_own_and_the_same_token() -> None:
    access = AdminAccess(TOKEN, local_only=False)
    assert access.fault({b"host": b"gateway:8901", b"authorization": BEARER}) is None
    assert access.fault({b"host": b"gateway:8901"}) is not None


@pytest.mark.parametrize(
    ("uri", "root", "below"),
    [
        ("{tmp}/store/bundles/m/1", "{tmp}/store", True),
        ("file://{tmp}/store/bundles/m/1", "{tmp}/store", True),
        ("{tmp}/store/../elsewhere", "{tmp}/store", False),
        ("{tmp}/stores/m", "{tmp}/store", False),
        ("{tmp}/store/link/m", "{tmp}/store", False),
        ("/etc", "{tmp}/store", False),
        ("s3://bucket/air/bundles/m/1", "s3://bucket/air", True),
        ("s3://bucket/airs/m", "s3://bucket/air", False),
        ("s3://bucket/air/../m", "s3://bucket/air", False),
        ("s3://bucket/air/%2e%2e/m", "s3://bucket/air", False),
        ("s3://other/air/m", "s3://bucket/air", False),
        ("http://169.254.169.254/air", "s3://bucket/air", False),
        ("{tmp}/store/m", "s3://bucket/air", False),
        ("s3://bucket/air/m", "{tmp}/store", False),
    ],
)
def test_a_bundle_lies_below_the_store_whatever_way_it_is_spelled(
    uri: str, root: str, below: bool, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / "link").symlink_to(tmp_path / "elsewhere")
    assert is_below(uri.format(tmp=tmp_path), [root.format(tmp=tmp_path)]) == below


def test_a_running_gateway_refuses_strangers_and_bundles_from_elsewhere(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", bundles=tmp_path / "store")
    try:
        gateway.start()
        assert stat.S_IMODE((gateway.folder / "state").stat().st_mode) == 0o700, "its log holds what callers sent"
        bare = f"http://127.0.0.1:{gateway.admin_port}"
        assert httpx.get(f"{bare}/health").status_code == 200
        for page in ("/models", "/metrics", "/ready", "/models/flight_delay/history"):
            assert httpx.get(bare + page).status_code == 401, page
        assert httpx.get(f"{gateway.admin}/models", headers={"host": "rebound.example"}).status_code == 403
        elsewhere = gateway.release("1", write_bundle(tmp_path / "elsewhere", "1"))
        assert (elsewhere.status_code, "does not lie below" in elsewhere.text) == (422, True)
        assert gateway.release("1", write_bundle(tmp_path / "store", "1")).status_code == 200
    finally:
        gateway.stop()

"""Bundles come from, and the prediction log goes to, a folder or an object store alike."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipelines.serving.files import read_file, write_file
from pipelines.serving.models.bundle import BundleRefused, fetch
from tests.serving.gateway_process import write_bundle


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="airworthy")
    yield "s3://airworthy/store"
    server.stop()


def test_a_file_in_a_bucket_is_written_and_read_whole(bucket: str) -> None:
    write_file(f"{bucket}/predictions/a.parquet", b"one")
    write_file(f"{bucket}/predictions/a.parquet", b"two")
    assert read_file(f"{bucket}/predictions/a.parquet") == b"two"
    with pytest.raises(FileNotFoundError):
        read_file(f"{bucket}/predictions/b.parquet")


def test_a_bundle_is_fetched_from_a_bucket_and_verified(bucket: str, tmp_path: Path) -> None:
    folder, sha256 = write_bundle(tmp_path / "built", "1")
    for path in Path(folder).iterdir():
        write_file(f"{bucket}/bundles/m/1/{path.name}", path.read_bytes())
    cached = fetch(f"{bucket}/bundles/m/1/", sha256, tmp_path / "cache")
    assert (cached / "model.onnx").read_bytes() == (Path(folder) / "model.onnx").read_bytes()
    write_file(f"{bucket}/bundles/m/1/model.onnx", b"other")
    assert fetch(f"{bucket}/bundles/m/1/", sha256, tmp_path / "cache") == cached, "the cache is served, not the bucket"
    with pytest.raises(BundleRefused, match=r"model\.onnx has sha256"):
        fetch(f"{bucket}/bundles/m/1/", sha256, tmp_path / "another")
    assert list((tmp_path / "another").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"files": {"../../secret": "0" * 64}}, "'../../secret' points outside the bundle"),
        ({"files": {"/etc/passwd": "0" * 64}}, "'/etc/passwd' points outside the bundle"),
        ({"files": {"..\\secret": "0" * 64}}, "points outside the bundle"),
        ({"files": {"a//b": "0" * 64}}, "points outside the bundle"),
        ({"entry": "../model.onnx"}, "'../model.onnx' points outside the bundle"),
        ({"entry": "/tmp/model.onnx"}, "'/tmp/model.onnx' points outside the bundle"),
        ({"entry": "other.onnx"}, "entry 'other.onnx' is not among the files"),
        ({"entry": "model"}, "entry 'model' is not among the files"),
        ({"version": "1\r\nset-cookie: a=b"}, "is not 1 to 64 letters, digits, dots and dashes"),
        ({"version": "../2"}, "is not 1 to 64 letters, digits, dots and dashes"),
        ({"version": "\u0661"}, "is not 1 to 64 letters, digits, dots and dashes"),
        ({"entry": ""}, "points outside the bundle"),
    ],
)
def test_a_manifest_that_points_outside_its_bundle_or_at_a_file_without_a_digest_is_refused(
    change: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    folder, _ = write_bundle(tmp_path, "1")
    path = Path(folder) / "bundle.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"] |= change.pop("files", {})
    path.write_text(json.dumps(manifest | change))
    with pytest.raises(BundleRefused, match=re.escape(fault)):
        fetch(folder, hashlib.sha256(path.read_bytes()).hexdigest(), tmp_path / "cache")


@pytest.mark.parametrize("digest", ["../kept", "", ".", "..", "{tmp}/kept", "A" * 64, "0" * 63, "0" * 64 + "/../kept"])
def test_what_is_no_digest_names_no_folder_and_removes_none(digest: str, tmp_path: Path) -> None:
    uri, _ = write_bundle(tmp_path, "1")
    (tmp_path / "cache").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("a file of somebody else")
    with pytest.raises(BundleRefused, match="is no sha256 of 64 hex digits"):
        fetch(uri, digest.format(tmp=tmp_path), tmp_path / "cache")
    assert (tmp_path / "kept" / "file").exists()
    assert (tmp_path / "cache").exists()

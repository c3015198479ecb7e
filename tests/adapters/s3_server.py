"""S3 and SQS over HTTP in a process of their own: moto's server, with conditional writes that hold among rivals.

moto looks whether a key exists and then writes it, two requests at once may both find none. Real S3 decides that in one
go, so writes pass through a lock here, one at a time (``locked=False``: as moto does it). ``GET /_served`` returns the
requests so far as ``[method, path?query, status]``.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

KEYS = {"aws_access_key_id": "AKIATESTTESTTESTTEST", "aws_secret_access_key": "a-secret-that-nobody-may-read"}
REGION = "us-east-1"
BUCKET = "models"


@dataclass
class S3Server:
    url: str

    @property
    def options(self) -> dict[str, str]:
        """Storage options of a Delta store here."""
        named = {"AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION}
        return named | {key.upper(): value for key, value in KEYS.items()}

    def client(self, service: str) -> Any:
        import boto3  # type: ignore[import-untyped]

        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **KEYS)

    def served(self) -> list[tuple[str, str, int]]:
        with urllib.request.urlopen(f"{self.url}/_served") as answer:
            return [tuple(line) for line in json.load(answer)]


@contextmanager
def s3_server(*, locked: bool = True, sagemaker: bool = False) -> Iterator[S3Server]:
    """A server with one bucket ``models``; ``sagemaker``: with what moto lacks of its endpoints."""
    from tests.free_port import free_port  # not where this file is the server itself

    port = free_port()
    command = [sys.executable, str(Path(__file__)), str(port), "locked" if locked else "as it is"]
    command += ["sagemaker"] if sagemaker else []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1800):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        server = S3Server(f"http://127.0.0.1:{port}")
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield server
    finally:
        process.terminate()
        process.wait(60)


def serve(port: int, *, locked: bool) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    application, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
    application.get_backend_for_host = cache(application.get_backend_for_host)  # it looks at moto's folders each time
    served: list[tuple[str, str, str]] = []

    def answer(environment: dict[str, Any], start: Any) -> Any:
        if environment["PATH_INFO"] == "/_served":
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(served).encode()]
        asked = environment["PATH_INFO"] + ("?" + environment["QUERY_STRING"] if environment["QUERY_STRING"] else "")

        def begin(status: str, *more: Any) -> Any:
            served.append((environment["REQUEST_METHOD"], asked, int(status.split()[0])))
            return start(status, *more)

        if locked and environment["REQUEST_METHOD"] == "PUT":
            with lock:
                return application(environment, begin)
        return application(environment, begin)

    run_simple("127.0.0.1", port, answer, threaded=True)


if __name__ == "__main__":
    if "sagemaker" in sys.argv:
        import pytest

        sys.path.insert(0, str(Path(__file__).parents[2]))
        from tests.adapters.local_aws import extend

        extend(pytest.MonkeyPatch())
    serve(int(sys.argv[1]), locked=sys.argv[2] == "locked")

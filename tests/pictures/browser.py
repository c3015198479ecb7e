"""Chromium without a window, told by its own protocol what to show; it takes pictures of pages."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.free_port import free_port

PATIENCE = 90.0


class Page:
    """One tab of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        for domain in ("Page", "Runtime"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer: dict[str, Any] = json.loads(self._socket.recv(PATIENCE))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def evaluate(self, script: str) -> Any:
        """The value of an expression of the page's script."""
        return self._call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def set_cookie(self, name: str, value: str, address: str) -> None:
        self._call("Network.setCookie", name=name, value=value, url=address)

    def show(self, address: str, text: str) -> None:
        """Open a page and wait until it shows a text."""
        self._call("Page.navigate", url=address)
        self.wait_for(f"document.body && document.body.innerText.includes({json.dumps(text)})")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true, and then until nothing moves any more."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                shown = str(self.evaluate("document.body.innerText"))[:500]
                raise TimeoutError(f"{condition} is not true at {self.evaluate('location.href')}, which shows: {shown}")
            time.sleep(0.2)
        time.sleep(3)

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)

    def picture(self, file: Path, corner: tuple[int, int], size: tuple[int, int]) -> None:
        """Write what a window of this size shows to the right of and below the corner."""
        (x, y), (width, height) = corner, size
        clip = {"x": x, "y": y, "width": width - x, "height": height - y, "scale": 1}
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png", clip=clip)["data"]))


@contextlib.contextmanager
def browser(program: str, profile: Path) -> Iterator[Page]:
    """A browser with a profile of its own, which ends with the block."""
    port = free_port()
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1440,900"]
    command = [program, *flags, f"--remote-debugging-port={port}", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_address(port), max_size=2**27) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(30)


def _address(port: int) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(httpx.TransportError):
            tabs = httpx.get(f"http://127.0.0.1:{port}/json/list").json()
            if found := [tab for tab in tabs if tab["type"] == "page"]:
                return str(found[0]["webSocketDebuggerUrl"])
        if time.monotonic() > deadline:
            raise TimeoutError("the browser does not answer")
        time.sleep(0.2)

"""Callers who ask one row after another, and remember every answer."""

from __future__ import annotations

import threading
import time

import httpx

from tests.serving.gateway_process import COLUMNS, ROWS, Gateway


class Load(threading.Thread):
    """Sends one row after another on one connection until stopped; notes every id that was answered."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        super().__init__(daemon=True)
        self._gateway, self._name = gateway, name
        self._stop_asked = threading.Event()
        self.answered: list[tuple[str, float]] = []
        self.sent: list[float] = []
        """When each answered request was sent; ``versions`` says by what it was answered."""
        self.versions: list[str] = []
        self.failures: list[str] = []

    def run(self) -> None:
        with httpx.Client(timeout=60) as client:
            self._send(client)

    def _send(self, client: httpx.Client) -> None:
        number = 0
        while not self._stop_asked.is_set():
            number += 1
            one = f"{self._name}-{number}"
            sent = time.monotonic()
            content = {"dataframe_split": {"columns": COLUMNS, "data": ROWS[:1]}, "ids": [one]}
            try:
                response = client.post(f"{self._gateway.base}/invocations", json=content)
            except httpx.HTTPError as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                continue
            if response.status_code != 200:
                self.failures.append(f"{response.status_code}: {response.text}")
                continue
            self.sent.append(sent)
            self.answered.append((one, time.monotonic()))
            self.versions.append(response.headers["x-model-version"])

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(60)

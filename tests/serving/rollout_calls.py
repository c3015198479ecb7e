"""The admin listener's rollout pages as a test calls them: the newest generation and a new key, unless it says so."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.serving.candidates import Fault, write_candidate
from tests.serving.gateway_process import COLUMNS, Gateway
from tests.serving.load import Load

GUARD = {"max_error_rate": 0.2}
CHAMPION = 0.5
_keys = itertools.count()


class Rollout:
    """One rollout on a gateway: of flight_delay, whose champion is version 1, which answers 0.5, or of ``model``."""

    def __init__(self, gateway: Gateway, folder: Path, rollout_id: str = "r1", model: str = "flight_delay") -> None:
        self.gateway, self.folder, self.id, self.name = gateway, folder, rollout_id, model
        self.model = f"{gateway.admin}/models/{model}"

    def champion(self) -> Rollout:
        """Make version 1 live."""
        response = self.release("1", answer=CHAMPION)
        assert response.status_code == 200, response.text
        return self

    def release(self, version: str, **how: Any) -> httpx.Response:
        return self.gateway.release(version, self.write(version, **how), model=self.name)

    def write(self, version: str, fault: Fault = "none", **how: Any) -> tuple[str, str]:
        """A bundle of the model; its URI and digest."""
        return write_candidate(self.folder, version, fault, model=self.name, **how)

    def invoke(self, content: Any = None, **headers: str) -> httpx.Response:
        """One request to the model, of one good row if none is given."""
        return self.gateway.invoke(body(row()) if content is None else content, **{"x-model": self.name}, **headers)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.model}/rollout", timeout=30).json()
        return found

    def call(self, verb: str, content: Any, *, match: int | None = None, key: str = "") -> httpx.Response:
        """``verb`` is empty for the PUT that creates it."""
        headers = {"idempotency-key": key or f"k{next(_keys)}"}
        headers["if-match"] = f'"{self.state()["generation"] if match is None else match}"'
        url = f"{self.model}/rollouts/{self.id}" + (f"/{verb}" if verb else "")
        return httpx.request("POST" if verb else "PUT", url, json=content, headers=headers, timeout=120)

    def create(self, **plan: Any) -> httpx.Response:
        return self.call("", {"strategy": "canary", "lease_seconds": 600, "guard": GUARD, "deadline_ms": 500} | plan)

    def prepare(self, fault: Fault = "none", version: str = "2", **how: Any) -> httpx.Response:
        uri, sha256 = self.write(version, fault, **how)
        return self.call("prepare", {"version": version, "bundle": uri, "sha256": sha256})

    def traffic(self, share: int, version: str = "2") -> httpx.Response:
        champion = self.state()["champion"]["version"]
        return self.call("traffic", {"split": {champion: 10_000 - share, version: share}})

    def begin(self, fault: Fault = "none", share: int = 0, **plan: Any) -> Rollout:
        """Create, prepare and, if a share is given, send traffic."""
        for response in (self.create(**plan), self.prepare(fault)):
            assert response.status_code == 200, response.text
        if share:
            response = self.traffic(share)
            assert response.status_code == 200, response.text
        return self

    def rollback(self) -> None:
        """The one call that needs no generation."""
        url, key = f"{self.model}/rollouts/{self.id}/rollback", {"idempotency-key": f"back-{self.name}-{self.id}"}
        httpx.post(url, json={"reason": "drill"}, headers=key, timeout=30).raise_for_status()

    def counts(self) -> dict[str, dict[str, Any]]:
        """Counts of the present step by role."""
        found = httpx.get(f"{self.model}/rollouts/{self.id}/counts", timeout=30).json()
        return {arm["role"]: arm for arm in found["arms"] if arm["step"] == found["step"]}

    def phase(self) -> str:
        phase: str = self.state()["rollout"]["phase"]
        return phase


@dataclass
class RolledBack:
    """One rollback: seconds from asking for it to the candidate's last answer, and who answered what was sent later."""

    seconds: float
    later: set[str]


def roll_back_under_load(gateway: Gateway, folder: Path, times: int) -> tuple[list[RolledBack], list[Load]]:
    """Take a candidate that has half of the traffic of two callers back, again and again."""
    Rollout(gateway, folder / "bundles").champion()
    loads = [Load(gateway, str(number)) for number in range(2)]
    for load in loads:
        load.start()
    found = []
    for number in range(times):
        one = Rollout(gateway, folder / f"bundles{number}", f"r{number}").begin(share=5000)
        gateway.wait_for(lambda: all("2" in load.versions[-40:] for load in loads))
        asked = time.monotonic()
        one.rollback()
        answered = time.monotonic()
        time.sleep(0.3)
        told = [each for load in loads for each in zip(load.sent[:], load.answered[:], load.versions[:], strict=False)]
        last = max(at for _, (_, at), version in told if version == "2")
        later = {version for sent, _, version in told if sent > answered}
        found.append(RolledBack(max(0.0, last - asked), later))
    for load in loads:
        load.stop()
    return found, loads


def row(hour: float = 7.0, distance: float = 500.0) -> list[Any]:
    return ["UA", distance, hour]


def body(*rows: list[Any], ids: list[str] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"dataframe_split": {"columns": COLUMNS, "data": list(rows)}}
    return content if ids is None else content | {"ids": ids}


def pids(gateway: Gateway, module: str) -> list[int]:
    """Processes of ``pipelines.serving.<folder>.<module>`` under this gateway."""
    assert gateway.process is not None
    found, look = [], [gateway.process.pid]
    while look:
        pid = look.pop()
        try:
            look += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            if f"pipelines.serving.{module}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found

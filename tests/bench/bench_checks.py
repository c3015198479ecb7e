"""What the checks against greedy callers cost: CPU time per request with and without them, by turns in one worker.

``python -m tests.bench.bench_checks [--rounds 400]``. JSON lines. One worker answers connections of two kinds, which
get the same bytes in turns. Those without the checks count no bytes that are kept, by whom, and no requests sent ahead,
look for no proxy, write to a transport without looking whether it is open, and have no caller in the log; large bodies
are parsed without counting their names. What both kinds keep is older: framing, sizes, credentials, rates, times.
A ratio is the median of the rounds' ratios; ``least`` and ``most`` are the 90 % interval of that median.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipelines.serving.http.listener import answer_queued_requests
from pipelines.serving.http.protocol import MAX_HEADERS, LimitedHttpProtocol
from pipelines.serving.models import rows as rows_module
from tests.bench.bench_inference import PATIENT, Side, chunked, tensors
from tests.bench.bench_serving import GUARDED, bundle, request, say, train

TARGET = 1.03
KINDS = ("without", "with", "twin")
"""Of connections; the twin of those with the checks shows how far the same is from itself."""
SETS = 6
"""Of connections of each kind, made in another order each and asked in turns: a place in memory costs per cents."""


class Unchecked(LimitedHttpProtocol):
    """The protocol without what keeps one caller from taking the shares of others."""

    def _hold_incomplete(self) -> None: ...

    def on_headers_complete(self) -> None:
        self.headers_complete = True
        limit = self.listener.limits.header_bytes
        if self.ended or len(self.headers) > MAX_HEADERS:
            return
        if self.received_bytes > limit or self.piece_bytes > limit:
            head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head_bytes > limit:
                return
        handler = self.listener.inline_handler
        if handler is not None and self._can_answer_inline():
            self.inline_request = handler.begin_request(self.url, self.headers, self.client)
            if self.inline_request is not None:
                self.body_parts = []
                return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        HttpToolsProtocol.on_headers_complete(self)
        self.arriving_cycle = self.cycle

    def on_body(self, body: bytes) -> None:
        if self.inline_request is not None:
            self.body_parts.append(body)
        elif not self.ended:
            HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        self.began_at, self.received_bytes = 0.0, 0
        if self.ended:
            return
        if self.inline_request is not None:
            parts, asked, self.inline_request = self.body_parts, self.inline_request, None
            self.queued_requests += 1
            if asked.problem is None:
                self.waiting_inline += 1
                if not self.is_waiting:
                    self.count_waiting()
            listener = self.listener
            if not listener.queue:
                self.loop.call_soon(answer_queued_requests, listener)
            listener.queue.append((self, asked, parts[0] if len(parts) == 1 else b"".join(parts), None))
            return
        self.arriving_cycle = None
        if not self.cycle.response_complete:
            self.pending_requests += 1
            self.count_waiting()
        HttpToolsProtocol.on_message_complete(self)

    def on_response_complete(self) -> None:
        if self.pending_requests:
            self.pending_requests -= 1
            self.count_waiting()
        HttpToolsProtocol.on_response_complete(self)
        self._send_deferred_refusal()


class Switch:
    """Which connections of a worker are asked, and what else differs between them."""

    def __init__(self, side: Side) -> None:
        config = side._config
        checked: Any = config.http_protocol_class
        unchecked = type("Unchecked", (Unchecked,), {"listener": checked.listener})
        protocols = {"without": unchecked, "with": checked, "twin": checked}
        named = config.app._authenticator._keys
        unnamed = {digest: (key, msgspec.structs.replace(client, name=None)) for digest, (key, client) in named.items()}
        self._side, self._authenticator, self._small = side, config.app._authenticator, rows_module.SMALL_BODY_BYTES
        self._keys = {"without": unnamed, "with": named, "twin": named}
        self._opened: dict[tuple[str, int], Any] = {}
        for number in range(SETS):
            kinds = list(itertools.permutations(KINDS))[number % 6]
            for kind in kinds:
                config.http_protocol_class, side._opened = protocols[kind], []
                side.open()
                self._opened[kind, number] = side._opened

    async def turn(self, kind: str, number: int, content: bytes, times: int) -> float:
        """CPU microseconds per request of a set of connections of this kind."""
        self._side._opened = self._opened[kind, number]
        self._authenticator._keys = self._keys[kind]
        rows_module.SMALL_BODY_BYTES = sys.maxsize if kind == "without" else self._small
        return await self._side.turn(content, times)


async def compare(folder: Path, sealed: tuple[str, str], rows: Any, rounds: int) -> int:
    """Exit status 1 if a request costs more than the target, beyond what the same costs beside itself."""
    switches = {}
    for door, declared in {"log": GUARDED | PATIENT, "cache": GUARDED | PATIENT | {"cache": {}}}.items():
        side = Side("pipelines", folder / door, declared)
        await side.start(sealed)
        switches[door] = Switch(side)
    loads = {
        "MLflow, 1 row": ("log", request(rows, 1), 4),
        "MLflow, 1 row, chunked": ("log", chunked(request(rows, 1)), 4),
        "v2, 1 row": ("log", tensors(rows, 1), 4),
        "MLflow, 100 rows": ("log", request(rows, 100), 1),
        "MLflow, 1 row, cached": ("cache", request(rows, 1), 4),
    }
    random, missed = np.random.default_rng(7), 0
    for load, (door, content, times) in loads.items():
        switch, took = switches[door], {kind: list[float]() for kind in KINDS}
        for kind, number in itertools.product(KINDS, range(SETS)):
            await switch.turn(kind, number, content, 10)
        for turn in range(rounds):
            for kind in list(itertools.permutations(KINDS))[turn // SETS % 6]:
                took[kind].append(await switch.turn(kind, turn % SETS, content, times))
        ratios = np.array(took["with"]) / np.array(took["without"])
        drawn = np.median(random.choice(ratios, (1000, rounds)), axis=1)
        least = round(float(np.percentile(drawn, 5)), 3)
        missed += least > TARGET
        say(
            bench="checks_ratio",
            figure="cpu_us",
            load=load,
            times=round(float(np.median(ratios)), 3),
            least=least,
            most=round(float(np.percentile(drawn, 95)), 3),
            target=TARGET,
            itself=round(float(np.median(np.array(took["twin"]) / np.array(took["with"]))), 3),
            **{kind: round(float(np.median(each)), 1) for kind, each in took.items() if kind != "twin"},
        )
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    model, rows = train()
    with tempfile.TemporaryDirectory() as name:
        sealed = bundle(Path(name) / "bundles", model, rows, "1")
        return uvloop.run(compare(Path(name), sealed, rows, options.rounds))


if __name__ == "__main__":
    sys.exit(main())

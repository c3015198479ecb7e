"""Sends drawn connections to a running gateway and says what went wrong: answers of 5xx, and hangs."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fuzz.raw_http import RawHttp, Sent

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n")
ANSWER_SECONDS = 20.0
"""An answer that takes longer is a hang. Requests that are not whole are ended by the gateway much sooner."""
LEAVE_SECONDS = 0.05
CONNECTIONS = 24


@dataclass
class Findings:
    """Counts of what was answered, and every fault with the bytes that caused it."""

    connections: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def answers(self) -> int:
        return self.statuses.total()


async def drive(host: str, port: int, drawn: Iterator[Sent], findings: Findings, until: float) -> None:
    """Send what is drawn by many clients at once, until there is no more or the time is over."""

    async def client() -> None:
        for sent in drawn:
            await _connect(host, port, sent, findings)
            if time.monotonic() > until or len(findings.faults) > 20:
                return

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))


async def _connect(host: str, port: int, sent: Sent, findings: Findings) -> None:
    received = b""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            for piece in sent.pieces:
                writer.write(piece)
                await writer.drain()
                if len(sent.pieces) > 1:
                    await asyncio.sleep(0)
            while not _is_over(received, sent):
                part = await asyncio.wait_for(
                    reader.read(65536), None if sent.requests or sent.patient else LEAVE_SECONDS
                )
                if not part:
                    break
                received += part
    except TimeoutError:
        if not sent.requests and not sent.patient:
            return
        findings.faults.append(
            f"no answer within {ANSWER_SECONDS:g} s to {sent.content[:600]!r}, but {received[:200]!r}"
        )
    except OSError:  # the gateway refused and closed while bytes were on their way
        pass
    finally:
        writer.close()
        _judge(received, sent, findings)


def _is_over(received: bytes, sent: Sent) -> bool:
    """Whether all answers are there; of requests that are not whole, whether there is any."""
    count = sum(status != b"100" for status in STATUS.findall(received))
    return count >= max(1, sent.requests)


def _judge(received: bytes, sent: Sent, findings: Findings) -> None:
    findings.connections += 1
    statuses = [int(status) for status in STATUS.findall(received)]
    findings.statuses.update(statuses)
    for status in statuses:
        if status >= 500 and not (status == 503 and _is_shed(received)):
            findings.faults.append(f"{status} to {sent.content[:600]!r}: {received[:400]!r}")
            break


def _is_shed(received: bytes) -> bool:
    """Whether a 503 says that something is not there yet, and is no failure."""
    return b"retry-after" in received or b"not ready" in received or b"reasons" in received or b"not live" in received


def connections(draw: RawHttp, count: int) -> Iterator[Sent]:
    return (draw.connection() for _ in range(count))

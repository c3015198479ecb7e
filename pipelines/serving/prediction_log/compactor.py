"""The compactor process: writes segments as Parquet, so that data workers do not wait for it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from pipelines.logs.output import configure
from pipelines.serving.ipc.channel import Channel, Message
from pipelines.serving.prediction_log.compaction import compact_all


async def serve(endpoint: socket.socket, folder: Path, store: str) -> None:
    """Compact when the supervisor asks for it, until the supervisor ends."""

    async def handle(message: Message) -> Message:
        if message["ask"] != "compact":
            return {"error": f"the compactor does not know {message['ask']!r}"}
        return compact_all(folder, store)

    await Channel(endpoint, handle).run()


def main(arguments: list[str]) -> None:
    """``python -m pipelines.serving.prediction_log.compactor <descriptor> <folder> <store>``."""
    descriptor, folder, store = arguments
    # A signal to the process group must not end it before the workers' last segments are in the store.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    configure("gateway", process="compactor")
    asyncio.run(serve(socket.socket(fileno=int(descriptor)), Path(folder), store))


if __name__ == "__main__":
    main(sys.argv[1:])

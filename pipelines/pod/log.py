"""Copies what a pod prints to the store every 5 seconds, so that it can be read once the pod is gone."""

from __future__ import annotations

import os
import sys
import threading

from pipelines.errors import AirworthyError
from pipelines.ports import Store

INTERVAL_SECONDS = 5.0
LONGEST = 2_000_000
"""Bytes kept in the store; of a longer log, the newest."""
LEFT_OUT = b"[earlier lines are left out here; the cluster's own log may still have them]\n"


class LogCopy:
    """While open, all that this process and its libraries print goes on to where it went, and into the store.

    The copy is made at the level of file descriptors, since XGBoost and others print from C. A store that does not
    answer costs the copy, never the work.
    """

    def __init__(self, store: Store, path: str, *, interval: float = INTERVAL_SECONDS) -> None:
        self._store, self._path, self._interval = store, path, interval
        self._kept, self._written = bytearray(), 0
        self._total = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> LogCopy:
        self._saved = [os.dup(1), os.dup(2)]
        reading, writing = os.pipe()
        _flush()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._reader.start()
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        _flush()
        for number, saved in enumerate(self._saved, start=1):
            os.dup2(saved, number)
        self._over.set()
        self._reader.join(timeout=5)
        self._writer.join(timeout=5)
        self._put()

    def _read(self, reading: int) -> None:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                os.write(self._saved[0], chunk)
                with self._lock:
                    self._kept += chunk
                    self._total += len(chunk)
                    del self._kept[: max(0, len(self._kept) - LONGEST)]

    def _write(self) -> None:
        while not self._over.wait(self._interval):
            self._put()

    def _put(self) -> None:
        with self._lock:
            content, total = bytes(self._kept), self._total
        if total == self._written:
            return
        try:
            self._store.put(self._path, content if total <= LONGEST else LEFT_OUT + content)
        except AirworthyError as error:
            os.write(self._saved[0], f"the log could not be copied to the store: {error}\n".encode())
            return
        self._written = total


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()

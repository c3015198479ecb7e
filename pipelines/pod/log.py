"""Copies what a pod prints to the store every 5 seconds, so that it can be read after the pod was deleted."""

from __future__ import annotations

import os
import sys
import threading

from pipelines.errors import AirworthyError
from pipelines.ports import Store

INTERVAL_SECONDS = 5.0
MAX_BYTES = 2_000_000
"""Bytes kept in the store; of a longer log, the newest."""
TRUNCATION_NOTICE = b"[earlier lines are left out here; the cluster's own log may still have them]\n"


class LogCopy:
    """While open, output of this process and its libraries is also copied into the store.

    The copy is made at the level of file descriptors, since XGBoost and others print from C. If the store does
    not answer, the copy is lost and the work continues.
    """

    def __init__(self, store: Store, path: str, *, interval: float = INTERVAL_SECONDS) -> None:
        self._store, self._path, self._interval = store, path, interval
        self._buffer, self._stored = bytearray(), 0
        self._total = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def __enter__(self) -> LogCopy:
        self._saved = [os.dup(1), os.dup(2)]
        reading, writing = os.pipe()
        _flush_streams()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        self._reader = threading.Thread(target=self._copy_output, args=(reading,), daemon=True)
        self._writer = threading.Thread(target=self._store_regularly, daemon=True)
        self._reader.start()
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        _flush_streams()
        for number, saved in enumerate(self._saved, start=1):
            os.dup2(saved, number)
        self._closed.set()
        self._reader.join(timeout=5)
        self._writer.join(timeout=5)
        self._store_log()

    def _copy_output(self, reading: int) -> None:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                os.write(self._saved[0], chunk)
                with self._lock:
                    self._buffer += chunk
                    self._total += len(chunk)
                    del self._buffer[: max(0, len(self._buffer) - MAX_BYTES)]

    def _store_regularly(self) -> None:
        while not self._closed.wait(self._interval):
            self._store_log()

    def _store_log(self) -> None:
        with self._lock:
            content, total = bytes(self._buffer), self._total
        if total == self._stored:
            return
        try:
            self._store.put(self._path, content if total <= MAX_BYTES else TRUNCATION_NOTICE + content)
        except AirworthyError as error:
            os.write(self._saved[0], f"the log could not be copied to the store: {error}\n".encode())
            return
        self._stored = total


def _flush_streams() -> None:
    sys.stdout.flush()
    sys.stderr.flush()

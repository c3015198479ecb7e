"""One rank of a distributed training: it writes its events as lines of JSON and ends with the process that started it.

``python -m pipelines.pod.training_rank <folder> <host> <port> <task> <descriptor> <seconds>`` reads ``work.json`` in
the folder, joins XGBoost's tracker, and writes events as JSON lines to the descriptor. It ends with 75 when its
standard input does. Exit codes are those of ``python -m pipelines``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import EXIT_UNAVAILABLE, AirworthyError, Refused
from pipelines.settings import let_waiting_threads_sleep
from pipelines.wiring import open_ports


def main(arguments: list[str]) -> int:
    from pipelines.steps.training.distributed_rank import run_rank  # after scikit-learn was hidden from XGBoost

    let_waiting_threads_sleep()
    folder, host, port, task, descriptor, peer_wait_seconds = arguments
    threading.Thread(target=_exit_with_parent, daemon=True).start()

    def send_event(event: Mapping[str, Any]) -> None:
        os.write(int(descriptor), json.dumps(event).encode() + b"\n")

    try:
        run_rank(Path(folder), host, int(port), task, open_ports().store, send_event, int(peer_wait_seconds))
    except Refused as error:
        send_event({"refused": error.subject, "reasons": error.reasons})
        return error.exit_code
    except AirworthyError as error:
        send_event({"unavailable": str(error)})
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _exit_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(EXIT_UNAVAILABLE)


if __name__ == "__main__":
    # XGBoost imports scikit-learn where it is there, for estimators that a rank never builds: half the CPU of a start.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without XGBoost's shutdown, which would wait for lost peers

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
from pipelines.steps.training.distributed_rank import take_part
from pipelines.wiring import open_ports


def main(arguments: list[str]) -> int:
    let_waiting_threads_sleep()
    folder, host, port, task, descriptor, silence = arguments
    threading.Thread(target=_end_with_the_starter, daemon=True).start()

    def tell(event: Mapping[str, Any]) -> None:
        os.write(int(descriptor), json.dumps(event).encode() + b"\n")

    try:
        take_part(Path(folder), host, int(port), task, open_ports().store, tell, int(silence))
    except Refused as error:
        tell({"refused": error.subject, "reasons": error.reasons})
        return error.exit_code
    except AirworthyError as error:
        tell({"unavailable": str(error)})
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _end_with_the_starter() -> None:
    sys.stdin.buffer.read()
    os._exit(EXIT_UNAVAILABLE)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # no farewell to peers that may be gone: XGBoost would wait for them

"""`python -m pipelines <step>` runs one step from a request file, or inside a pod from a ticket in the store.

``python -m pipelines <step> --request <file> [--result <file>]`` reads a JSON request, runs the step, writes the
JSON result, and exits 0 (done), 65 (refused) or 75 (unavailable, try again); any other fault exits 1. In a pod,
``--run <path in the store>`` replaces the files: it names the folder of ticket, log, result and manifest.
``python -m pipelines serve`` is not a step: it serves the version that the environment names
(``pipelines.serving.container``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from pipelines.errors import AirworthyError, Refused
from pipelines.settings import let_waiting_threads_sleep
from pipelines.spec.fault_text import fault_texts
from pipelines.wiring import open_ports, run_step


def main(arguments: list[str] | None = None) -> int:
    let_waiting_threads_sleep()
    if (sys.argv[1:] if arguments is None else arguments) == ["serve"]:
        from pipelines.serving.container import serve

        return serve()
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("step")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--request", type=Path)
    source.add_argument("--run")
    parser.add_argument("--result", type=Path)
    options = parser.parse_args(arguments)
    if options.run:
        from pipelines.pod.main import run_ticket

        return run_ticket(options.step, options.run)
    try:
        return _run_file(options.step, options.request, options.result)
    except AirworthyError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run_file(step: str, request: Path, result: Path | None) -> int:
    try:
        text = request.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"request {request} cannot be read", [str(error)]) from error
    try:
        answer = run_step(step, text, open_ports()).model_dump_json(by_alias=True)
    except ValidationError as error:
        raise Refused(f"request {request} is not a request of {step}", fault_texts(error, "(whole request)")) from error
    if result:
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(answer, encoding="utf-8")
    else:
        print(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())

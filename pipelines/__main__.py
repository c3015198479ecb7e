"""The one door to a step: the same request gives the same result on this machine and in a pod.

``python -m pipelines <step> --request <file> [--result <file>]`` reads a JSON request, runs the step, writes the
JSON result, and exits 0 (done), 65 (refused) or 75 (unavailable, try again).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from pipelines.errors import AirworthyError, Refused
from pipelines.wiring import open_ports, run_step


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("step")
    parser.add_argument("--request", required=True, type=Path)
    parser.add_argument("--result", type=Path)
    options = parser.parse_args(arguments)
    try:
        try:
            text = options.request.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"request {options.request} cannot be read", [str(error)]) from error
        result = run_step(options.step, text, open_ports()).model_dump_json(by_alias=True)
    except ValidationError as error:
        print(Refused(f"request {options.request} is not a request of {options.step}", [str(error)]), file=sys.stderr)
        return Refused.exit_code
    except AirworthyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.result:
        options.result.parent.mkdir(parents=True, exist_ok=True)
        options.result.write_text(result, encoding="utf-8")
    else:
        print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

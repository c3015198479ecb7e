"""`make calibrate` measures the error rates that the pages promise, by simulation, and prints them as a table.

Every file ``calibrate_<subject>.py`` beside this one has a function ``lines(share)``, which yields ``Line``s; ``share``
1 is the whole simulation, and the tests run a small share of the same. ``--only gates`` runs one subject, ``--write``
puts the table into ``docs/statistics.md``. Exit status 1 if a promise is missed by more than three standard errors, or
if all subjects together take more than fifteen minutes of one processor, however busy the machine is.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.calibration.line import Line

SECONDS = 15 * 60
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
BEGIN, END = "<!-- calibration: begin -->", "<!-- calibration: end -->"
HEAD = "| what | on which data | promised | measured |\n|---|---|---|---|"


def subjects() -> list[str]:
    """The subjects, by the files beside this one."""
    return sorted(path.stem.removeprefix("calibrate_") for path in Path(__file__).parent.glob("calibrate_*.py"))


def measure(subject: str, share: float) -> Iterator[Line]:
    yield from import_module(f"tests.calibration.calibrate_{subject}").lines(share)


def used_seconds() -> float:
    """Processor time of the measurements so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_elsewhere(subject: str, seconds: float) -> list[Line] | None:
    """The lines of one subject, measured in a process of its own; None if it took more processor time or failed."""
    limit = str(max(1, int(seconds)))
    command = [sys.executable, "-W", "ignore", "-m", "tests.calibration", "--measure", subject, "--seconds", limit]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    except subprocess.CalledProcessError as error:
        print(f"{subject}: {error}", file=sys.stderr)
        return None
    return [Line(**json.loads(line)) for line in done.stdout.decode().splitlines()]


def table(lines: list[Line]) -> str:
    return "\n".join([HEAD, *(line.row() for line in lines)])


def page_with(text: str, lines: list[Line]) -> str:
    """The page with the table between its marks. Raises ``ValueError`` for a page without them."""
    if BEGIN not in text or END not in text:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(lines)}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--only", choices=subjects(), action="append")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--measure", choices=subjects(), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        resource.setrlimit(resource.RLIMIT_CPU, (options.seconds, options.seconds))
        for line in measure(options.measure, 1.0):
            print(json.dumps(line.fields()), flush=True)
        return 0
    lines, unfinished = list[Line](), list[str]()
    print(HEAD)
    for subject in options.only or subjects():
        measured = measure_elsewhere(subject, SECONDS - used_seconds())
        unfinished += [subject] * (measured is None)
        for line in measured or []:
            print(line.row(), flush=True)
            lines.append(line)
    missed = [line.what for line in lines if not line.holds]
    if options.write and not unfinished and not options.only:
        PAGE.write_text(page_with(PAGE.read_text(), lines))
    for text in [*missed, *(f"{subject} did not end" for subject in unfinished)]:
        print(f"missed: {text}", file=sys.stderr)
    return 1 if missed or unfinished else 0


if __name__ == "__main__":
    sys.exit(main())

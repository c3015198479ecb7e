"""`make bench` runs every measurement in a process of its own and prints one JSON object per line.

``--full`` takes the whole year and the million rows; ``--only drift`` runs one of them. A measurement that misses its
target says so in its line; none of them decides whether the tests pass.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ORDER = (
    "sequential",
    "features",
    "aggregates",
    "data",
    "drift",
    "training",
    "gpu",
    "out_of_core",
    "evaluation",
    "refit",
    "airflow",
    "pods",
    "checks",
    "serving",
)
"""Stems of the modules ``bench_<stem>.py``, the quickest first."""


def main() -> int:
    """Exit status 0 if every measurement ran to its end."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=ORDER, action="append")
    options = parser.parse_args()
    failed = []
    for stem in options.only or ORDER:
        command = [sys.executable, "-W", "ignore", "-m", f"tests.bench.bench_{stem}"]
        takes_full = "--full" in Path(__file__).with_name(f"bench_{stem}.py").read_text()
        if subprocess.run([*command, *(["--full"] if options.full and takes_full else [])], check=False).returncode:
            failed.append(stem)
    if failed:
        print(f"missed a target or did not end well: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""`make mutants` changes the deciding code in small ways, one at a time, and lists the changes that no test notices.

``python -m tests.mutants [--share 0.1] [--seed 1] [--jobs 2] [path ...]``. A mutant runs in a process of its own,
forked from one with the libraries loaded: first by the tests that bear its module's name, then by all tests of deciding
code. Exit status 1 if fewer than 95 of 100 are killed, equivalent ones aside, or if one survives that is not explained.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import io
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import rich.progress

from pipelines.settings import REPOSITORY
from tests.mutants.mutations import Mutation, mutations

FOLDERS = ("pipelines/rules", "pipelines/rollout", "pipelines/statistics", "pipelines/ledger")
TESTS = ("tests/rules", "tests/rollout", "tests/statistics", "tests/ledger")
LEAST = 0.95
SECONDS = 120
EQUIVALENT = Path(__file__).with_name("equivalent.txt")


class MutatedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module in its changed form."""

    def __init__(self, mutation: Mutation) -> None:
        self._name = mutation.path.removesuffix(".py").replace("/", ".")
        self._path, self._tree = str(REPOSITORY / mutation.path), mutation.tree

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, origin=self._path) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self._path
        exec(compile(self._tree, self._path, "exec"), module.__dict__)


def tests_of(path: str) -> list[str]:
    """The test files that bear the name of a module, or the tests of its folder."""
    folder, stem = Path(path).parent.name, Path(path).stem
    named = [REPOSITORY / "tests" / folder / f"test_{stem}.py"]
    return [str(file) for file in named if file.exists()] or [str(REPOSITORY / "tests" / folder)]


def start(mutation: Mutation, tests: Sequence[str]) -> int:
    """The id of a process whose exit status is 0 if the tests pass with the module changed."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(SECONDS)
        sys.meta_path.insert(0, MutatedModule(mutation))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        status = int(pytest.main([*options, *tests]) != pytest.ExitCode.OK)
    finally:
        os._exit(status)


def survivors_of(mutants: Sequence[Mutation], jobs: int) -> list[Mutation]:
    """Those that no test notices. A mutant that breaks an import, or whose tests do not end in time, is noticed."""
    everything = [str(REPOSITORY / name) for name in TESTS]
    waiting = [(mutation, tests_of(mutation.path), True) for mutation in reversed(mutants)]
    running: dict[int, tuple[Mutation, bool]] = {}
    survivors = []
    with rich.progress.Progress(auto_refresh=False) as progress:  # no thread of its own: this process forks
        task = progress.add_task("mutants", total=len(mutants))
        while waiting or running:
            while waiting and len(running) < jobs:
                mutation, tests, first = waiting.pop()
                running[start(mutation, tests)] = mutation, first
            pid, ended = os.wait()
            mutation, first = running.pop(pid)
            if ended == 0 and first:
                waiting.append((mutation, everything, False))
                continue
            if ended == 0:
                survivors.append(mutation)
            progress.update(task, advance=1, refresh=True)
    return survivors


def load_libraries() -> None:
    """What every mutant needs and none changes; the product's own modules are imported anew by each."""
    for name in (
        "pytest",
        "_pytest.assertion",
        "hypothesis",
        "numpy",
        "scipy.stats",
        "scipy.special",
        "pydantic",
        "msgspec",
    ):
        with contextlib.suppress(ImportError), contextlib.redirect_stdout(io.StringIO()):
            __import__(name)


def sample(paths: Sequence[str], share: float, seed: int) -> list[Mutation]:
    """Changes of these files, drawn by the seed."""
    found = [mutation for path in paths for mutation in mutations(path, (REPOSITORY / path).read_text())]
    return found if share >= 1 else random.Random(seed).sample(found, max(1, round(share * len(found))))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("paths", nargs="*", help="files or folders; none: all deciding code")
    parser.add_argument("--share", type=float, default=1.0, help="share of all changes that is tried")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    files = sorted(
        path.relative_to(REPOSITORY).as_posix()
        for name in options.paths or FOLDERS
        for path in ([REPOSITORY / name] if name.endswith(".py") else (REPOSITORY / name).rglob("*.py"))
        if path.name != "__init__.py"
    )
    chosen = sample(files, options.share, options.seed)
    explained = {line.partition("  # ")[0].strip() for line in EQUIVALENT.read_text().splitlines()}
    tried = [mutation for mutation in chosen if mutation.name not in explained]
    load_libraries()
    began = time.monotonic()
    survivors = survivors_of(tried, options.jobs)
    for mutation in survivors:
        print(f"survived: {mutation.path}:{mutation.line} {mutation.function}: {mutation.before} -> {mutation.after}")
    share = 1 - len(survivors) / max(1, len(tried))
    seconds = time.monotonic() - began
    print(
        f"{len(tried) - len(survivors)} of {len(tried)} mutants killed ({share:.1%}), {len(chosen) - len(tried)} known"
        f" to be equivalent, in {seconds:.0f} s"
    )
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())

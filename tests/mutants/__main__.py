"""`make mutants` changes the deciding code in small ways, one at a time, and lists the changes that no test notices.

``python -m tests.mutants [--share 0.1] [--seed 1] [--jobs 2] [path ...]``. A mutant runs in a process of its own,
forked from one that has the product loaded; it imports anew the changed module and what imports that. It meets first
the tests that import the module themselves, then the other tests of deciding code that reach it. Exit status 1 if the
tests fail as they are, or fewer than 95 of 100 mutants are killed, those known to be equivalent aside.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
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
from tests.mutants.imports import Imports
from tests.mutants.mutations import Mutation, mutations

FOLDERS = ("pipelines/rules", "pipelines/rollout", "pipelines/statistics", "pipelines/ledger")
TESTS = ("tests/rules", "tests/rollout", "tests/statistics", "tests/ledger")
LIBRARIES = ("pytest", "_pytest.assertion", "_hypothesis_pytestplugin", "hypothesis.strategies", "numpy", "scipy.stats")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin", "--hypothesis-seed=0")
LEAST = 0.95
SECONDS = 60
"""Most processor time of a mutant's tests."""
EQUIVALENT = Path(__file__).with_name("equivalent.txt")


class MutatedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module in its changed form."""

    def __init__(self, mutation: Mutation) -> None:
        self._name = module_name(mutation.path)
        self._path = str(REPOSITORY / mutation.path)
        self._tree = mutation.tree((REPOSITORY / mutation.path).read_text())

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, origin=self._path) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self._path
        exec(compile(self._tree, self._path, "exec"), module.__dict__)


def module_name(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def test_files() -> list[str]:
    return sorted(
        path.relative_to(REPOSITORY).as_posix() for name in TESTS for path in (REPOSITORY / name).rglob("test_*.py")
    )


def stages_of(path: str, imports: Imports) -> list[list[str]]:
    """The test files that a change of this module has to pass, in three stages without the empty ones.

    First the file that bears its name, then those that import the module themselves, then the others that reach it.
    """
    module, stages = module_name(path), ([], [], [])  # type: tuple[list[str], list[str], list[str]]
    for file in test_files():
        test = module_name(file)
        if Path(file).stem == f"test_{Path(path).stem}":
            stages[0].append(file)
        elif module in imports.of(test):
            stages[1].append(file)
        elif module in imports.reached_from(test):
            stages[2].append(file)
    nonempty = [stage for stage in stages if stage]
    if not nonempty:
        raise SystemExit(f"no test reaches {path}")
    return nonempty


def start(mutation: Mutation | None, tests: Sequence[str], imports: Imports) -> int:
    """The id of a process whose exit status is 0 if the tests pass with the module changed (None: unchanged)."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        if mutation is not None:
            changed = module_name(mutation.path)
            for name in [name for name in sys.modules if changed in imports.reached_from(name)]:
                package, _, last = name.rpartition(".")
                vars(sys.modules[package]).pop(last, None)
                del sys.modules[name]
            sys.meta_path.insert(0, MutatedModule(mutation))
            importlib.import_module(changed)  # now, because pytest itself imports a module called *_test
        import pytest

        status = int(pytest.main([*OPTIONS, *tests]) != pytest.ExitCode.OK)
    finally:
        os._exit(status)


def survivors_of(mutants: Sequence[Mutation], jobs: int, imports: Imports) -> list[Mutation]:
    """Those that no test notices. A mutant that breaks an import, or whose tests do not end in time, is noticed."""
    stages_of_path = {path: stages_of(path, imports) for path in {mutation.path for mutation in mutants}}
    waiting = [(mutation, stages_of_path[mutation.path]) for mutation in reversed(mutants)]
    running: dict[int, tuple[Mutation, list[list[str]]]] = {}
    survivors = []
    with rich.progress.Progress(auto_refresh=False) as progress:  # no thread of its own: this process forks
        task = progress.add_task("mutants", total=len(mutants))
        while waiting or running:
            while waiting and len(running) < jobs:
                mutation, stages = waiting.pop()
                running[start(mutation, stages[0], imports)] = mutation, stages[1:]
            pid, ended = os.wait()
            mutation, later = running.pop(pid)
            if ended == 0 and later:
                waiting.append((mutation, later))
                continue
            if ended == 0:
                survivors.append(mutation)
                progress.print(f"survived: {mutation.path}:{mutation.line} {mutation.change}", markup=False)
            progress.update(task, advance=1, refresh=True)
    return survivors


def load_product(imports: Imports) -> None:
    """What the tests of deciding code use, so that each mutant imports anew only what its change can reach."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    reached = {name for file in test_files() for name in imports.reached_from(module_name(file))}
    with contextlib.redirect_stdout(io.StringIO()):
        for name in (*LIBRARIES, *sorted(name for name in reached if name.startswith("pipelines."))):
            importlib.import_module(name)


def deciding_files(names: Sequence[str]) -> list[str]:
    """The modules of these files and folders, as paths from the root of the repository."""
    return sorted(
        path.relative_to(REPOSITORY).as_posix()
        for name in names
        for path in ([REPOSITORY / name] if name.endswith(".py") else (REPOSITORY / name).rglob("*.py"))
        if path.name != "__init__.py"
    )


def sample(paths: Sequence[str], share: float, seed: int) -> list[Mutation]:
    """Changes of these files, drawn by the seed."""
    every = [mutation for path in paths for mutation in mutations(path, (REPOSITORY / path).read_text())]
    return every if share >= 1 else random.Random(seed).sample(every, max(1, round(share * len(every))))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("paths", nargs="*", help="files or folders; none: all deciding code")
    parser.add_argument("--share", type=float, default=1.0, help="share of all changes that is tried")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    os.chdir(REPOSITORY)
    files = deciding_files(options.paths or FOLDERS)
    chosen = sample(files, options.share, options.seed)
    explained = {line.partition("  # ")[0].strip() for line in EQUIVALENT.read_text().splitlines()}
    tried = [mutation for mutation in chosen if mutation.name not in explained]
    imports = Imports(REPOSITORY)
    load_product(imports)
    unchanged = sorted({test for file in files for stage in stages_of(file, imports) for test in stage})
    if os.waitpid(start(None, unchanged, imports), 0)[1] != 0:
        print("the tests fail without any change; mend them first")
        return 1
    began = time.monotonic()
    survivors = survivors_of(tried, options.jobs, imports)
    share = 1 - len(survivors) / max(1, len(tried))
    seconds = time.monotonic() - began
    print(
        f"{len(tried) - len(survivors)} of {len(tried)} mutants killed ({share:.1%}), {len(chosen) - len(tried)} known"
        f" to be equivalent, in {seconds:.0f} s"
    )
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())

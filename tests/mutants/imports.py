"""Which modules of this repository import which, as their text says."""

from __future__ import annotations

import ast
import functools
from pathlib import Path


class Imports:
    """The imports among ``pipelines`` and ``tests``, also those inside functions."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository

    @functools.cache  # noqa: B019
    def of(self, module: str) -> frozenset[str]:
        """Modules that this one imports itself; a test also imports the ``conftest`` files of its folders."""
        path = self._path(module)
        if path is None:
            return frozenset()
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
        if module.startswith("tests."):
            parts = module.split(".")[:-1]
            names.update(".".join([*parts[:depth], "conftest"]) for depth in range(1, len(parts) + 1))
        return frozenset(name for name in names - {module} if self._path(name))

    @functools.cache  # noqa: B019
    def reached_from(self, module: str) -> frozenset[str]:
        """The module itself and all that it imports, directly or through others."""
        reached, waiting = {module}, [module]
        while waiting:
            fresh = self.of(waiting.pop()) - reached
            reached |= fresh
            waiting.extend(fresh)
        return frozenset(reached)

    def _path(self, module: str) -> Path | None:
        if not module.startswith(("pipelines.", "tests.")):
            return None
        path = self._repository / module.replace(".", "/")
        return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)

"""Keeps the heads of a ledger in the store, away from its database, so that a ledger cut short or rewritten is noticed.

Each new line adds one file, named by its number and digest, with the heads of its block of 500 lines, and deletes the
file of the line before, which it contains. What stays is one file per full block, the newest, and every head that the
ledger lost: a line deletes the file of its own predecessor alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from pipelines import store_paths
from pipelines.adapters.store.files import Files, StorageAccess, open_files, storage_errors
from pipelines.errors import Refused
from pipelines.ports import LedgerEntry

BLOCK_LINES = 500
log = logging.getLogger(__name__)

Block = Sequence[tuple[int, str]]
"""Number and digest of lines in a row, oldest first."""


class StoredHeads:
    """Heads below ``ledger/heads/`` of the store at ``root``, reached as its tables are."""

    def __init__(self, root: str, options: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None) -> None:
        self._access = StorageAccess(options)
        self._root = root
        self._opened: Files | None = None
        self._has_some = False

    def note(self, line: LedgerEntry, earlier: Callable[[int], Block]) -> None:
        """Keep the head of a new line, which is durable already: a store that fails costs only a warning.

        ``earlier(number)`` returns the lines from that number on. A ledger of which no head is kept yet has all of its
        lines noted.
        """
        try:
            self._note(line, earlier)
        except Exception as error:  # whatever the store raises, the line is written and its writer goes on
            log.warning("line %s is in the ledger, but its head is not in the store: %s", line.number, error)

    def _note(self, line: LedgerEntry, earlier: Callable[[int], Block]) -> None:
        first = _first_of_block(line.number)
        if not self._has_some:
            self._has_some = bool(self._list())
            first = first if self._has_some else 1
        lines = [pair for pair in earlier(first) if pair[0] <= line.number]
        for start in range(first, line.number + 1, BLOCK_LINES):
            block = [pair for pair in lines if start <= pair[0] < start + BLOCK_LINES]
            if block:
                self._put(block)
        self._has_some = True
        if _first_of_block(line.number) < line.number:
            with storage_errors("deleting a head of the ledger", self._access):
                self._files.delete(_path(line.number - 1, line.previous))

    def read(self) -> list[str]:
        """Every head that is kept. ``Unavailable`` if the store does not answer."""
        heads: list[str] = []
        for path in self._list():
            number, _, digest = path.rpartition("/")[2].removesuffix(".txt").partition("-")
            heads.append(f"{int(number) if number.isdigit() else number}:{digest}")
            try:
                with storage_errors(f"reading {path}", self._access):
                    heads += self._files.get(path).decode("utf-8", errors="replace").splitlines()
            except Refused:  # the next line was written meanwhile; its file has the same heads
                continue
        return heads

    def _put(self, block: Block) -> None:
        number, digest = block[-1]
        content = "".join(f"{number}:{digest}\n" for number, digest in block)
        with storage_errors("writing a head of the ledger", self._access):
            self._files.put(_path(number, digest), content.encode())

    def _list(self) -> list[str]:
        with storage_errors("listing the heads of the ledger", self._access):
            return self._files.list(store_paths.ledger_heads())

    @property
    def _files(self) -> Files:
        if self._opened is None:
            self._opened = open_files(self._root, self._access)
        return self._opened


def _first_of_block(number: int) -> int:
    return (number - 1) // BLOCK_LINES * BLOCK_LINES + 1


def _path(number: int, digest: str) -> str:
    return store_paths.ledger_heads(f"{number:012d}-{digest}.txt")

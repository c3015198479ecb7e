"""Each worker of a run rewrites the assertions of its share of the test files, instead of every worker those of all.

pytest keeps what it has rewritten beside the file, as Python keeps its bytecode; in a fresh clone nothing is there yet,
and all workers would rewrite the same files at the same time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from _pytest.assertion import rewrite


def rewrite_share(config: pytest.Config, files: Sequence[Path], number: int, workers: int) -> list[Path]:
    """Rewrite every ``workers``-th file, from that of this number on, where it is not done yet; which ones were."""
    if sys.dont_write_bytecode:
        return []
    state, done = config.stash[rewrite.assertstate_key], []
    for file in files[number::workers]:
        folder = rewrite.get_cache_dir(file)
        rewritten = folder / f"{file.stem}{rewrite.PYC_TAIL}"
        if rewrite.try_makedirs(folder) and rewrite._read_pyc(file, rewritten, state.trace) is None:
            info, code = rewrite._rewrite_test(file, config)
            rewrite._write_pyc(state, code, info, rewritten)
            done.append(file)
    return done

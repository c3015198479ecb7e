"""What people read: every page of the repository and every DAG's page, with its code blocks, inline code and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipelines.settings import REPOSITORY
from tests.dags.conftest import parse_folder

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


@dataclass(frozen=True)
class Page:
    """``name``: the path in the repository, or the id of a DAG."""

    name: str
    text: str

    def blocks(self) -> list[tuple[str, str]]:
        """Language and content of each fenced block."""
        return FENCE.findall(self.text)

    @property
    def prose(self) -> str:
        return FENCE.sub("", self.text)

    def inline(self) -> list[str]:
        """Inline code, one line each."""
        return [" ".join(code.split()) for code in INLINE.findall(self.prose)]

    def commands(self) -> Iterator[str]:
        """Every line of a shell block, continued lines joined, and inline code; without comments."""
        for language, content in self.blocks():
            if language in ("", "bash", "sh", "console"):
                for line in content.replace("\\\n", " ").splitlines():
                    yield line.removeprefix("$ ").strip()
        yield from self.inline()


@cache
def pages() -> tuple[Page, ...]:
    """The pages of the repository, in order of name."""
    files = sorted(
        {*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob(".github/**/*.md")}
    )
    return tuple(Page(path.relative_to(REPOSITORY).as_posix(), path.read_text()) for path in files)


def dag_pages(home: Path) -> list[Page]:
    """The page of every DAG of the repository's own declarations, as Airflow shows it."""
    dags = parse_folder(home)["dags"]
    return [Page(dag_id, facts["doc"]) for dag_id, facts in dags.items()]

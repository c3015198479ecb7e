"""Links lead somewhere: to a file that exists, and to a heading of it."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from pipelines.settings import REPOSITORY
from tests.docs.pages import Page, pages

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"^(?:pipelines|plugins|dags|tests|include|deploy|docs|\.github)/[\w./-]+$")


def anchors(text: str) -> set[str]:
    """What a heading is called in an address, as GitHub makes it."""
    occurrences: Counter[str] = Counter()
    names = set()
    for heading in re.findall(
        r"^#+ +(.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    ):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        names.add(f"{name}-{occurrences[name]}" if occurrences[name] else name)
        occurrences[name] += 1
    return names


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Page) -> None:
    folder = (REPOSITORY / page.name).parent
    dead = []
    for link in LINK.findall(page.prose):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (folder / path).resolve() if path else REPOSITORY / page.name
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_file_and_folder_that_a_page_names_exists(page: Page) -> None:
    example = "label_leak_check"  # the practice that a page shows how to write
    names = [code for code in page.inline() if NAMED.match(code) and example not in code]
    paths = [REPOSITORY / name for name in names]
    assert not [path for path in paths if not (path.is_file() if path.suffix else path.exists())]


def test_a_link_to_a_heading_is_compared_with_the_name_that_github_gives_it() -> None:
    assert anchors("# Where is … decided?\n## A rollout, at `x`\n## A rollout, at `x`\n") == {
        "where-is--decided",
        "a-rollout-at-x",
        "a-rollout-at-x-1",
    }

"""The page about incidents says of each kind what the product says of it."""

from __future__ import annotations

import re

import pytest

from pipelines.rules.incident_kinds import KINDS
from pipelines.settings import REPOSITORY
from pipelines.spec.alerts import INCIDENT_KINDS

PAGE = (REPOSITORY / "docs" / "incidents.md").read_text()
SECTIONS = {
    title.lower().replace(" ", "_"): " ".join(text.split())
    for title, text in re.findall(r"^### (.+)\n((?:(?!^#).*\n?)*)", PAGE, re.MULTILINE)
}


def test_no_section_is_about_a_kind_that_there_is_not() -> None:
    assert set(SECTIONS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_section_of_a_kind_says_what_it_affects_what_to_do_and_what_it_holds_back(kind: str) -> None:
    text, about = SECTIONS[kind], KINDS[kind]
    first = INCIDENT_KINDS[kind]
    expected = [f"{first[0].upper()}{first[1:]} ({about.severity}).", about.affects, about.to_do]
    assert [part for part in expected if part not in text] == []
    held_back = re.search(r"held back: ([^.]*)\.", text)
    assert (re.findall(r"`(\w+)`", held_back[1]) if held_back else []) == list(about.causes)

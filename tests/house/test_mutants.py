"""The list of changes that change nothing speaks of the code as it is."""

from __future__ import annotations

from pipelines.settings import REPOSITORY
from tests.mutants.__main__ import EQUIVALENT, FOLDERS
from tests.mutants.mutations import mutations


def test_every_change_that_is_listed_as_equivalent_can_still_be_made_and_has_its_reason() -> None:
    files = [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py")]
    paths = [path.relative_to(REPOSITORY).as_posix() for path in files]
    names = {change.name for path in paths for change in mutations(path, (REPOSITORY / path).read_text())}
    lines = [line for line in EQUIVALENT.read_text().splitlines() if line and not line.startswith("#")]
    entries = [line.partition("  # ") for line in lines]
    assert [line for line, _, reason in entries if line not in names or not reason] == []

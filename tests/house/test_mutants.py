"""Each deciding module has tests that notice a change, and the list of changes that change nothing is up to date."""

from __future__ import annotations

from pipelines.settings import REPOSITORY
from tests.mutants.__main__ import EQUIVALENT, FOLDERS, deciding_files, stages_of
from tests.mutants.imports import Imports
from tests.mutants.mutations import mutations


def test_every_change_that_is_listed_as_equivalent_can_still_be_made_and_has_its_reason() -> None:
    names = {
        change.name for path in deciding_files(FOLDERS) for change in mutations(path, (REPOSITORY / path).read_text())
    }
    lines = [line for line in EQUIVALENT.read_text().splitlines() if line and not line.startswith("#")]
    entries = [line.partition("  # ") for line in lines]
    assert [line for line, _, reason in entries if line not in names or not reason] == []


def test_every_deciding_module_is_reached_by_a_test_of_deciding_code() -> None:
    imports = Imports(REPOSITORY)
    assert all(stages_of(path, imports) for path in deciding_files(FOLDERS))

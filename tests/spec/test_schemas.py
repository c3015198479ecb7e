"""The schemas that editors read say what the code says."""

from __future__ import annotations

import pytest

from pipelines.settings import REPOSITORY
from pipelines.spec.schemas import FOLDER, rendered


@pytest.mark.parametrize("name", sorted(rendered()))
def test_the_schema_is_the_one_that_the_code_gives(name: str) -> None:
    assert (FOLDER / name).read_text() == rendered()[name], "run `make schemas`"


@pytest.mark.parametrize("folder", ["models", "datasets", "features"])
def test_every_declaration_names_its_schema_for_editors(folder: str) -> None:
    schema = (
        f"# yaml-language-server: $schema=../schemas/{folder.removesuffix('s') if folder != 'features' else folder}"
    )
    for path in (REPOSITORY / "include" / folder).glob("*.yaml"):
        assert path.read_text().startswith(schema), path.name

"""The schemas that editors read say what the code says."""

from __future__ import annotations

import pytest

from pipelines.settings import REPOSITORY
from pipelines.spec.schemas import SCHEMA_FOLDER, render_schemas


@pytest.mark.parametrize("name", sorted(render_schemas()))
def test_the_schema_is_the_one_that_the_code_gives(name: str) -> None:
    assert (SCHEMA_FOLDER / name).read_text() == render_schemas()[name], "run `make schemas`"


@pytest.mark.parametrize(("folder", "schema"), [("models", "model"), ("datasets", "dataset"), ("features", "features")])
def test_every_declaration_names_its_schema_for_editors(folder: str, schema: str) -> None:
    for path in (REPOSITORY / "include" / folder).glob("*.yaml"):
        first = path.read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema=../schemas/{schema}.schema.json", path.name

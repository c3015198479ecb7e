"""A YAML example on a page is valid by the schemas that editors read: as a whole file, or as a part of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipelines.settings import REPOSITORY
from pipelines.spec.deployment import Deployment
from pipelines.spec.deployment_faults import deployment_faults
from pipelines.spec.plain_yaml import load
from tests.docs.pages import pages

SCHEMAS = {path.name: json.loads(path.read_text()) for path in sorted((REPOSITORY / "include/schemas").glob("*.json"))}
EXAMPLES = [
    pytest.param(content, id=f"{page.name}-{number}")
    for page in pages()
    for number, (language, content) in enumerate(page.blocks(), start=1)
    if language == "yaml"
]
ELSEWHERE = {"apiVersion", "services", "x-airflow"}
"""Keys of documents of Kubernetes and of docker-compose; a list is one of neither and of none of ours."""


def parts(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole and every named part of it, each with the definitions beside."""
    definitions = schema.get("$defs", {})
    for name, part in {"": schema, **definitions}.items():
        if "properties" in part:
            yield name, {**part, "$defs": definitions}


def faults(example: Any) -> list[str]:
    """Why the example is nothing that can be declared; empty if one schema, or one part of one, takes all of it.

    Of a part, what must stand beside it may be missing.
    """
    closest: list[str] = [f"no schema has all of {sorted(example)}"]
    for schema, content in SCHEMAS.items():
        for name, part in parts(content):
            if not set(example) <= set(part["properties"]):
                continue
            whole = not name and "schema" in example
            tried = part if whole else {**part, "required": []}
            errors = [
                f"{schema} {name} {'.'.join(map(str, error.path))}: {error.message}"
                for error in Draft202012Validator(tried).iter_errors(example)
            ]
            if not errors:
                return []
            closest += errors
    return closest


@pytest.mark.parametrize("content", EXAMPLES)
def test_an_example_is_taken_by_the_schema_of_its_file(content: str) -> None:
    for document in content.split("\n---\n"):
        example = json.loads(json.dumps(load(document), default=str))  # an instant is a text in JSON
        if isinstance(example, dict) and not ELSEWHERE & set(example):
            assert not faults(example)


def deployments() -> Iterator[Any]:
    """What the pages declare of deployments, as a whole or only its target."""
    for example in EXAMPLES:
        content = load(str(example.values[0]).partition("\n---\n")[0])
        if isinstance(content, dict) and "target" in content and "kind" in content["target"]:
            yield pytest.param({"target": content["target"]}, id=example.id)
        elif isinstance(content, dict) and "deployment" in content:
            yield pytest.param(content["deployment"], id=example.id)


@pytest.mark.parametrize("declared", list(deployments()))
def test_every_field_of_a_deployment_on_a_page_acts(declared: Any) -> None:
    assert deployment_faults(Deployment.model_validate(declared)) == []


@pytest.mark.parametrize(
    "example",
    [
        {"schema": 1, "model": "m"},
        {"deployment": {"strategy": "canery"}},
        {"evaluation": {"comparison": {"metric": "roc_auc", "marign": 0.1}}},
        {"nothing": 1},
    ],
    ids=lambda example: next(reversed(example)),
)
def test_an_example_that_no_declaration_takes_is_found(example: Any) -> None:
    assert faults(example)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 10
    assert len(list(deployments())) >= 7

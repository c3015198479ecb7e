"""Writes the JSON schemas of the declarations, which editors use, from their classes.

``python -m pipelines.spec.schemas`` writes ``include/schemas/``; a test fails when they are outdated.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from pipelines.spec.alerts import AlertsSpec
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.gateway import GatewaySpec
from pipelines.spec.model_declaration import ModelDeclaration
from pipelines.spec.view import ViewDeclaration

SCHEMAS: dict[str, type[BaseModel]] = {
    "model": ModelDeclaration,
    "dataset": DatasetSpec,
    "features": ViewDeclaration,
    "gateway": GatewaySpec,
    "alerts": AlertsSpec,
}
SCHEMA_FOLDER = Path(__file__).resolve().parents[2] / "include" / "schemas"


def render_schemas() -> dict[str, str]:
    """File name to content."""
    return {
        f"{name}.schema.json": json.dumps(spec.model_json_schema(by_alias=True), indent=2) + "\n"
        for name, spec in SCHEMAS.items()
    }


if __name__ == "__main__":
    SCHEMA_FOLDER.mkdir(exist_ok=True)
    for name, content in render_schemas().items():
        (SCHEMA_FOLDER / name).write_text(content)

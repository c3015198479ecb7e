"""A dataset is watched by what it declares: its queue, or the landing folder itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipelines.settings import REPOSITORY
from pipelines.spec.dataset import ArrivalQueue

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/flights-landed"
WATCHER = """
import json, runpy, sys
sys.path[:0] = ["plugins"]
watcher = runpy.run_path("dags/arrive.py")["watcher"]
heavy = [name for name in ("boto3", "botocore", "polars", "pyarrow") if name in sys.modules]
print(json.dumps({"name": watcher.name, "trigger": watcher.trigger.serialize(), "heavy": heavy}))
"""


def parsed(include: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", WATCHER],
        env=os.environ | {"AIRWORTHY_INCLUDE": str(include)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("arrival", "path", "arguments"),
    [
        (None, "practices._arrivals.trigger.LateArrivals", {"dataset": "flights", "poll_seconds": 5.0}),
        (
            {"queue": QUEUE, "poll_minutes": 10},
            "practices._arrivals.sqs_trigger.QueuedArrivals",
            {"dataset": "flights", "queue": QUEUE, "connection": "aws_default", "poll_seconds": 600.0},
        ),
    ],
    ids=["folder", "queue"],
)
def test_the_watcher_of_a_dataset_is_what_it_declares_and_costs_nothing_to_parse(
    tmp_path: Path, arrival: dict[str, Any] | None, path: str, arguments: dict[str, Any]
) -> None:
    include = tmp_path / "include"
    shutil.copytree(REPOSITORY / "include", include)
    (include / "datasets" / "shop.yaml").unlink()
    declared = include / "datasets" / "flights.yaml"
    declared.write_text(
        yaml.safe_dump(yaml.safe_load(declared.read_text()) | ({"arrival": arrival} if arrival else {}))
    )
    assert parsed(include) == {"name": "flights_landing", "trigger": [path, arguments], "heavy": []}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, "queue"),
        ({"queue": "flights-landed"}, "queue"),
        ({"queue": "https://sqs.eu-central-1.amazonaws.com/"}, "queue"),
        ({"queue": QUEUE, "poll_minutes": 0}, "poll_minutes"),
        ({"queue": QUEUE, "connection": ""}, "connection"),
        ({"queue": QUEUE, "visibility": 3}, "visibility"),
    ],
)
def test_a_queue_that_cannot_be_one_is_refused_by_the_field_at_fault(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as error:
        ArrivalQueue.model_validate(fields)
    assert [where["loc"] for where in error.value.errors()] == [(fault,)]

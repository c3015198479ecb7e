"""Models registered as training does, small enough to be fitted in a test, and their bundles on disk."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.messages.training import ModelDigests
from pipelines.steps.models.registered_model import (
    INPUTS_DIGEST_TAG,
    JUDGED_DIGEST_TAG,
    MODEL_DIGEST_TAG,
    inputs_digest,
    model_digest,
    read_predictor,
)
from pipelines.steps.training.fitting import EncodedPart, fit
from pipelines.steps.training.model_folder import write_model_folder
from pipelines.tables.encoding import encode, learn_inputs
from pipelines.testing.ports import FakePorts

TYPES: Any = {"carrier": "categorical", "origin": "categorical", "distance": "numeric", "hour": "numeric"}


def snapshot(rows: int = 1500) -> pl.DataFrame:
    random = np.random.default_rng(5)
    distance, hour = random.uniform(80, 3000, rows).round(), random.integers(5, 23, rows)
    carrier = random.choice(["AA", "DL", "UA", "B6"], rows)
    missing = random.uniform(size=rows) < 0.1
    late = (hour > 15) ^ (carrier == "UA") ^ (random.uniform(size=rows) < 0.2)
    return pl.DataFrame(
        {
            "carrier": carrier,
            "origin": [str(one) or None for one in random.choice(["EWR", "JFK", ""], rows)],
            "distance": [None if gone else value for value, gone in zip(distance, missing, strict=True)],
            "hour": hour.astype(float),
            "target": late.astype(float),
        },
        schema_overrides={"distance": pl.Float64},
        strict=False,
    )


def register(ports: FakePorts, folder: Path, *, model: str = "flight_delay", **estimator: Any) -> str:
    """Fit and register a model as training does; returns its version."""
    spec = ports.catalog.model(model)
    declared = spec.training.estimator.model_copy(update={"rounds": 8} | estimator)
    training = spec.training.model_copy(update={"estimator": declared})
    rows = snapshot()
    inputs = learn_inputs(rows, TYPES)
    part = EncodedPart(encode(rows, inputs), rows["target"].to_numpy())
    fitted = fit(training, spec.problem, 7, inputs, part, part)
    folder.mkdir()
    write_model_folder(
        folder,
        model=model,
        problem=spec.problem,
        estimator=declared.kind,
        native=fitted.native,
        features=inputs,
        example=rows,
        run_id="0" * 32,
        model_id="m-1",
    )
    content = io.BytesIO()
    rows.write_parquet(content)
    ports.store.put(store_paths.snapshot(model, "abc", "data.parquet"), content.getvalue())
    tags = {
        "airworthy.snapshot": "abc",
        MODEL_DIGEST_TAG: model_digest(folder, read_predictor(folder)),
        INPUTS_DIGEST_TAG: inputs_digest(folder),
    }
    info = ports.registry.register(model, tags=tags)
    ports.registry._versions[model][info.version] = info.model_copy(update={"source": str(folder)})
    return info.version


def digests(ports: Any, model: str, version: str) -> ModelDigests:
    """The digests that the ledger has of a version's training."""
    tags = ports.registry.get(model, version).tags
    return ModelDigests(model_digest=tags[MODEL_DIGEST_TAG], judged_digest=tags.get(JUDGED_DIGEST_TAG))


def fetched(ports: FakePorts, model: str, version: str, folder: Path) -> Path:
    """The bundle's files on disk, as the gateway fetches them."""
    prefix = store_paths.bundle(model, version)
    for path in ports.store.list(prefix):
        target = folder / path.removeprefix(prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(ports.store.get(path))
    return folder

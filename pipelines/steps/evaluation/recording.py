"""Logs what an evaluation measured on the MLflow run of the model version."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateResult
from pipelines.mlflow_client import (
    grouped_metric,
    keeps_artifacts_locally,
    open_client,
    page_address,
    translate_mlflow_errors,
)
from pipelines.ports import Ports, VersionInfo
from pipelines.steps.models.model_card import GAIN_TAG, evaluated_card, gain_text

FOLDER = "evaluation"
log = logging.getLogger(__name__)


def run_metrics(result: EvaluateResult) -> dict[str, float]:
    """Metric name to value: ``test_*``, ``champion_test_*``, the gain. What was not measured is left out."""
    named = {f"test_{name}": value for name, value in result.metrics.items()}
    named |= {f"champion_test_{name}": value for name, value in result.champion_metrics.items()}
    metrics = {name: value for name, value in named.items() if value is not None}
    metrics["test_rows"] = float(result.rows)
    if result.comparison is not None:
        gain = result.comparison
        measured = {"test_gain": gain.gain, "test_gain_low": gain.low, "test_gain_high": gain.high}
        metrics |= {name: value for name, value in measured.items() if value is not None}
    return metrics


def record_evaluation(result: EvaluateResult, plots: Mapping[str, bytes], info: VersionInfo, ports: Ports) -> None:
    """Log metrics and plots (artifact folder ``evaluation``), and put both on the version's card.

    A repetition logs the same values again.
    """
    timestamp_ms = int(ports.clock().timestamp() * 1000)
    metrics = [Metric(grouped_metric(name), value, timestamp_ms, 0) for name, value in run_metrics(result).items()]
    client = open_client(ports.settings.tracking)
    with translate_mlflow_errors(ports.settings.tracking), tempfile.TemporaryDirectory() as folder:
        client.log_batch(info.run_id, metrics=metrics)
        for name, content in plots.items():
            (Path(folder) / f"{name}.png").write_bytes(content)
        (Path(folder) / "evaluation.json").write_text(result.model_dump_json(indent=2, by_alias=True))
        client.log_artifacts(info.run_id, folder, artifact_path=FOLDER)
    try:
        _show_on_version(client, result, _picture_links(ports.settings.tracking, plots, info), info)
    except Refused as error:  # the card is for people: without it the measures stand
        log.warning("the card of %s version %s was not updated: %s", info.model, info.version, error)


def _show_on_version(client: Any, result: EvaluateResult, links: list[tuple[str, str]], info: VersionInfo) -> None:
    """Put the measures on the version's card and the gain into its tags."""
    with translate_mlflow_errors(str(client.tracking_uri)):
        version = client.get_model_version(info.model, info.version)
        card = evaluated_card(version.description or "", result, links)
        client.update_model_version(info.model, info.version, description=card)
        if gain := gain_text(result):
            client.set_model_version_tag(info.model, info.version, GAIN_TAG, gain)


def _picture_links(tracking: str, plots: Mapping[str, bytes], info: VersionInfo) -> list[tuple[str, str]]:
    """Name and address of each plot in MLflow; none where MLflow has no pages."""
    if keeps_artifacts_locally(tracking):
        return []
    artifacts = page_address(tracking, f"runs/{info.run_id}/artifacts/{FOLDER}")
    return [(name, f"{artifacts}/{name}.png") for name in plots]

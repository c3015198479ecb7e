"""Logs what an evaluation measured on the MLflow run of the model version."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Metric

from pipelines.messages.evaluation import EvaluateResult
from pipelines.mlflow_client import open_client, translate_mlflow_errors
from pipelines.ports import Ports, VersionInfo

FOLDER = "evaluation"


def run_metrics(result: EvaluateResult) -> dict[str, float]:
    """Metric name on the run to value: ``test_*``, ``champion_test_*``, the gain. What was not measured is left out."""
    named = {f"test_{name}": value for name, value in result.metrics.items()}
    named |= {f"champion_test_{name}": value for name, value in result.champion_metrics.items()}
    metrics = {name: value for name, value in named.items() if value is not None}
    metrics["test_rows"] = float(result.rows)
    if result.comparison is not None:
        gain = result.comparison
        metrics |= {"test_gain": gain.gain, "test_gain_low": gain.low, "test_gain_high": gain.high}
    return metrics


def record_evaluation(result: EvaluateResult, plots: Mapping[str, bytes], info: VersionInfo, ports: Ports) -> None:
    """Log metrics and plots (artifact folder ``evaluation``); a repetition logs the same values again."""
    timestamp_ms = int(ports.clock().timestamp() * 1000)
    metrics = [Metric(name, value, timestamp_ms, 0) for name, value in run_metrics(result).items()]
    client = open_client(ports.settings.tracking)
    with translate_mlflow_errors(ports.settings.tracking), tempfile.TemporaryDirectory() as folder:
        client.log_batch(info.run_id, metrics=metrics)
        for name, content in plots.items():
            (Path(folder) / f"{name}.png").write_bytes(content)
        (Path(folder) / "evaluation.json").write_text(result.model_dump_json(indent=2, by_alias=True))
        client.log_artifacts(info.run_id, folder, artifact_path=FOLDER)

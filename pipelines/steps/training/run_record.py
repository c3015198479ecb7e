"""Records a training as one MLflow run: FINISHED, FAILED with its reason, or closed as KILLED by the next attempt."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from pipelines.errors import AirworthyError, Unavailable
from pipelines.mlflow_client import (
    MODEL_TRAINING_TAGS,
    grouped_metric,
    keeps_artifacts_locally,
    translate_mlflow_errors,
)
from pipelines.ports import Clock
from pipelines.steps.training.system_metrics import SystemMetrics

FLUSH_SECONDS = 5.0
"""A long training can be watched while it runs; a short one sends its curves once, at its end."""
BATCH_METRICS, BATCH_PARAMETERS = 1000, 100
"""MLflow takes no more in one call."""
MAX_PARAMETER_LENGTH = 6000
MAX_TAG_LENGTH = 8000
REQUEST_DIGEST_TAG = "airworthy.request_digest"


class RunRecord:
    """Facts of one run. Optional ones go through ``attempt``: a failure becomes a tag and does not end the run."""

    def __init__(self, client: Any, experiment_id: str, run_id: str, clock: Clock) -> None:
        self.client = client
        self.experiment_id = experiment_id
        self.run_id = run_id
        self._clock = clock
        self._uri = str(client.tracking_uri)
        self._pending: list[Metric] = []
        self._flushed_at = time.monotonic()
        self._failures: dict[str, str] = {}
        self._system: SystemMetrics | None = None
        self._samples = 0
        self.log_optional("system metrics", self._start_system_metrics)

    def log_round(self, number: int, scores: Mapping[str, float], rate: float) -> None:
        """Queue the metrics of one boosting round, sent every 5 s; during an outage they stay queued until the end."""
        self._queue({**scores, "learning_rate": rate}, number)
        sample = self._system.sample() if self._system else None
        if sample:
            self._samples += 1
            self._queue(sample, self._samples)
        if time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            with suppress(Unavailable):
                self.flush()
            self._flushed_at = time.monotonic()

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        self._queue(values, step)

    def flush(self) -> None:
        """Send the queued metrics. ``Unavailable`` if MLflow does not answer; nothing is lost then."""
        while self._pending:
            batch = self._pending[:BATCH_METRICS]
            with translate_mlflow_errors(self._uri):
                self.client.log_batch(self.run_id, metrics=batch)
            self._pending = self._pending[BATCH_METRICS:]

    def log_parameters(self, values: Mapping[str, Any]) -> None:
        parameters = [Param(name, str(value)[:MAX_PARAMETER_LENGTH]) for name, value in values.items()]
        with translate_mlflow_errors(self._uri):
            for start in range(0, len(parameters), BATCH_PARAMETERS):
                self.client.log_batch(self.run_id, params=parameters[start : start + BATCH_PARAMETERS])

    def log_tags(self, values: Mapping[str, str]) -> None:
        with translate_mlflow_errors(self._uri):
            self.client.log_batch(
                self.run_id, tags=[RunTag(name, value[:MAX_TAG_LENGTH]) for name, value in values.items()]
            )

    def log_files(self, contents: Mapping[str, bytes]) -> None:
        """Log files as artifacts of the run, by path."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in contents.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            with translate_mlflow_errors(self._uri):
                self.client.log_artifacts(self.run_id, folder)

    def log_optional(self, name: str, action: Callable[[], None]) -> None:
        """Log something that the model does not depend on."""
        try:
            action()
        except Exception as error:  # an optional fact must not fail the training
            self._failures[name] = f"{type(error).__name__}: {error}"

    def end(self) -> None:
        """Send the rest and finish the run, with a tag of the facts that failed."""
        if self._system:
            self.log_optional("system metrics", self._log_last_system_sample)
        self.flush()
        if self._failures:
            self.log_tags({"airworthy.degraded": "; ".join(f"{name}: {why}" for name, why in self._failures.items())})
        with translate_mlflow_errors(self._uri):
            self.client.set_terminated(self.run_id, "FINISHED", end_time=self._now())

    def fail(self, error: BaseException) -> None:
        """End the run as FAILED, as far as MLflow answers."""
        with suppress(AirworthyError):
            self.flush()
        with suppress(AirworthyError):
            self.log_tags({"airworthy.failure": f"{type(error).__name__}: {error}"})
            with translate_mlflow_errors(self._uri):
                self.client.set_terminated(self.run_id, "FAILED", end_time=self._now())

    def log_child_run(self, name: str, parameters: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log a finished run below this one."""
        now = self._now()
        with translate_mlflow_errors(self._uri):
            run = self.client.create_run(
                self.experiment_id, start_time=now, run_name=name, tags={"mlflow.parentRunId": self.run_id}
            )
            self.client.log_batch(
                run.info.run_id,
                params=[Param(name, str(value)) for name, value in parameters.items()],
                metrics=[Metric(grouped_metric(name), value, now, 0) for name, value in metrics.items()],
            )
            self.client.set_terminated(run.info.run_id, "FINISHED", end_time=now)

    def _queue(self, values: Mapping[str, float], step: int) -> None:
        now = self._now()
        self._pending += [
            Metric(grouped_metric(name), value, now, step) for name, value in values.items() if math.isfinite(value)
        ]

    def _start_system_metrics(self) -> None:
        self._system = SystemMetrics()

    def _log_last_system_sample(self) -> None:
        assert self._system is not None
        self._queue(self._system.sample(now=True) or {}, self._samples + 1)

    def _now(self) -> int:
        return int(self._clock().timestamp() * 1000)


@contextmanager
def recorded_run(
    client: Any, model: str, home: Path, clock: Clock, *, name: str, tags: Mapping[str, str]
) -> Iterator[RunRecord]:
    """A run in the experiment named as the model. Earlier attempts at the same request that were killed are closed."""
    uri = str(client.tracking_uri)
    with translate_mlflow_errors(uri):
        experiment_id = _experiment_id(client, model, home)
        _close_killed_runs(client, experiment_id, tags[REQUEST_DIGEST_TAG])
        run = client.create_run(
            experiment_id,
            start_time=int(clock().timestamp() * 1000),
            run_name=name,
            tags={tag: value[:MAX_TAG_LENGTH] for tag, value in tags.items()},
        )
    record = RunRecord(client, experiment_id, run.info.run_id, clock)
    try:
        yield record
        record.end()
    except BaseException as error:
        record.fail(error)
        raise


def _experiment_id(client: Any, model: str, home: Path) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(model)
    if experiment is None:
        local = keeps_artifacts_locally(str(client.tracking_uri))
        location = (home / "mlflow" / "artifacts" / model).as_uri() if local else None
        try:
            return str(client.create_experiment(model, artifact_location=location, tags=MODEL_TRAINING_TAGS))
        except MlflowException as error:  # another training of the same model was faster
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(model)
    for name, value in MODEL_TRAINING_TAGS.items():
        if name not in experiment.tags:  # made before 0.2.0, or by hand
            client.set_experiment_tag(experiment.experiment_id, name, value)
    return str(experiment.experiment_id)


def _close_killed_runs(client: Any, experiment_id: str, request_digest: str) -> None:
    killed_runs = client.search_runs(
        [experiment_id], f"tags.`{REQUEST_DIGEST_TAG}` = '{request_digest}' AND attributes.status = 'RUNNING'"
    )
    for run in killed_runs:
        client.set_tag(run.info.run_id, "airworthy.failure", "killed; a later attempt went on from its checkpoint")
        client.set_terminated(run.info.run_id, "KILLED")

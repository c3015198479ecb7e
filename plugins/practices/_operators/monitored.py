"""Skips the checks of a day while no version is live or no prediction was made in their windows."""

from __future__ import annotations

import logging
from datetime import date, timedelta

from airflow.sdk.exceptions import AirflowSkipException

from pipelines import store_paths
from pipelines.errors import AirworthyError
from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec

log = logging.getLogger(__name__)


def skip_unless_watched(ports: Ports, spec: ModelSpec, day: date) -> None:
    """Skip the task, saying why, when no version is live or nothing was answered around the trailing windows.

    Both checks of a day ask the same question, so that they skip together and no retraining is decided on half a day.
    """
    released = ports.ledger.entries(spec.model, kind="release")  # asked first: the registry's client is slow to load
    if not released or ports.registry.by_alias(spec.model, "champion") is None:
        raise AirflowSkipException(f"no version of {spec.model} is live yet; there is nothing to watch")
    try:
        ports.endpoint.flush_log(spec.model)
    except AirworthyError as error:
        log.warning("the endpoint did not flush its log, answers of the last moments may be missing: %s", error)
    longest = max(spec.monitoring.performance.window_days, spec.monitoring.drift.window_days)
    dates = [day + timedelta(days=number) for number in range(-longest - 1, 2)]
    root = store_paths.predictions(spec.model)
    if not any(ports.store.list(f"{root}date={on:%Y-%m-%d}/") for on in dates):
        asked = f"{dates[0]} and {dates[-1]}"
        raise AirflowSkipException(f"{spec.model} answered nothing between {asked} (UTC); there is nothing to watch")

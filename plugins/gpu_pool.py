"""The scheduler creates the pool ``gpu``, in which trainings queue for GPUs, when it starts.

Airflow does not create the pool, and a task whose pool is missing stays scheduled for ever; the scheduler only logs it.
The pool counts deferred tasks, because a task that waits for its pod holds the pod's GPUs.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from pipelines.spec.catalog import Catalog

DESCRIPTION = "GPUs that trainings may hold at once (AIRWORTHY_GPUS)"
log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: object) -> None:
    """Called when an Airflow process or a task starts; only the scheduler (a ``Job``) creates the pool."""
    if sys.argv[1:2] != ["scheduler"] or type(component).__name__ != "Job":
        return
    loaded = set(sys.modules)
    from pipelines.settings import Settings
    from pipelines.spec.catalog import Catalog

    settings = Settings.from_environment()
    ensure_pool(settings.gpus, Catalog.read(settings.include))
    # The scheduler forks its tasks: modules that stay imported here would run in them even after the code has changed.
    for name in set(sys.modules) - loaded:
        if name.partition(".")[0] in ("pipelines", "practices"):
            del sys.modules[name]


def pool_size(gpus: int | None, catalog: Catalog, slots: int | None) -> int:
    """Slots that the pool must have, from the ``slots`` it has now (None: no pool exists; -1: unlimited).

    ``gpus`` if configured; else the present slots, but at least the largest number that one training declares. The
    minimum is 1, so that a training that no node can hold is refused by the cluster instead of waiting in the pool.
    """
    if gpus is not None:
        return max(1, gpus)
    if slots == -1:
        return slots
    return max(1, slots or 0, *(spec.gpus_per_training for spec in catalog.models.values()))


def ensure_pool(gpus: int | None, catalog: Catalog) -> None:
    """Create the pool; correct its size and ``include_deferred`` if needed, and keep what else a person has set."""
    from airflow.models.pool import Pool

    from practices._operators.defaults import GPU_POOL

    pool = Pool.get_pool(GPU_POOL)
    slots = pool_size(gpus, catalog, pool.slots if pool else None)
    if pool is None or pool.slots != slots or not pool.include_deferred:
        description = (pool.description if pool else None) or DESCRIPTION
        Pool.create_or_update_pool(GPU_POOL, slots, description, True, team_name=pool.team_name if pool else None)
        log.info("pool %s has %d slot(s) and counts deferred tasks", GPU_POOL, slots)


class GpuPool(AirflowPlugin):
    """Registers ``on_starting``."""

    name = "gpu_pool"
    listeners = [sys.modules[__name__]]

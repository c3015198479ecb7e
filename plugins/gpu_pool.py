"""The scheduler creates the pool ``gpu``, in which trainings queue for GPUs, when it starts.

Airflow makes no such pool by itself, and a task whose pool is missing waits for ever; the scheduler only logs that it
passes it over. The pool counts deferred tasks: a task that waits for its pod holds the pod's GPUs.
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
    """Called when an Airflow process or a task starts; only the scheduler, which is a ``Job``, looks after pools."""
    if sys.argv[1:2] != ["scheduler"] or type(component).__name__ != "Job":
        return
    loaded = set(sys.modules)
    from pipelines.settings import Settings
    from pipelines.spec.catalog import Catalog

    settings = Settings.from_environment()
    ensure_pool(settings.gpus, Catalog.read(settings.include))
    # The scheduler forks its tasks: what it keeps in memory they would run, however old it is by then.
    for name in set(sys.modules) - loaded:
        if name.partition(".")[0] in ("pipelines", "practices"):
            del sys.modules[name]


def pool_size(gpus: int | None, catalog: Catalog, slots: int | None) -> int:
    """Size of the pool that has ``slots`` (None: there is none; -1: no bound).

    ``asked`` GPUs, else what it has, but never fewer than the most that one training declares; at least 1, so that a
    training that asks in vain is told so by the cluster.
    """
    if gpus is not None:
        return max(1, gpus)
    if slots == -1:
        return slots
    return max(1, slots or 0, *(spec.gpus_at_once for spec in catalog.models.values()))


def ensure_pool(gpus: int | None, catalog: Catalog) -> None:
    """Create the pool, or mend it where it would let a task wait for ever; what a person set stays otherwise."""
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

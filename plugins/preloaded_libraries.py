"""The scheduler of a LocalExecutor imports heavy libraries once, before it forks, so that its tasks need not.

Its workers fork a process for each task: the audit of one day takes 3.5 s of processor time, 2.5 s of which are the
import of Great Expectations. Where steps run in pods (``AIRWORTHY_POD_IMAGE`` is set), the provider's pod operator is
imported as well: a task needs it to start a pod and again to collect it. None of these libraries starts a thread when
imported (a fork would lose it). ``AIRWORTHY_PRELOAD`` names other modules, separated by commas; empty, none.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module

from airflow.configuration import conf
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

DEFAULT_MODULES = "great_expectations,mlflow"
POD_OPERATOR_MODULE = "airflow.providers.cncf.kubernetes.operators.pod"
log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: object) -> None:  # noqa: ARG001 - the signature of the hook
    """Called when an Airflow process starts; only the scheduler forks workers."""
    if sys.argv[1:2] == ["scheduler"] and "LocalExecutor" in conf.get("core", "executor"):
        preload(modules_to_preload())


def modules_to_preload() -> list[str]:
    """Names of the modules to import, as the environment configures them."""
    default = f"{DEFAULT_MODULES},{POD_OPERATOR_MODULE}" if os.environ.get("AIRWORTHY_POD_IMAGE") else DEFAULT_MODULES
    return [name.strip() for name in os.environ.get("AIRWORTHY_PRELOAD", default).split(",") if name.strip()]


def preload(modules: list[str]) -> None:
    """Import the modules; one that cannot be imported is logged and left to the tasks that need it."""
    for name in modules:
        logging.getLogger(name.partition(".")[0]).setLevel(logging.WARNING)
        try:
            import_module(name)
        except ImportError as error:
            log.warning("cannot preload %s, tasks that need it import it themselves: %s", name, error)


class PreloadedLibraries(AirflowPlugin):
    """Registers ``on_starting``."""

    name = "preloaded_libraries"
    listeners = [sys.modules[__name__]]

"""Base class of operators that run a step: executed again when its pod has ended; when killed, deletes the pod."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context


class StepPractice(BaseOperator):
    """Base class of operators that run a step.

    With the runner ``kubernetes``, ``execute`` runs once to start each pod and again to continue with its result, so
    everything that it does before a step must be idempotent.
    """

    def resume_step(self, context: Context, event: dict[str, Any], asked: dict[str, Any]) -> Any:  # noqa: ARG002
        """Called when a pod has ended; ``asked`` identifies it. Airflow stores both names with deferred tasks."""
        from practices._pods.run import collect_pod

        collect_pod(asked)
        return self.execute(context)

    def on_kill(self) -> None:
        import sys

        if "practices._pods.run" in sys.modules:  # else this process has started none
            from practices._pods.run import delete_started_pods

            delete_started_pods()

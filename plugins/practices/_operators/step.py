"""A practice whose step runs in a pod is executed again when the pod has ended, and kills the pod when it is killed."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context


class StepPractice(BaseOperator):
    """The parent of every practice that runs a step.

    With the runner ``kubernetes``, ``execute`` runs once to start each pod and once more to go on with its result. So
    what it does before a step may be done again, and is the same the second time.
    """

    def resume_step(self, context: Context, event: dict[str, Any], asked: dict[str, Any]) -> Any:  # noqa: ARG002
        """Called by the triggerer when a pod has ended; the cluster and the store decide, not the event."""
        from practices._pods.run import conclude

        conclude(asked)
        return self.execute(context)

    def on_kill(self) -> None:
        import sys

        if pods := sys.modules.get("practices._pods.run"):
            pods.kill()

"""A practice whose step runs in a pod is executed again when the pod has ended; when killed, it deletes the pod."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context


class StepPractice(BaseOperator):
    """The parent of every practice that runs a step.

    With the runner ``kubernetes``, ``execute`` runs once to start each pod and once more to go on with its result. So
    what a practice does before a step must be the same when it is done again.
    """

    def resume_step(self, context: Context, event: dict[str, Any], asked: dict[str, Any]) -> Any:  # noqa: ARG002
        """Called when a pod has ended; the cluster and the store are asked what became of it, not the event."""
        from practices._pods.run import collect_pod

        collect_pod(asked)
        return self.execute(context)

    def on_kill(self) -> None:
        import sys

        if pods := sys.modules.get("practices._pods.run"):
            pods.kill()

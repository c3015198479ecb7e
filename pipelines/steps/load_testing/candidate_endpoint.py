"""Finds the URL and headers of a candidate without traffic, or says why there are none."""

from __future__ import annotations

import os
from typing import Protocol, runtime_checkable

from pipelines.errors import Refused
from pipelines.messages.release import LoadTestRequest
from pipelines.ports import DeploymentTarget, Ports
from pipelines.spec.deployment import Deployment

KEY_VARIABLE = "AIRWORTHY_GATEWAY_KEY"


@runtime_checkable
class HasCandidateEndpoint(Protocol):
    """A target that has an endpoint of its own for a candidate at 0 %."""

    def candidate_endpoint(self, model: str, rollout_id: str) -> tuple[str, dict[str, str]]:
        """URL that takes MLflow's ``dataframe_split``, and headers."""
        ...


def endpoint_fault(deployment: Deployment, target: DeploymentTarget) -> str | None:
    """Why candidates of this target cannot be load-tested; None if they can."""
    if deployment.target.kind == "embedded" or isinstance(target, HasCandidateEndpoint):
        return None
    kind = deployment.target.kind
    return f"target {kind} has no endpoint for a candidate at 0 %: leave load_test out; shadow and first stage test it"


def find_endpoint(request: LoadTestRequest, deployment: Deployment, ports: Ports) -> tuple[str, dict[str, str]]:
    """URL and headers by which the candidate of this rollout answers, and no other version.

    Raises ``Refused`` where the rollout has no such candidate, or the target no such endpoint.
    """
    target = ports.target(request.model)
    state = target.rollout(request.model)
    if state.rollout_id != request.rollout_id or state.candidate != request.version:
        rollout = f"{state.rollout_id or 'no rollout'} with candidate {state.candidate or 'none'}"
        subject = f"rollout {request.rollout_id} has no candidate {request.version} to test"
        raise Refused(subject, [f"the target has {rollout}"])
    if fault := endpoint_fault(deployment, target):
        raise Refused(f"{request.model} cannot be load-tested", [fault])
    if isinstance(target, HasCandidateEndpoint):
        return target.candidate_endpoint(request.model, request.rollout_id)
    key = os.environ.get(KEY_VARIABLE)
    headers = {"x-rollout-probe": state.probe} | ({"x-api-key": key} if key else {})
    return f"{ports.settings.gateway.rstrip('/')}/models/{request.model}/invocations", headers

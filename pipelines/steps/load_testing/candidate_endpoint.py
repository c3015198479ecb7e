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
class HasProbeEndpoint(Protocol):
    """A target at which a version without traffic has an address of its own."""

    def probe_endpoint(self, model: str, probe: str) -> tuple[str, dict[str, str]]:
        """URL that takes MLflow's ``dataframe_split``, and headers."""
        ...


def endpoint_fault(deployment: Deployment, target: DeploymentTarget) -> str | None:
    """Why candidates of this target cannot be load-tested; None if they can."""
    if deployment.target.kind == "embedded" or isinstance(target, HasProbeEndpoint):
        return None
    kind = deployment.target.kind
    return f"target {kind} has no endpoint for a candidate at 0 %: leave load_test out; shadow and first stage test it"


def find_endpoint(request: LoadTestRequest, deployment: Deployment, ports: Ports) -> tuple[str, dict[str, str]]:
    """URL and headers by which the candidate of this rollout, or a first version under test, answers, and no other.

    Raises ``Refused`` where the rollout has no such candidate, or the target no such endpoint.
    """
    target = ports.target(request.model)
    probe = request.probe or _candidate_probe(request, target)
    if fault := endpoint_fault(deployment, target):
        raise Refused(f"{request.model} cannot be load-tested", [fault])
    if isinstance(target, HasProbeEndpoint):
        return target.probe_endpoint(request.model, probe)
    key = os.environ.get(KEY_VARIABLE)
    headers = {"x-rollout-probe": probe} | ({"x-api-key": key} if key else {})
    return f"{ports.settings.gateway.rstrip('/')}/models/{request.model}/invocations", headers


def _candidate_probe(request: LoadTestRequest, target: DeploymentTarget) -> str:
    state = target.rollout(request.model)
    if state.rollout_id != request.rollout_id or state.candidate != request.version:
        rollout = f"{state.rollout_id or 'no rollout'} with candidate {state.candidate or 'none'}"
        subject = f"rollout {request.rollout_id} has no candidate {request.version} to test"
        raise Refused(subject, [f"the target has {rollout}"])
    return state.probe

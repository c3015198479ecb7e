"""One InferenceService holds a model's traffic and its rollout's record, so that one atomic write changes both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from pipelines.adapters.kubernetes import kserve_objects as objects
from pipelines.adapters.kubernetes.annotated_rollouts import AnnotatedRollouts
from pipelines.adapters.kubernetes.api import Document, KubernetesApi
from pipelines.adapters.kubernetes.http_route_target import POD_VARIABLES, Timeouts
from pipelines.adapters.kubernetes.kserve_objects import (
    DEPLOYMENT_MODE_ANNOTATION,
    STANDARD_MODES,
    predictor_name,
    workload_name,
)
from pipelines.adapters.kubernetes.pod_readings import PodCounts
from pipelines.adapters.kubernetes.rollout_record import RECORD_ANNOTATION, ObservedRecord, ServingRecord, used_versions
from pipelines.adapters.kubernetes.served_pods import await_ready, no_ready_pod_error, read_counters
from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.release import LiveState
from pipelines.ports import Clock
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import Route, Served
from pipelines.spec.deployment import Deployment, KServe

API_VERSION = "serving.kserve.io/v1beta1"


class KServeTarget(AnnotatedRollouts):
    """``DeploymentTarget`` of one model: an InferenceService in Standard mode whose ``spec.canary`` splits the traffic.

    ``spec.canary`` lists the candidate with its share, and the former version with none until it is retired: a
    promotion and its rollback change names and no pods. A version that lost its share stays listed until KServe has
    applied the change.

    ``template``: pod template of every version. ``store``: where the gateways write their prediction log.
    ``image``: that of the installation, for a model that declares none.
    """

    can_mirror = False

    def __init__(
        self,
        deployment: Deployment,
        open_client: Callable[[], Any],
        *,
        template: Document,
        store: str,
        clock: Clock,
        image: str | None = None,
        timeouts: Timeouts | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(clock)
        target = deployment.target
        if not isinstance(target, KServe):
            raise Refused(f"deployment.target.kind is {target.kind}, not kserve")
        self._deployment, self._target = deployment, target
        self._template, self._store, self._timeouts = template, store, timeouts or Timeouts()
        self._image = target.image or image
        self._environment = os.environ if environment is None else environment
        self.linger_seconds = self._timeouts.linger_seconds
        self._api = KubernetesApi(open_client, target.namespace)

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        state = super().release(model, version, bundle, sha256, key=key)
        served = Served(version, bundle, sha256)
        self._wait_ready(model, served)  # the first release makes its pods only now
        return state.model_copy(update={"workers": self._ready_pods(model, served)})

    def load_unreleased(self, model: str, version: str, bundle: str, sha256: str, *, seconds: float) -> str:  # noqa: ARG002
        raise Refused(f"KServe cannot load version {version} of {model} without traffic; remove load_test")

    def unload_unreleased(self, model: str) -> None:
        """There is none."""

    # ---- the record and the traffic -----------------------------------------------------------------------------

    def _observe(self, model: str) -> ObservedRecord | None:
        document = self._read_service(model)
        if document is None:
            return None
        annotations = document["metadata"].get("annotations") or {}
        name = self._service_name(model)
        if RECORD_ANNOTATION not in annotations:
            raise Refused(
                f"InferenceService {name} does not belong to this installation: it has no {RECORD_ANNOTATION}",
                ["delete it, or name another one by deployment.target.service"],
            )
        if (mode := annotations.get(DEPLOYMENT_MODE_ANNOTATION)) not in STANDARD_MODES:
            raise Refused(
                f"InferenceService {name} is in mode {mode or 'Knative'}, which has no spec.canary",
                [f"set its annotation {DEPLOYMENT_MODE_ANNOTATION}: Standard; Knative mode has no canary version"],
            )
        record = ServingRecord.parse(f"InferenceService {name}", annotations[RECORD_ANNOTATION])
        versions = {predictor_name(served): served.version for served in used_versions(record.route)}
        return ObservedRecord(
            record=record,
            resource_version=document["metadata"]["resourceVersion"],
            split=objects.read_weights(document["spec"], versions),
            applied=_is_applied(document),
            workers=self._ready_pods(model, record.route.live),
        )

    def _write(self, model: str, record: ServingRecord, before: ObservedRecord | None) -> None:
        name = self._service_name(model)
        metadata: Document = {"name": name, "annotations": {RECORD_ANNOTATION: record.text()}}
        document = {"apiVersion": API_VERSION, "kind": "InferenceService", "metadata": metadata}
        stored = (self._read_service(model) or {}) if before else {}
        spec = self._inference_spec(model, record, stored.get("spec"))
        if before is None:
            metadata["annotations"][DEPLOYMENT_MODE_ANNOTATION] = STANDARD_MODES[0]
            metadata["labels"] = {"app.kubernetes.io/managed-by": "airworthy", "airworthy.dev/model": model}
            document["spec"] = {field: value for field, value in spec.items() if value is not None}
            written = self._api.create(document)
        else:
            metadata["resourceVersion"] = before.resource_version
            live = objects.replacement(stored.get("spec", {}).get("predictor"), spec["predictor"])
            document["spec"] = {**spec, "predictor": live}
            written = self._api.merge_patch(document)
        if objects.essentials(spec) != objects.essentials(written["spec"]):
            hint = "KServe before 0.20 has no spec.canary; install 0.20 or newer"
            raise Refused(f"InferenceService {name} differs from what was written to it", [hint])

    def _inference_spec(self, model: str, record: ServingRecord, stored: Document | None = None) -> Document:
        variables = {name: self._environment[name] for name in POD_VARIABLES if name in self._environment}
        return objects.inference_spec(
            model,
            record.route,
            record.leaving,
            declared=self._deployment,
            pods=objects.GatewayPods(self._image, self._template, self._store, variables),
            stored=objects.stored_predictors(stored) if stored else None,
        )

    # ---- versions -----------------------------------------------------------------------------------------------

    def _deploy_version(self, model: str, served: Served) -> None:
        """Wait for the pods of a version, which ``_record_unused`` has already added to the service."""
        observed = self._observe(model)
        if observed is None:
            self._inference_spec(model, ServingRecord(Route(served)))  # raises Refused before anything is written
            return
        if served not in used_versions(observed.record.route):
            with suppress(Conflict):  # an earlier try may have left pods that were declared otherwise
                self._write(model, observed.record, observed)
        self._wait_ready(model, served)

    def _delete_version(self, model: str, served: Served) -> None:
        """Remove the version from the record; KServe then deletes its predictor."""
        observed = self._observe(model)
        if observed is not None and served in observed.record.leaving:
            leaving = [other for other in observed.record.leaving if other != served]
            with suppress(Conflict):  # the record still lists the versions to delete
                self._write(model, msgspec.structs.replace(observed.record, leaving=leaving), observed)

    def _wait_ready(self, model: str, served: Served) -> None:
        name = workload_name(self._service_name(model), served)
        labels, seconds = {"app": f"isvc.{name}"}, self._timeouts.ready_seconds
        deadline = time.monotonic() + seconds
        while self._api.read("apps/v1", "Deployment", name) is None:
            if time.monotonic() > deadline:
                unmet = _unmet_conditions(self._read_service(model)) or "is it running?"
                raise Unavailable(f"KServe made no Deployment {name} within {seconds:g} s: {unmet}")
            time.sleep(0.5)
        await_ready(self._api, name, labels, seconds=seconds, recreate=lambda: self._record_unused(model, served))

    def _wait_applied(self, model: str) -> bool:
        deadline = time.monotonic() + self._timeouts.applied_seconds
        while not _is_applied(self._read_service(model) or {}):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    # ---- the pods' counters -------------------------------------------------------------------------------------

    def _read_pods(self, model: str, route: Route) -> dict[str, tuple[str, PodCounts]]:
        limits = [limit.over_ms for limit in route.rollout.plan.guard.latency] if route.rollout else []
        readings: dict[str, tuple[str, PodCounts]] = {}
        for served in (route.live, route.candidate):
            if served is not None:
                workload = workload_name(self._service_name(model), served)
                pods = self._api.list_by_labels("v1", "Pod", {"app": f"isvc.{workload}"})
                counters = read_counters(self._api, pods, objects.PORT, limits)
                if not counters:
                    raise no_ready_pod_error(model, served, route)
                readings |= {pod: (served.version, reading) for pod, reading in counters.items()}
        return readings

    def _plan_faults(self, plan: RolloutPlan) -> list[str]:
        faults = []
        if plan.routing.key != "request_id" or plan.routing.segments:
            faults.append("routing: KServe splits by weight alone; only routing.key request_id is possible")
        if plan.strategy == "shadow":
            faults.append("strategy shadow: KServe mirrors no requests")
        return faults

    # ---- reading ------------------------------------------------------------------------------------------------

    def _service_name(self, model: str) -> str:
        return objects.service_name(model, self._target)

    def _read_service(self, model: str) -> Document | None:
        return self._api.read(API_VERSION, "InferenceService", self._service_name(model))

    def _ready_pods(self, model: str, served: Served) -> int:
        deployment = self._api.read("apps/v1", "Deployment", workload_name(self._service_name(model), served)) or {}
        return int(deployment.get("status", {}).get("availableReplicas", 0))


def _is_applied(document: Document) -> bool:
    """Whether KServe's controller has accepted the newest write, and every version with a share is ready."""
    status = document.get("status", {})
    if not document or status.get("observedGeneration", 0) < document["metadata"].get("generation", 0):
        return False
    required = {"Ready"} | ({"CanaryReady"} if document["spec"].get("canary") else set())
    met = {condition["type"] for condition in status.get("conditions", []) if condition["status"] == "True"}
    return required <= met


def _unmet_conditions(document: Document | None) -> str:
    conditions = (document or {}).get("status", {}).get("conditions", [])
    return "; ".join(f"{c['type']}: {c.get('message', '')}" for c in conditions if c["status"] != "True")

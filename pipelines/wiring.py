"""Opens the real adapter of each port when it is first used, and runs a step by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipelines.errors import Refused, Unavailable
from pipelines.logs.traces import step_span
from pipelines.messages import (
    comparison,
    estimated_performance,
    evaluation,
    features,
    ingestion,
    monitoring,
    release,
    rollback_drill,
    rollout,
    training,
    validation,
)
from pipelines.messages.message import Message
from pipelines.mlflow_client import PASSWORD_FILES
from pipelines.ports import DeploymentTarget, Incidents, Ledger, Notifier, Ports, Registry, SourceDatabase, Store
from pipelines.rollout import analysis
from pipelines.rules.pod_privileges import check_host_access
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog

if TYPE_CHECKING:
    from pipelines.adapters.connection import ConnectionFields
    from pipelines.adapters.gateway.rollouts import GatewayRollouts
    from pipelines.adapters.sagemaker.clients import AwsClients

STEPS: dict[str, type[Message]] = {
    "extract_partition": ingestion.ExtractRequest,
    "ingest_partition": ingestion.IngestRequest,
    "audit_partition": validation.ValidateRequest,
    "publish_partition": validation.PublishRequest,
    "build_features": features.FeaturesRequest,
    "publish_features": features.PublishFeaturesRequest,
    "take_snapshot": training.SnapshotRequest,
    "compare_histories": evaluation.HistoryRequest,
    "train_model": training.TrainRequest,
    "reproduce_model": training.ReproduceRequest,
    "evaluate_model": evaluation.EvaluateRequest,
    "build_bundle": release.BundleRequest,
    "weigh_rollout": analysis.WeighRequest,
    "weigh_release": rollout.WatchRequest,
    "load_candidate": release.LoadTestRequest,
    "inspect_release": release.InspectionRequest,
    "measure_performance": monitoring.MonitorRequest,
    "measure_drift": monitoring.MonitorRequest,
    "measure_live_inputs": monitoring.MonitorRequest,
    "estimate_performance": estimated_performance.EstimateRequest,
    "time_rollback": rollback_drill.DrillRequest,
    "measure_shadow": comparison.ShadowRequest,
    "measure_experiment": comparison.ExperimentRequest,
}
"""Request class of each step, which is a module of ``pipelines.steps``; ``run(request, ports)`` returns its result."""

CHECKED_STORES: set[str] = set()
"""Roots of the stores whose format this process has checked."""


def run_step(name: str, request: str, ports: Ports) -> Message:
    """Run one step on a JSON request. ``Refused`` for an unknown step."""
    if name not in STEPS:
        raise Refused(f"no step is called {name!r}; there are {', '.join(STEPS)}")
    with step_span(name):
        result: Message = import_module(f"pipelines.steps.{name}").run(STEPS[name].model_validate_json(request), ports)
    return result


class RealPorts:
    """Ports of one installation; an adapter is imported and opened when first used.

    ``store_options`` returns the store's current storage options; ``sagemaker`` opens AWS clients by the id of an
    Airflow connection, ``kubernetes`` a cluster's client, ``connections`` reads the fields of an Airflow
    connection. None: the environment configures them.
    """

    def __init__(
        self,
        settings: Settings,
        store_options: Callable[[], Mapping[str, str]] | None = None,
        *,
        sagemaker: Callable[[str | None], AwsClients] | None = None,
        kubernetes: Callable[[str | None], Any] | None = None,
        connections: Callable[[str], ConnectionFields] | None = None,
    ) -> None:
        self.settings, self._store_options = settings, store_options
        self._connections = connections
        if settings.is_registry_embedded:
            PASSWORD_FILES[settings.tracking.rstrip("/")] = settings.registry_password_file
        self._sagemaker, self._kubernetes = sagemaker, kubernetes

    @staticmethod
    def clock() -> datetime:
        return datetime.now(UTC)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog.read(self.settings.include)

    @cached_property
    def store(self) -> Store:
        from pipelines.adapters.store.delta import DeltaStore
        from pipelines.adapters.store.store_format import check_format

        store = DeltaStore(self.settings.store, self._store_options)
        if store.root not in CHECKED_STORES:
            with suppress(Unavailable):  # who uses the store is told, and its format is checked when it is next opened
                check_format(store)
                CHECKED_STORES.add(store.root)
        return store

    @cached_property
    def registry(self) -> Registry:
        from pipelines.adapters.mlflow_registry import MlflowRegistry

        return MlflowRegistry(self.settings.tracking)

    @cached_property
    def ledger(self) -> Ledger:
        from pipelines.adapters.ledger.sql import SqlLedger
        from pipelines.adapters.ledger.stored_heads import StoredHeads

        heads = StoredHeads(self.settings.store, self._store_options)
        return SqlLedger(self.settings.ledger, stored_heads=heads)

    @cached_property
    def incidents(self) -> Incidents:
        from pipelines.adapters.incidents.sql import SqlIncidents

        return SqlIncidents(self.settings.ledger)

    def notifier(self, channel: str) -> Notifier:
        from pipelines.adapters.notifier.channels import open_notifier

        return open_notifier(self.catalog.alerts.channels[channel], self.settings.home, self._connections)

    def database(self, connection: str) -> SourceDatabase:
        from pipelines.adapters.source_database import SqlDatabase

        if self._connections is None:
            raise Refused(f"connection {connection!r} can be read by Airflow's processes alone")
        return SqlDatabase(self._connections(connection))

    @cached_property
    def endpoint(self) -> GatewayRollouts:
        from pipelines.adapters.gateway.rollouts import GatewayRollouts

        settings = self.settings
        token_file = settings.gateway_token_file
        return GatewayRollouts(settings.gateway, settings.gateway_admin, token_file=token_file, actor=settings.actor)

    def target(self, model: str) -> DeploymentTarget:
        deployment = self.catalog.model(model).deployment
        declared = deployment.target
        if declared.kind == "embedded":
            return self.endpoint
        if declared.kind == "sagemaker":
            from pipelines.adapters.sagemaker.changes import EndpointChanges
            from pipelines.adapters.sagemaker.clients import clients_of_environment
            from pipelines.adapters.sagemaker.target import SageMakerTarget

            clients = (self._sagemaker or clients_of_environment)(declared.connection)
            return SageMakerTarget(EndpointChanges(model, deployment, clients, self.settings.store))
        if declared.kind == "http_route":
            from pipelines.adapters.kubernetes.http_route_target import HttpRouteTarget

            return HttpRouteTarget(
                deployment,
                self._cluster(declared.connection),
                template=self._pod_template(declared.template),
                store=self.settings.store,
                clock=self.clock,
            )
        if declared.kind == "kserve":
            from pipelines.adapters.kubernetes.kserve_target import KServeTarget

            opened = self._cluster(declared.connection)
            template, settings = self._pod_template(declared.template), self.settings
            return KServeTarget(
                deployment, opened, template=template, image=settings.pod_image, store=settings.store, clock=self.clock
            )
        raise Refused(f"{model}: deployment.target.kind {declared.kind!r} is not supported")

    def _pod_template(self, name: str) -> Any:
        """The template of the pods that serve. ``Refused`` if it takes something of a node without being allowed to."""
        from pipelines.adapters.kubernetes.http_route_target import read_template

        template = read_template(self.settings.include / "pods" / name)
        allowed = self.settings.allow_host_access
        check_host_access(f"the pods of {name} would use their nodes", template["spec"], allowed=allowed)
        return template

    def _cluster(self, connection: str | None) -> Callable[[], Any]:
        from pipelines.adapters.kubernetes.api import open_client

        return partial(self._kubernetes or open_client, connection)


def open_ports(
    settings: Settings | None = None,
    store_options: Callable[[], Mapping[str, str]] | None = None,
    *,
    sagemaker: Callable[[str | None], AwsClients] | None = None,
    kubernetes: Callable[[str | None], Any] | None = None,
    connections: Callable[[str], ConnectionFields] | None = None,
) -> RealPorts:
    """Ports of the installation that the environment describes."""
    return RealPorts(
        settings or Settings.from_environment(),
        store_options,
        sagemaker=sagemaker,
        kubernetes=kubernetes,
        connections=connections,
    )

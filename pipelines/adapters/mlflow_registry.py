"""The ``Registry`` port over MLflow: an outage raises ``Unavailable``, an unknown version ``Refused``.

A version's own tags are few and short, for people. Digests and the other facts of its training are tags of its run; a
version from before 0.2.0 has them itself. Callers get both as one, and metrics by their plain names.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pipelines.errors import unknown_name
from pipelines.mlflow_client import open_client, plain_metric, translate_mlflow_errors
from pipelines.ports import VersionInfo

PAGE_SIZE = 100
OWN_TAGS = "airworthy."
"""Prefix of the tags that belong to this product; the others of a run are MLflow's own."""


class MlflowRegistry:
    """A ``Registry`` over one MLflow server or database; MLflow is imported at the first call."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri

    @cached_property
    def _client(self) -> Any:
        return open_client(self._uri)

    def get(self, model: str, version: str) -> VersionInfo:
        with translate_mlflow_errors(self._uri):
            registered = self._find_version(model, version)
            if registered is not None:
                return self._version_info(registered, self._aliases(model))
            if self._find_registered_model(model) is None:
                names = sorted(registered.name for registered in self._client.search_registered_models())
                raise unknown_name(f"there is no model {model} in the registry", names)
        numbers = [info.version for info in reversed(self.versions(model))]
        raise unknown_name(f"{model} has no version {version} in the registry", numbers)

    def by_alias(self, model: str, alias: str) -> VersionInfo | None:
        with translate_mlflow_errors(self._uri):
            registered = self._find_registered_model(model)
            version = registered.aliases.get(alias) if registered else None
            if version is None:
                return None
            return self._version_info(self._client.get_model_version(model, str(version)), self._aliases(model))

    def versions(self, model: str) -> list[VersionInfo]:
        with translate_mlflow_errors(self._uri):
            if self._find_registered_model(model) is None:
                return []
            versions, token = [], None
            while True:
                page = self._client.search_model_versions(f"name='{model}'", max_results=PAGE_SIZE, page_token=token)
                versions += page
                token = page.token
                if not token:
                    break
            aliases = self._aliases(model)
            runs = self._runs(model, [version.run_id for version in versions if version.run_id])
            newest_first = sorted(versions, key=lambda version: int(version.version), reverse=True)
            return [self._version_info(version, aliases, runs.get(version.run_id)) for version in newest_first]

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        self.get(model, version)
        with translate_mlflow_errors(self._uri):
            for name, value in tags.items():
                self._client.set_model_version_tag(model, version, name, value)

    def move_alias(self, model: str, alias: str, version: str | None) -> None:
        with translate_mlflow_errors(self._uri):
            if version is not None:
                self._client.set_registered_model_alias(model, alias, self.get(model, version).version)
            elif self._find_registered_model(model) is not None:
                self._client.delete_registered_model_alias(model, alias)

    def _find_version(self, model: str, version: str) -> Any | None:
        """None also for a text that is no number, as MLflow's versions are."""
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version(model, version) if version.isdigit() else None
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _find_registered_model(self, model: str) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _aliases(self, model: str) -> dict[str, str]:
        registered = self._find_registered_model(model)
        return {alias: str(version) for alias, version in registered.aliases.items()} if registered else {}

    def _runs(self, model: str, run_ids: list[str]) -> dict[str, Any]:
        """Runs by id, of the model's own experiment, with one call per page; also those that somebody deleted."""
        experiment, all_runs = self._client.get_experiment_by_name(model), 3  # mlflow.entities.ViewType.ALL
        runs = {}
        for start in range(0, len(run_ids) if experiment else 0, PAGE_SIZE):
            quoted_ids = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + PAGE_SIZE])
            query = f"attributes.run_id IN ({quoted_ids})"
            page = self._client.search_runs([experiment.experiment_id], query, run_view_type=all_runs)
            runs.update({run.info.run_id: run for run in page})
        return runs

    def _version_info(self, version: Any, aliases: Mapping[str, str], run: Any = None) -> VersionInfo:
        number = str(version.version)
        if run is None and version.run_id:
            run = self._client.get_run(version.run_id)
        data = run.data if run else None
        facts = {name: value for name, value in data.tags.items() if name.startswith(OWN_TAGS)} if data else {}
        return VersionInfo(
            model=version.name,
            version=number,
            run_id=version.run_id or "",
            source=version.source or "",
            semantic=version.tags.get("airworthy.semantic_version"),
            aliases=tuple(sorted(alias for alias, held in aliases.items() if held == number)),
            tags={**facts, **version.tags},
            metrics={plain_metric(name): value for name, value in data.metrics.items()} if data else {},
        )

"""Only an approved version that passed every gate and whose bundle answers alike goes live; records follow traffic."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused, Unavailable
from pipelines.messages import BundleRequest, BundleResult, LiveState
from pipelines.ports import Ports
from pipelines.rules.champion_release import judge_release
from practices import _asked, _hooks, _runner
from practices._aliases import follow_traffic
from practices._model_practice import ModelPractice
from practices._settle import settle
from practices.defaults import asset

REQUIRED_GATES = ("minimum_metrics_gate", "champion_comparison_gate", "slice_gate")


class ChampionRelease(ModelPractice):
    """Build the bundle of an approved version, judge it by the ledger, switch traffic, then move the aliases.

    Each action can be repeated: a task killed between any two of them ends right when it runs again. Traffic is read
    back before anything is recorded. The version comes from the form, else from the newest approval. Lets
    ``<model>:released`` fire. Returns the endpoint's ``LiveState``.
    """

    ui_color = "#a4c2f4"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = _hooks.open_ports()
        asked = _asked.version(context, f"{self.model}:approved", waiting(ports, self.model))
        request, runner = BundleRequest(model=self.model, version=asked), ports.catalog.model(self.model).runs("deploy")
        bundle = _runner.run_step("build_bundle", request, BundleResult, runner=runner)
        version = bundle.version  # a later approval may have come while a pod was building
        self._judge(bundle, ports, context)
        former = ports.registry.by_alias(self.model, "champion")
        key = _asked.act_key(context, version)
        state = switch_traffic(bundle, ports, key)
        details = {
            "from": former.version if former else None,
            "semantic_version": ports.registry.get(self.model, version).semantic,
            **bundle.model_dump(mode="json", include={"uri", "sha256", "model_digest", "predictor"}),
            **state.model_dump(mode="json", include={"previous", "generation", "workers"}),
        }
        who = _asked.actor(context, ports.settings.actor)
        ports.ledger.append("release", self.model, version, details, actor=who, key=key)
        follow_traffic(ports.registry, state)
        context["outlet_events"][asset(self.model, "released")].extra = {"version": version, **details}
        return state.model_dump(mode="json", by_alias=True)

    def _judge(self, bundle: BundleResult, ports: Ports, context: Context) -> None:
        settle(
            judge_release(bundle, *certificates(bundle, ports), REQUIRED_GATES),
            subject=f"the release of {self.model} version {bundle.version}",
            ledger_kind="gate",
            model=self.model,
            version=bundle.version,
            ports=ports,
            context=context,
            on_fail="fail",
            details={"gate": "champion_release", "model_digest": bundle.model_digest, "bundle": bundle.sha256},
        )


def certificates(bundle: BundleResult, ports: Ports) -> tuple[dict[str, str], str | None]:
    """The last word of each gate on this very model file, and the model digest that was approved last."""
    lines = ports.ledger.entries(model=bundle.model, version=bundle.version)
    gates = [line.details for line in lines if line.kind == "gate"]
    spoken = {d["gate"]: d["outcome"] for d in gates if d.get("model_digest") == bundle.model_digest}
    approvals = [line.details["model_digest"] for line in lines if line.kind == "approval"]
    return spoken, approvals[-1] if approvals else None


def waiting(ports: Ports, model: str) -> list[str]:
    """Approved versions that were never live; one that was rolled back waits for nobody."""
    released = {line.version for line in ports.ledger.entries(model=model, kind="release")}
    approved = [v.version for v in ports.registry.versions(model) if v.tags.get("airworthy.status") == "approved"]
    return [version for version in approved if version not in released]


def switch_traffic(bundle: BundleResult, ports: Ports, key: str) -> LiveState:
    """Make the bundle live unless it is, and read back that it is. ``Refused`` if another version answers now."""
    before = ports.endpoint.state(bundle.model)
    if (before.version, before.bundle_sha256) != (bundle.version, bundle.sha256):
        ports.endpoint.release(bundle.model, bundle.version, bundle.uri, bundle.sha256, key=key)
    state = ports.endpoint.state(bundle.model)
    if state.version != bundle.version:
        reasons = [f"{state.version} is live: it was released, or put back, after this run switched traffic"]
        reasons.append(f"trigger {bundle.model}__deploy with version {bundle.version} if that is what you want")
        raise Refused(f"version {bundle.version} of {bundle.model} is not live any more", reasons)
    if not state.applied:
        raise Unavailable(f"not every worker of the gateway serves generation {state.generation} of {bundle.model} yet")
    return state

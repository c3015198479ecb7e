"""The ``DeploymentTarget`` port over the gateway's HTTP: one call per change, with generation and idempotency key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.adapters.gateway.endpoint import GatewayEndpoint
from pipelines.messages.rollout import ArmCounts, RolloutState


class GatewayRollouts(GatewayEndpoint):
    """``DeploymentTarget`` and ``Endpoint`` of one gateway. A rollback applies to any generation."""

    def rollout(self, model: str) -> RolloutState:
        return _to_rollout_state(self._call("GET", f"{self._admin}/models/{model}/rollout"))

    def create_rollout(
        self, model: str, rollout_id: str, plan: Mapping[str, Any], *, expect: int, key: str
    ) -> RolloutState:
        return self._change_rollout("PUT", model, rollout_id, "", plan, expect, key)

    def prepare(
        self, model: str, rollout_id: str, version: str, bundle: str, sha256: str, *, expect: int, key: str
    ) -> RolloutState:
        content = {"version": version, "bundle": bundle, "sha256": sha256}
        return self._change_rollout("POST", model, rollout_id, "/prepare", content, expect, key)

    def set_traffic(
        self, model: str, rollout_id: str, split: Mapping[str, int], *, expect: int, key: str
    ) -> RolloutState:
        return self._change_rollout("POST", model, rollout_id, "/traffic", {"split": dict(split)}, expect, key)

    def set_mirror(
        self, model: str, rollout_id: str, version: str | None, basis_points: int, *, expect: int, key: str
    ) -> RolloutState:
        content = {"version": version, "basis_points": basis_points}
        return self._change_rollout("POST", model, rollout_id, "/mirror", content, expect, key)

    def renew_lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> RolloutState:
        return self._change_rollout("POST", model, rollout_id, "/lease", {"seconds": seconds}, expect, key)

    def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> RolloutState:
        return self._change_rollout("POST", model, rollout_id, "/pause", {"reason": reason}, expect, key)

    def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> RolloutState:
        return self._change_rollout("POST", model, rollout_id, "/resume", {}, expect, key)

    def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> RolloutState:
        return self._change_rollout("POST", model, rollout_id, "/promote", {"version": version}, expect, key)

    def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> RolloutState:
        return self._change_rollout("POST", model, rollout_id, "/retire", {"version": version}, expect, key)

    def roll_back(self, model: str, rollout_id: str, reason: str, *, key: str) -> RolloutState:
        return self._change_rollout("POST", model, rollout_id, "/rollback", {"reason": reason}, None, key)

    def counts(self, model: str, rollout_id: str) -> list[ArmCounts]:
        answer = self._call("GET", f"{self._admin}/models/{model}/rollouts/{rollout_id}/counts")
        return [ArmCounts.model_validate(arm) for arm in answer["arms"]]

    def _change_rollout(
        self,
        method: str,
        model: str,
        rollout_id: str,
        verb: str,
        content: Mapping[str, Any],
        expect: int | None,
        key: str,
    ) -> RolloutState:
        headers = {"idempotency-key": key} | ({} if expect is None else {"if-match": f'"{expect}"'})
        url = f"{self._admin}/models/{model}/rollouts/{rollout_id}{verb}"
        return _to_rollout_state(self._call(method, url, content, headers=headers, timeout=self._slow_timeout))


def _to_rollout_state(answer: Mapping[str, Any]) -> RolloutState:
    """The admin listener's answer, with each version's number in place of its object."""
    record, mirror = answer["rollout"] or {}, answer["mirror"] or {}
    versions = {field: answer[field] and answer[field]["version"] for field in ("champion", "candidate", "previous")}
    current = {field: answer[field] for field in ("model", "generation", "split", "workers", "applied")}
    fields = ("rollout_id", "phase", "step", "step_started", "lease_until", "reason", "probe")
    recorded = {field: record[field] for field in fields if field in record}
    mirrored = {"mirror": mirror.get("version"), "mirror_basis_points": mirror.get("basis_points", 0)}
    return RolloutState.model_validate(versions | current | recorded | mirrored)

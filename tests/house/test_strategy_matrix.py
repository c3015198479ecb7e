"""No declared field does nothing: under every strategy and target each is refused when the file is read, or acts.

``effects`` is all that a deployment's strategy and target make of it, by the product's own functions. A field that
changes none of that has to be among the faults.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from pipelines.adapters.kubernetes import http_route_objects, kserve_objects
from pipelines.adapters.sagemaker.clients import AwsClients, NotFound
from pipelines.adapters.sagemaker.endpoint import ProductionVariant, SageMakerEndpoint
from pipelines.adapters.sagemaker.guardrail import guarded_config
from pipelines.ledger.required_evidence import required_stages
from pipelines.rollout import from_spec
from pipelines.rollout.transitions import Route, Served
from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import Catalog
from pipelines.spec.deployment import Deployment, HttpRoute, KServe, SageMaker
from pipelines.spec.deployment_faults import deployment_faults
from pipelines.steps.rollouts.design import rollout_design

AWS = {
    "kind": "sagemaker",
    "role_arn": "arn:aws:iam::123456789012:role/serving",
    "image": "image",
    "instance_type": "ml.m5.large",
}
GUARDED = AWS | {"mode": "guardrail", "alarms": ["errors"]}
TARGETS: dict[str, dict[str, Any]] = {
    "embedded": {"target": {"kind": "embedded"}},
    "http_route": {"target": {"kind": "http_route", "gateway": "public", "image": "image"}},
    "kserve": {"target": {"kind": "kserve", "image": "image"}},
    "variants": {"target": AWS},
    "guardrail": {"target": GUARDED, "resources": {"replicas": 2}},
}
ACCEPTED = {
    *((strategy, "embedded") for strategy in ("all_at_once", "shadow", "canary", "blue_green", "ab")),
    *product(("all_at_once", "canary", "blue_green"), ("http_route", "kserve", "variants", "guardrail")),
}
"""Strategies that a target has the means for; the others are refused."""
STRATEGIES: dict[str, dict[str, Any]] = {
    "all_at_once": {},
    "shadow": {},
    "canary": {"canary": {"canary_percentage": 25, "increment_percentage": 25}},
    "blue_green": {},
    "ab": {"routing": {"key": "header:x-user"}},
}
URL = {"url": "https://models.example"}
LOAD: dict[str, Any] = {"load_test": {"assertions": {"error_rate": {"max": 0.01}}}}
SCALED: dict[str, Any] = {
    "resources": {
        "replicas": 2,
        "max_replicas": 4,
        "cpu_request": "1",
        "memory_request": "1Gi",
        "autoscaling": {"target_value": 50},
    }
}
PEOPLE: dict[str, Any] = {"approval": {"approvers": [{"role": "lead", "users": ["ann", "bob"], "count": 2}]}}
SLOW = {"name": "slow", "event": "slow", "over_ms": 200}
VALUES: dict[str, Any] = {
    "shadow.duration": 60, "shadow.sample_rate": 0.5, "shadow.max_disagreement": 0.1, "shadow.tolerance": 0.1,
    "shadow.min_coverage": 0.5, "shadow.minimum_compared": 5, "shadow.max_duration": 200000,
    "canary.canary_percentage": 20, "canary.increment_percentage": 20, "canary.increment_interval": 60,
    "canary.max_percentage": 40, "canary.steps": [10, 20, 30, 40], "canary.rollback_on_error": False,
    "canary.error_threshold": 0.2, "canary.max_step_duration": 3600,
    "blue_green.test_traffic_percentage": 20, "blue_green.validation_duration": 60,
    "blue_green.error_threshold": 0.2, "blue_green.max_duration": 3700,
    "ab.experiment_id": "one", "ab.control_model": "4", "ab.variant_model": "5", "ab.traffic_split": 0.2,
    "ab.metrics": ["latency"], "ab.minimum_sample_size": 10, "ab.confidence_level": 0.8, "ab.margin": 0.1,
    "ab.srm_alpha": 0.01, "ab.error_threshold": 0.2, "ab.max_duration": 60,
    "analysis.alpha": 0.1, "analysis.srm_alpha": 0.01, "analysis.unit": "request", "analysis.minimum_units": 7,
    "analysis.metrics": [SLOW | {"max_rate": 0.1}], "analysis.expected_ratio": 9, "analysis.expected_rate": 0.004,
    "analysis.interval": 7, "analysis.consecutive_errors": 9, "analysis.error_ratio": 2, "analysis.slow_ratio": 3,
    "routing.key": "header:x-tenant", "routing.deadline_ms": 50,
    "routing.segments": [{"header": "x-tenant", "equals": "us", "arm": "candidate"}],
    "lease": 100,
    "load_test.duration": 90, "load_test.target_rps": 9, "load_test.ramp_up_time": 2, "load_test.rows": 3,
    "load_test.assertions": {"p95_latency": {"max": 100}},
    "approval.requires_approval": False, "approval.approval_count": 1, "approval.deployers": ["ann"],
    "approval.approvers": [{"role": "lead", "users": ["eve"]}], "approval.timeout": 60,
    "rollback.window": 60, "rollback.automatic": False, "rollback.error_threshold": 0.3,
    "rollback.drill": "0 5 * * 1", "rollback.max_seconds": 3,
    "resources.replicas": 3, "resources.min_replicas": 1, "resources.max_replicas": 3, "resources.cpu_request": "2",
    "resources.cpu_limit": "3", "resources.memory_request": "2Gi", "resources.memory_limit": "3Gi",
    "resources.accelerator": "gpu",
    "resources.autoscaling.enabled": False, "resources.autoscaling.metric": "cpu",
    "resources.autoscaling.target_value": 70, "resources.autoscaling.cpu_utilization": 60,
    "resources.autoscaling.memory_utilization": 60,
    "health_check.enabled": False, "health_check.path": "/health", "health_check.interval": 7,
    "health_check.timeout": 3, "health_check.success_threshold": 2, "health_check.failure_threshold": 5,
    "health_check.initial_delay": 90,
    "load_balancing.algorithm": "least-connections", "load_balancing.health_check_interval": 7,
    "load_balancing.session_affinity.enabled": True, "load_balancing.session_affinity.timeout": 60,
    "load_balancing.geo_routing.enabled": True, "load_balancing.geo_routing.regions": ["eu"],
    "cache.enabled": True, "cache.backend": "redis", "cache.ttl": 5, "cache.key_pattern": "x", "cache.max_size": "1Mi",
}  # fmt: skip
"""A value of each field that is not its default."""
TARGET_VALUES: dict[str, Any] = {
    "namespace": "ml", "gateway": "other", "gateway_namespace": "ingress", "hostnames": ["models.example"],
    "image": "newer", "template": "other.yaml", "url": URL["url"], "connection": "serving", "service": "delays",
    "mode": "variants", "endpoint": "delays", "role_arn": AWS["role_arn"] + "2", "instance_type": "ml.m5.xlarge",
    "alarms": ["errors", "latency"], "bake": 60, "data_capture": "s3://captured",
}  # fmt: skip
OTHER_VALUES: dict[str, tuple[str, Any]] = {
    "a limit on bad answers": ("analysis.metrics", [{"name": "errors", "max_rate": 0.1}]),
    "a ratio of bad answers": ("analysis.metrics", [{"name": "errors", "max_ratio": 3}]),
    "a ratio of slow answers": ("analysis.metrics", [SLOW | {"max_ratio": 3}]),
    "a deterioration": ("analysis.metrics", [SLOW | {"role": "deterioration", "fail_ratio": 3}]),
    "a limit beside a deterioration": (
        "analysis.metrics",
        [SLOW | {"role": "deterioration", "fail_ratio": 3, "max_rate": 0.1}],
    ),
    "keys as the unit": ("analysis.unit", "key"),
}
BESIDE: dict[str, list[dict[str, Any]]] = {
    "load_test": [LOAD, LOAD | {"target": URL}],
    "target": [LOAD],
    "approval": [PEOPLE, {"approval": {"requires_approval": False}}],
    "rollback": [{"rollback": {"drill": "0 6 * * 1"}}, {"rollback": {"window": 0}}, {"rollback": {"automatic": False}}],
    "canary": [{"canary": {"canary_percentage": 50}}],
    "analysis": [
        *(LOAD, {"rollback": {"window": 0}}, {"shadow": {}}, {"ab": {"metrics": ["latency"]}}),
        {"routing": {"segments": [{"header": "x-tenant", "equals": "us", "arm": "candidate"}]}},
    ],
    "routing": [{"shadow": {}}],
    "resources": [
        *(SCALED, {"resources": SCALED["resources"] | {"min_replicas": 2}}),
        {"resources": SCALED["resources"] | {"autoscaling": {"metric": "cpu", "target_value": 40}}},
        {"resources": {"autoscaling": {"enabled": False}}},
    ],
    "load_balancing": [
        {"load_balancing": {"session_affinity": {"enabled": True}}},
        {"load_balancing": {"session_affinity": {"enabled": False}, "geo_routing": {"enabled": False}}},
    ],
    "cache": [{"cache": {"enabled": False}}],
}
"""What else may be declared when a field is: nothing, and each of these."""
OFF = {"resources.autoscaling.enabled"}
"""Fields that say that nothing is declared: alone they change nothing."""
NEVER = {
    *("canary.rollback_on_error", "health_check.enabled", "load_balancing.health_check_interval"),
    *("load_balancing.geo_routing.enabled", "load_balancing.geo_routing.regions", "resources.accelerator"),
    *("resources.autoscaling.enabled", "approval.requires_approval"),  # what is left of what is off is refused, too
    "analysis.unit: keys as the unit",  # the unit of the routing anyway, or not counted
    *(f"cache.{name}" for name in ("enabled", "backend", "ttl", "key_pattern", "max_size")),
}
"""Fields whose other values no target takes: each is refused with the reason."""


def leaves(block: type[BaseModel], place: str = "") -> Iterator[str]:
    """Every declared field below a block, but those of the target."""
    for name, field in block.model_fields.items():
        kinds = [field.annotation, *(get_args(field.annotation) if get_origin(field.annotation) is not list else ())]
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if place + name in ("target", "strategy"):
            continue
        if inner is None or place + name == "load_test.assertions":
            yield place + name
        else:
            yield from leaves(inner, f"{place}{name}.")


def merged(document: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    result = dict(document)
    for name, value in change.items():
        before = result.get(name)
        result[name] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def at(place: str, value: Any) -> dict[str, Any]:
    for name in reversed(place.split(".")):
        value = {name: value}
    return dict(value)


def accepted(document: dict[str, Any]) -> Deployment | None:
    """The deployment; None if the file is refused when it is read."""
    try:
        deployment = Deployment.model_validate(document)
    except ValidationError:
        return None
    return None if deployment_faults(deployment) else deployment


# ---- all that is made of a deployment ------------------------------------------------------------------------------

SPEC = Catalog.read(REPOSITORY / "include").model("flight_delay")
TEMPLATE = yaml.safe_load((REPOSITORY / "include" / "pods" / "gateway.yaml").read_text())
ONE, TWO = (Served(version, f"s3://bucket/bundles/{version}", version * 64) for version in "12")


def effects(declared: Deployment) -> str:
    spec = SPEC.model_copy(update={"deployment": declared})
    plan, looks = from_spec.target_plan(spec), (declared.analysis.interval, declared.analysis.consecutive_errors)
    acts: dict[str, Any] = {
        "stages": [required_stages(spec, first=first) for first in (False, True)],
        "lease": declared.lease,
        "window": declared.rollback.window,
        "deployers": declared.approval.deployers,
        "objects": objects(declared),
        "place": [getattr(declared.target, name, None) for name in ("namespace", "template", "connection", "mode")],
    }
    if declared.approval.requires_approval:
        acts["approval"] = (declared.approval, from_spec.idle_lease_seconds(declared))
    if declared.rollback.drill:
        acts["drill"] = (declared.rollback.drill, declared.rollback.max_seconds)
    if declared.load_test:
        acts["load test"] = (declared.load_test, declared.analysis.alpha, getattr(declared.target, "url", None))
    if declared.guards_itself:
        acts["deadline"] = plan["deadline_ms"]
    if not declared.is_delegated_to_target:
        acts["rollout"] = rollout(declared, plan, looks)
    return json.dumps(acts, sort_keys=True, default=lambda value: value.model_dump(mode="json"))


def design(declared: Deployment) -> str:
    """What is foretold of the stages; apart from the rest, because it takes long."""
    return repr(rollout_design(SPEC.model_copy(update={"deployment": declared})))


def rollout(declared: Deployment, plan: dict[str, Any], looks: tuple[float, int]) -> dict[str, Any]:
    acts: dict[str, Any] = {}
    if declared.watch_seconds:
        every = None if declared.guards_itself else declared.analysis.interval
        acts["watch"] = (plan["watch"], from_spec.watch_limits(declared), declared.analysis.alpha, every)
    if declared.shadow_plan:
        judged = (declared.shadow_plan, declared.error_threshold, declared.analysis.alpha)
        acts["shadow"] = (judged, plan["comparison"], looks)
    if declared.shares():
        acts["routed"] = (declared.shares(), plan["routing"], looks)
        acts["guard"] = plan["guard"] if declared.guards_itself else None
    if declared.strategy == "ab":
        acts["experiment"] = declared.ab
    elif declared.shares():
        judged = from_spec.analysis_plan(declared)
        acts["judged"] = (repr(judged), from_spec.bake_seconds(declared), from_spec.max_stage_seconds(declared))
    return acts


def objects(declared: Deployment) -> Any:
    """What a version is served by."""
    target, resources = declared.target, declared.resources
    if isinstance(target, HttpRoute):
        versions = http_route_objects.version_objects(
            "flight_delay",
            ONE,
            target=target,
            resources=resources,
            health=declared.health_check,
            balancing=declared.load_balancing,
            template=TEMPLATE,
            store="s3://bucket",
            environment={},
            scaler_version="autoscaling/v2",
            budget_version="policy/v1",
        )
        return [versions, http_route_objects.route_spec("flight_delay", Route(ONE), target)]
    if isinstance(target, KServe):
        pods = kserve_objects.GatewayPods(target.image or "", TEMPLATE, "s3://bucket", {})
        name = kserve_objects.service_name("flight_delay", target)
        return name, kserve_objects.inference_spec("flight_delay", Route(ONE), [TWO], declared=declared, pods=pods)
    if isinstance(target, SageMaker):
        guarded = guarded_config(declared) if target.mode == "guardrail" else None
        return (guarded, aws_calls(declared))
    return {"workers": resources.replicas}


def aws_calls(declared: Deployment) -> list[Any]:
    """What AWS is asked for to serve the first version."""
    calls: list[Any] = []

    class Recorder:
        """Every API: nothing is there yet, and all is made."""

        def __getattr__(self, name: str) -> Any:
            def call(**arguments: Any) -> dict[str, Any]:
                if name.startswith("describe"):
                    raise NotFound
                calls.append((name, arguments))
                return {"KeyCount": 1}

            return call

    client = Recorder()
    endpoint = SageMakerEndpoint("flight_delay", declared, AwsClients(client, client, client, client), "s3://bucket")
    endpoint.create([ProductionVariant("v1", ONE, 10_000)])
    endpoint.declare_autoscaling([ProductionVariant("v1", ONE, 10_000)])
    return calls


# ---- the matrix ----------------------------------------------------------------------------------------------------


def read(document: dict[str, Any], place: str, value: Any) -> Deployment | None:
    """The deployment with this field; a target's other mode has no alarms."""
    if (place, value) == ("target.mode", "variants"):
        document = document | {"target": AWS}
    return accepted(merged(document, at(place, value)))


def resolved(declared: Deployment) -> Deployment:
    """The deployment with its unit, which is left out for that of its routing."""
    unit = from_spec.counted_unit(declared)
    return declared.model_copy(update={"analysis": declared.analysis.model_copy(update={"unit": unit})})


def outcome(before: Deployment | None, after: Deployment | None) -> str:
    if after is None:
        return "refused"
    if before is None or effects(after) != effects(before):
        return "acts"
    if resolved(after) == resolved(before):
        return "is so anyway"
    return "acts" if design(after) != design(before) else "silent"


@cache
def outcomes(strategy: str, target: str) -> dict[str, set[str]]:
    """By field: the outcomes of its declaration, over all that may stand beside it."""
    found: dict[str, set[str]] = {}
    cases = [(place, place, value) for place, value in VALUES.items()]
    cases += [(f"{place}: {what}", place, value) for what, (place, value) in OTHER_VALUES.items()]
    cases += [(f"target.{name}", f"target.{name}", value) for name, value in TARGET_VALUES.items()]
    for name, place, value in cases:
        base = {"strategy": strategy, **TARGETS[target]}
        base |= {} if place == "canary.steps" else STRATEGIES[strategy]
        for beside in [*([] if place in OFF else [{}]), *BESIDE.get(place.split(".")[0], [])]:
            declared = merged(base, beside)
            found.setdefault(name, set()).add(outcome(accepted(declared), read(declared, place, value)))
    return found


def test_every_field_has_a_place_in_the_matrix() -> None:
    assert set(VALUES) == set(leaves(Deployment))
    kinds = (HttpRoute, KServe, SageMaker)
    assert set(TARGET_VALUES) == {name for kind in kinds for name in kind.model_fields} - {"kind"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_target_takes_the_strategies_that_it_has_the_means_for(strategy: str, target: str) -> None:
    document = {"strategy": strategy, **TARGETS[target], **STRATEGIES[strategy]}
    assert (accepted(document) is not None) == ((strategy, target) in ACCEPTED)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_field_acts_or_is_refused(strategy: str, target: str) -> None:
    silent = [name for name, seen in outcomes(strategy, target).items() if "silent" in seen]
    assert silent == []


def test_each_field_acts_somewhere_but_those_that_no_target_takes() -> None:
    cells = [outcomes(strategy, target) for strategy in STRATEGIES for target in TARGETS]
    fields = {name for cell in cells for name in cell}
    assert fields - {name for cell in cells for name, seen in cell.items() if "acts" in seen} == NEVER

"""Every pod that is made of what we ship keeps to the pod security standard *restricted*; no cluster is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipelines.adapters.kubernetes import http_route_objects, kserve_objects
from pipelines.errors import Refused
from pipelines.rollout.transitions import Route, Served
from pipelines.rules.pod_privileges import CONTAINER_GROUPS, host_access
from pipelines.settings import REPOSITORY, Settings
from pipelines.spec.deployment import Deployment, HttpRoute
from pipelines.wiring import open_ports
from practices._pods.workers import worker_pods
from tests.house.test_kubernetes_files import MANIFESTS, PODS, VALUES, built, documents

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SERVED = Served("2", "s3://bucket/bundles/2", "2" * 64)
ACCOUNTS = {"worker.yaml": "airflow", "step.yaml": "step", "gpu.yaml": "step", "gateway.yaml": "gateway"}
ALL = [
    document
    for path in sorted(MANIFESTS.glob("*.yaml"))
    if path != MANIFESTS / "helm-values.yaml"
    for document in documents(path)
]
NAMESPACES = {"airworthy", "airworthy-steps", "airworthy-serving"}


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in ALL if document["kind"] == kind]


def violations(spec: Mapping[str, Any]) -> Iterator[str]:
    """What a pod lacks of *restricted*, beside what it takes of its node."""
    yield from host_access(spec)
    pod = spec.get("securityContext") or {}
    for volume in spec.get("volumes") or ():
        if not VOLUMES & volume.keys():
            yield f"volume {volume['name']} is {sorted(volume)}"
    for container in [one for group in CONTAINER_GROUPS for one in spec.get(group) or ()]:
        own = container.get("securityContext") or {}
        both = {**pod, **own}
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            yield f"{container['name']} may run as root"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']} may gain rights"
        if (own.get("capabilities") or {}).get("drop") != ["ALL"]:
            yield f"{container['name']} keeps capabilities"
        if (both.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{container['name']} has no seccomp profile"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']} may write to its image"


def as_json(pod: Any) -> dict[str, Any]:
    from kubernetes.client import ApiClient

    found: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return found


@pytest.fixture(params=["step.yaml", "gpu.yaml"])
def step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    return built(request.param, monkeypatch)


def deployment() -> dict[str, Any]:
    target = {"kind": "http_route", "namespace": "s", "gateway": "g", "image": "registry.example/step@sha256:1"}
    declared = Deployment.model_validate({"target": target})
    assert isinstance(declared.target, HttpRoute)
    made = http_route_objects.version_objects(
        "flight_delay",
        SERVED,
        target=declared.target,
        resources=declared.resources,
        health=declared.health_check,
        balancing=declared.load_balancing,
        template=yaml.safe_load((PODS / "gateway.yaml").read_text()),
        store="s3://bucket",
        environment={},
        scaler_version="autoscaling/v2",
        budget_version="policy/v1",
    )
    return next(document for document in made if document["kind"] == "Deployment")


def test_a_step_and_every_rank_of_a_shared_training_are_restricted(step: Any) -> None:
    owner = SimpleNamespace(metadata=SimpleNamespace(name=step.metadata.name, uid="u"))
    for pod in map(as_json, [step, *worker_pods(step, owner, "runs/x", 2)]):
        assert list(violations(pod["spec"])) == []
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["serviceAccountName"] == "step"


def test_the_pods_of_a_served_version_are_restricted() -> None:
    spec = deployment()["spec"]["template"]["spec"]
    assert list(violations(spec)) == []
    assert (spec["automountServiceAccountToken"], spec["serviceAccountName"]) == (False, "gateway")


def test_the_pods_of_a_service_of_kserve_are_restricted() -> None:
    declared = Deployment.model_validate({"target": {"kind": "kserve", "namespace": "airworthy-serving"}})
    template = yaml.safe_load((PODS / "gateway.yaml").read_text())
    pods = kserve_objects.GatewayPods("registry.example/step@sha256:1", template, "s3://bucket", {})
    spec = kserve_objects.inference_spec("flight_delay", Route(live=SERVED), declared=declared, pods=pods)["predictor"]
    assert list(violations(spec)) == []
    assert (spec["automountServiceAccountToken"], spec["serviceAccountName"]) == (False, "gateway")


SERVING = {"http_route": {"gateway": "g", "image": f"registry.example/step@sha256:{'1' * 64}"}, "kserve": {}}


@pytest.mark.parametrize("kind", SERVING)
@pytest.mark.parametrize("allowed", ["true", "false"])
def test_a_template_that_takes_something_of_a_node_serves_only_where_the_installation_allows_it(
    tmp_path: Path, kind: str, allowed: str
) -> None:
    (tmp_path / "pods").mkdir()
    template = yaml.safe_load((PODS / "gateway.yaml").read_text())
    template["spec"]["volumes"].append({"name": "node", "hostPath": {"path": "/etc"}})
    (tmp_path / "pods" / "gateway.yaml").write_text(yaml.safe_dump(template))
    named = {"AIRWORTHY_INCLUDE": str(tmp_path), "AIRWORTHY_STORE": "s3://b", "AIRWORTHY_ALLOW_HOST_ACCESS": allowed}
    ports = open_ports(Settings.from_environment(named | {"AIRWORTHY_POD_IMAGE": "registry.example/step@sha256:1"}))
    deployment = Deployment.model_validate({"target": {"kind": kind, "namespace": "s", **SERVING[kind]}})
    spec = SimpleNamespace(deployment=deployment)
    vars(ports)["catalog"] = SimpleNamespace(model=lambda _: spec)
    if allowed == "true":
        assert ports.target("flight_delay")
    else:
        with pytest.raises(Refused, match="volume node: the node's folder /etc"):
            ports.target("flight_delay")


@pytest.mark.parametrize("name", ACCOUNTS)
def test_each_template_is_restricted_and_names_an_account_that_is_made(name: str) -> None:
    spec = documents(PODS / name)[0]["spec"]
    assert list(violations(spec)) == []
    account = next(one for one in of_kind("ServiceAccount") if one["metadata"]["name"] == ACCOUNTS[name])
    assert spec["serviceAccountName"] == account["metadata"]["name"]
    assert spec["automountServiceAccountToken"] is account["automountServiceAccountToken"]
    assert {path.name for path in PODS.glob("*.yaml")} == ACCOUNTS.keys()


def test_only_airflow_gets_a_token_of_the_cluster() -> None:
    accounts = of_kind("ServiceAccount")
    with_token = {one["metadata"]["name"] for one in accounts if one["automountServiceAccountToken"]}
    assert with_token == {"airflow"}
    defaults = {one["metadata"]["namespace"] for one in accounts if one["metadata"]["name"] == "default"}
    assert defaults == NAMESPACES
    for part in ("apiServer", "dagProcessor", "migrateDatabaseJob"):
        assert VALUES[part]["serviceAccount"]["automountServiceAccountToken"] is False


def test_no_role_reads_secrets_or_names_everything() -> None:
    roles = of_kind("Role")
    assert roles
    assert of_kind("ClusterRole") == of_kind("ClusterRoleBinding") == []
    for rule in [rule for role in roles for rule in role["rules"]]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "serviceaccounts", "serviceaccounts/token", "pods/exec", "roles"} & set(
            rule["resources"]
        )
    bound = {subject["name"] for one in of_kind("RoleBinding") for subject in one["subjects"]}
    assert bound == {"airflow"}


def test_each_namespace_has_the_api_server_refuse_what_takes_too_much() -> None:
    labels = {one["metadata"]["name"]: one["metadata"]["labels"] for one in of_kind("Namespace")}
    assert labels.keys() == NAMESPACES
    key = "pod-security.kubernetes.io/{}"
    for name, own in labels.items():
        assert own[key.format("enforce")] == ("baseline" if name == "airworthy" else "restricted")
        assert own[key.format("warn")] == own[key.format("audit")] == "restricted"


def test_a_pod_of_the_chart_says_what_restricted_asks_for() -> None:
    contexts = VALUES["securityContexts"]
    container = {"name": "any", "securityContext": {**contexts["containers"], "readOnlyRootFilesystem": True}}
    assert list(violations({"securityContext": contexts["pod"], "containers": [container]})) == []


POLICIES = of_kind("NetworkPolicy")


def test_in_each_namespace_nothing_is_allowed_that_no_policy_names() -> None:
    denied = {
        one["metadata"]["namespace"]: set(one["spec"]["policyTypes"])
        for one in POLICIES
        if one["spec"]["podSelector"] == {} and not one["spec"].keys() & {"ingress", "egress"}
    }
    assert denied == {
        "airworthy": {"Ingress"},
        "airworthy-steps": {"Ingress", "Egress"},
        "airworthy-serving": {"Ingress", "Egress"},
    }


def test_a_policy_opens_only_named_ports_to_named_peers() -> None:
    """But for the ranks of one training, among each other: XGBoost chooses their ports."""
    for policy in POLICIES:
        name, spec = policy["metadata"]["name"], policy["spec"]
        for side in ("ingress", "egress"):
            assert side not in spec or side.title() in spec["policyTypes"]
            for rule in spec.get(side, []):
                peers = rule["from" if side == "ingress" else "to"]
                assert peers, f"{name} lets everybody in"
                assert all(peer for peer in peers)
                assert rule.get("ports") or name == "ranks", name


def test_no_pod_reaches_the_metadata_page_of_its_node() -> None:
    blocks = [
        peer["ipBlock"]
        for policy in POLICIES
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert blocks
    assert all("169.254.0.0/16" in block["except"] for block in blocks)


def test_policies_select_pods_by_the_labels_that_they_have(step: Any) -> None:
    labels = as_json(step)["metadata"]["labels"]
    served = deployment()["spec"]["template"]["metadata"]["labels"]
    of_steps = [one for one in POLICIES if one["metadata"]["namespace"] == "airworthy-steps"]
    selecting = {
        one["metadata"]["name"]
        for one in of_steps
        if (one["spec"]["podSelector"].get("matchLabels") or {}).items() <= labels.items()
    }
    assert selecting >= {"names", "store", "registry", "ranks"}
    [gateway] = [
        one["spec"]["podSelector"]["matchLabels"]
        for one in POLICIES
        if (one["metadata"]["namespace"], one["metadata"]["name"]) == ("airworthy-serving", "gateway")
    ]
    assert gateway.items() <= served.items()
    assert str(http_route_objects.PORT) in str(POLICIES)


def test_the_pages_say_how_to_apply_every_manifest() -> None:
    pages = "".join(
        (REPOSITORY / "docs" / page).read_text() for page in ("run-on-kubernetes.md", "deploy-on-kubernetes.md")
    )
    for path in MANIFESTS.glob("*.yaml"):
        assert path.name in pages

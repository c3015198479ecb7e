from __future__ import annotations

from typing import Any

import pytest

from pipelines.rules.pod_privileges import host_access


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "step", **fields}]}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"hostNetwork": True}, "hostNetwork: the node's network"),
        ({"hostPID": True}, "hostPID: the node's processes"),
        ({"hostIPC": True}, "hostIPC: the node's memory"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/mnt"}}]}, "volume v: the node's folder /mnt"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "the pod: seccompProfile Unconfined"),
        ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, "the pod: appArmorProfile Unconfined"),
        (container(securityContext={"privileged": True}), "container step: privileged"),
        (container(securityContext={"procMount": "Unmasked"}), "container step: procMount Unmasked"),
        (container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "container step: capability SYS_ADMIN"),
        (container(ports=[{"containerPort": 1, "hostPort": 80}]), "container step: the node's port 80"),
    ],
)
def test_whatever_a_pod_takes_of_its_node_is_named(spec: dict[str, Any], text: str) -> None:
    assert host_access(spec) == [text]


@pytest.mark.parametrize("group", ["initContainers", "ephemeralContainers"])
def test_containers_of_every_kind_are_read(group: str) -> None:
    assert host_access({group: [{"name": "first", "securityContext": {"privileged": True}}]}) == [
        "container first: privileged"
    ]


def test_an_ordinary_pod_takes_nothing() -> None:
    secure = {
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "c", "persistentVolumeClaim": {"claimName": "c"}}],
        **container(securityContext=secure, ports=[{"containerPort": 8900}], volumeMounts=[]),
    }
    assert host_access(spec) == []


def test_all_of_it_is_listed_at_once() -> None:
    spec = {"hostNetwork": True, "hostPID": True, **container(securityContext={"privileged": True})}
    assert len(host_access(spec)) == 3

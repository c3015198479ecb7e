"""Plans the pod of a step from a template and its stage's declaration; ``Refused`` if it could not reach its store.

Limits are the declared resources, requests nine tenths of them (GPUs: all); credentials come from secrets of the
cluster, not from Airflow's connections; each pod's annotations name the task instance that waits for it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.errors import Refused
from pipelines.pod.run_seal import RUN_KEY
from pipelines.rules.pod_privileges import check_host_access
from pipelines.settings import Settings
from pipelines.spec.runner import StageRunner, Volume
from practices._pods.launch import Launch

CONTAINER = "step"
DEFAULT_TEMPLATE = "step.yaml"
REQUESTED_SHARE_OF_LIMIT = 0.9
"""Share of the limits that is requested."""
GPU_RESOURCE = "nvidia.com/gpu"
FORWARDED_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ALLOW_HTTP", "AWS_DEFAULT_REGION", "AIRWORTHY_LOG_FORMAT")
"""Variables about store and log that the pod gets from the task's environment; none is a secret."""
LOOPBACK_HOSTS = ("127.", "localhost", "::1", "0.0.0.0")  # noqa: S104 # nosec B104 - compared with


def pod_arguments(launch: Launch, attempt: str, runner: StageRunner, settings: Settings) -> dict[str, Any]:
    """Arguments of ``KubernetesPodOperator`` for one attempt. ``Refused`` without an image or a template."""
    from kubernetes.client import models as k8s

    seconds = int((runner.timeout_minutes + runner.start_minutes) * 60)
    return {
        "name": launch.pod_name(attempt),
        "random_name_suffix": False,
        "namespace": settings.pod_namespace,
        "image": _image(runner, settings),
        "image_pull_policy": "IfNotPresent",
        "base_container_name": CONTAINER,
        "arguments": [launch.step, "--run", launch.path(attempt)],
        "pod_template_file": str(_template(runner, settings)),
        "container_resources": k8s.V1ResourceRequirements(**resources(runner)),
        "env_vars": [*_environment(runner, settings, launch.run_key(attempt)), *_secrets(runner)],
        "volumes": [_volume(volume) for volume in runner.volumes],
        "volume_mounts": [
            k8s.V1VolumeMount(name=v.name, mount_path=v.mount_path, read_only=v.read_only and not v.scratch)
            for v in runner.volumes
        ],
        "node_selector": runner.node_selector or None,
        "tolerations": [
            k8s.V1Toleration(**toleration.model_dump(exclude={"seconds"}), toleration_seconds=toleration.seconds)
            for toleration in runner.tolerations
        ],
        "priority_class_name": runner.priority_class,
        "service_account_name": runner.service_account,
        "labels": labels(launch, runner, settings),
        "annotations": identity_annotations(launch, attempt),
        "active_deadline_seconds": seconds,
        "termination_message_policy": "FallbackToLogsOnError",
        "do_xcom_push": False,
        "durable": True,
    }


def resources(runner: StageRunner) -> dict[str, dict[str, str]]:
    """Limits as declared; requests are nine tenths of cpu and memory, and all GPUs (they cannot be shared)."""
    gpus = {GPU_RESOURCE: str(runner.gpus)} if runner.gpus else {}
    return {
        "limits": {"cpu": f"{round(runner.cpus * 1000)}m", "memory": runner.memory, **gpus},
        "requests": {
            "cpu": f"{max(1, round(runner.cpus * 1000 * REQUESTED_SHARE_OF_LIMIT))}m",
            "memory": f"{max(1, int(runner.memory_mebibytes * REQUESTED_SHARE_OF_LIMIT))}Mi",
            **gpus,
        },
    }


def labels(launch: Launch, runner: StageRunner, settings: Settings) -> dict[str, str]:
    queue = {"kueue.x-k8s.io/queue-name": runner.queue} if runner.queue else {}
    return {
        "app.kubernetes.io/name": "airworthy",
        "airworthy.dev/installation": settings.installation,
        "airworthy.dev/step": launch.step,
        "airworthy.dev/task": launch.task_digest,
        **queue,
    }


def identity_annotations(launch: Launch, attempt: str) -> dict[str, str]:
    """Full ids of the task instance that waits for the pod; labels would truncate them."""
    return {
        "airworthy.dev/dag-id": launch.dag_id,
        "airworthy.dev/run-id": launch.run_id,
        "airworthy.dev/task-id": launch.task_id,
        "airworthy.dev/map-index": str(launch.map_index),
        "airworthy.dev/try-number": str(launch.try_number),
        "airworthy.dev/run": launch.path(attempt),
    }


def check_reachable(pod: Any, settings: Settings) -> None:
    """``Refused`` if the pod (a ``V1Pod``) cannot use the store's folder or MLflow's address, or shows a password."""
    container, faults = pod.spec.containers[0], []
    if "://" not in settings.store:
        mounted = [mount.mount_path.rstrip("/") for mount in container.volume_mounts or []]
        if not any(settings.store == path or settings.store.startswith(f"{path}/") for path in mounted):
            faults.append(
                f"AIRWORTHY_STORE {settings.store} is a folder that the pod does not mount; "
                "mount it at the same path (runner volumes, or the template), or use s3://"
            )
    address = urlsplit(settings.tracking)
    host = address.hostname or ""
    if address.password:
        remedy = "name MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD by the runner's secrets"
        faults.append(f"MLFLOW_TRACKING_URI {settings.tracking} holds a password, which the pod shows; {remedy}")
    if host.startswith(LOOPBACK_HOSTS) and not pod.spec.host_network:
        faults.append(
            f"MLFLOW_TRACKING_URI {settings.tracking} is the pod's own loopback; give an address that pods can reach"
        )
    if faults:
        raise Refused(f"pod {pod.metadata.name} could not reach the store or MLflow", faults)


def check_privileges(pod: Any, settings: Settings) -> None:
    """``Refused`` if template or runner give the pod anything of its node, unless the installation allows it."""
    from kubernetes.client import ApiClient

    spec = ApiClient().sanitize_for_serialization(pod.spec)
    check_host_access(f"pod {pod.metadata.name} would use its node", spec, allowed=settings.allow_host_access)


def _image(runner: StageRunner, settings: Settings) -> str:
    image = runner.image or settings.pod_image
    if not image:
        hints = ["set AIRWORTHY_POD_IMAGE to the image of the Dockerfile's target step, or image in the stage's runner"]
        raise Refused("no image is configured for steps in pods", hints)
    return image


def _template(runner: StageRunner, settings: Settings) -> Path:
    path = settings.include / "pods" / (runner.template or DEFAULT_TEMPLATE)
    if not path.is_file():
        raise Refused(f"there is no pod template {path}; write it, or correct template in the stage's runner")
    return path


def _environment(runner: StageRunner, settings: Settings, key: str | None) -> list[Any]:
    from kubernetes.client import models as k8s

    values = {
        "AIRWORTHY_STORE": settings.store,
        "AIRWORTHY_ACTOR": settings.actor,
        "AIRWORTHY_GATEWAY": settings.gateway,
        "AIRWORTHY_GATEWAY_ADMIN": settings.gateway_admin,
        "MLFLOW_TRACKING_URI": settings.tracking,
        "OMP_WAIT_POLICY": "PASSIVE",
        **{name: os.environ[name] for name in FORWARDED_VARIABLES if name in os.environ},
        **runner.environment,
        **({RUN_KEY: key} if key else {}),
    }
    return [k8s.V1EnvVar(name=name, value=value) for name, value in values.items()]


def _secrets(runner: StageRunner) -> list[Any]:
    from kubernetes.client import models as k8s

    variables = []
    for name, reference in runner.secrets.items():
        secret, _, key = reference.partition("/")
        selector = k8s.V1SecretKeySelector(name=secret, key=key)
        variables.append(k8s.V1EnvVar(name=name, value_from=k8s.V1EnvVarSource(secret_key_ref=selector)))
    return variables


def _volume(volume: Volume) -> Any:
    from kubernetes.client import models as k8s

    if volume.claim:
        claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=volume.claim, read_only=volume.read_only)
        return k8s.V1Volume(name=volume.name, persistent_volume_claim=claim)
    if volume.host_path:
        return k8s.V1Volume(name=volume.name, host_path=k8s.V1HostPathVolumeSource(path=volume.host_path))
    if volume.secret:
        return k8s.V1Volume(name=volume.name, secret=k8s.V1SecretVolumeSource(secret_name=volume.secret))
    if volume.config_map:
        return k8s.V1Volume(name=volume.name, config_map=k8s.V1ConfigMapVolumeSource(name=volume.config_map))
    return k8s.V1Volume(name=volume.name, empty_dir=k8s.V1EmptyDirVolumeSource(size_limit=volume.scratch))

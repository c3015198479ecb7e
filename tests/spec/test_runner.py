"""What Kubernetes would not take is refused when the file is read, field by field, before any pod is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.runner import StageRunner, mebibytes

IMAGE = f"registry.example/step@sha256:{'a' * 64}"
BAD: list[tuple[dict[str, Any], str]] = [
    ({"on": "mainframe"}, "on"),
    ({"image": "registry.example/step:latest"}, "image"),
    ({"image": "step@sha256:abc"}, "image"),
    ({"gpus": -1}, "gpus"),
    ({"gpus": 0.5}, "gpus"),
    ({"cpus": 0}, "cpus"),
    ({"memory": "4"}, "memory"),
    ({"memory": "4GB"}, "memory"),
    ({"memory": "0Gi"}, "memory"),
    ({"workers": 0}, "workers"),
    ({"node_selector": {"disk type": "ssd"}}, "node_selector"),
    ({"node_selector": {"disk": "x y"}}, "node_selector"),
    ({"tolerations": [{"operator": "Equal"}]}, "operator Equal needs a key"),
    ({"tolerations": [{"operator": "Exists", "value": "x"}]}, "operator Exists takes no value"),
    ({"tolerations": [{"key": "a", "effect": "Never"}]}, "effect"),
    ({"priority_class": "First_Of_All"}, "priority_class"),
    ({"service_account": "Trainer!"}, "service_account"),
    ({"volumes": [{"name": "a", "mount_path": "/a"}]}, "declare exactly one of"),
    ({"volumes": [{"name": "a", "mount_path": "/a", "claim": "c", "secret": "s"}]}, "found claim, secret"),
    ({"volumes": [{"name": "a", "mount_path": "a", "claim": "c"}]}, "mount_path"),
    ({"volumes": [{"name": "a", "mount_path": "/a", "claim": "c"}] * 2}, "two volumes are called a"),
    ({"environment": {"NOT A NAME": "x"}}, "environment"),
    ({"environment": {"A": "1"}, "secrets": {"A": "s/k"}}, "A is both in environment and in secrets"),
    ({"environment": {"AIRWORTHY_RUN": "x"}}, "AIRWORTHY_RUN is set by the runner itself"),
    ({"secrets": {"A": "only-a-secret"}}, "secrets"),
    ({"template": "../../etc/passwd"}, "template"),
    ({"schedule_minutes": 0}, "schedule_minutes"),
    ({"cpu_fallback": True}, "cpu_fallback needs gpus"),
    ({"memroy": "4Gi"}, "memroy"),
]


@pytest.mark.parametrize(("declared", "said"), BAD, ids=[f"{said}-{number}" for number, (_, said) in enumerate(BAD)])
def test_a_fault_is_named_when_the_file_is_read(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        StageRunner.model_validate(declared)
    assert said in str(error.value)


def test_a_place_alone_is_short_for_a_whole_runner() -> None:
    assert StageRunner.model_validate("kubernetes") == StageRunner(on="kubernetes")


def test_an_image_by_digest_is_taken() -> None:
    assert StageRunner(image=IMAGE).image == IMAGE


def test_the_other_steps_of_a_stage_hold_no_gpu_and_no_worker() -> None:
    asked = StageRunner(gpus=2, cpu_fallback=True, workers=3, memory="8Gi")
    left = asked.without_gpus()
    assert (left.gpus, left.cpu_fallback, left.workers, left.memory) == (0, False, 1, "8Gi")


@pytest.mark.parametrize(("size", "found"), [("512Mi", 512), ("4Gi", 4096)])
def test_a_size_is_counted_in_mebibytes(size: str, found: int) -> None:
    assert mebibytes(size) == found

"""A stage declares where its steps run and its pods' resources; names and sizes are checked by Kubernetes' rules."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, GetJsonSchemaHandler, StringConstraints, model_validator

from pipelines.spec.declared import DeclarationBlock

STAGES = ("train", "evaluate", "deploy", "monitor")
Place = Literal["process", "kubernetes"]
LABEL_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""What Kubernetes calls a DNS subdomain name."""
LabelKey = Annotated[str, StringConstraints(pattern=rf"^([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{LABEL_PATTERN}$")]
LabelValue = Annotated[str, StringConstraints(pattern=rf"^({LABEL_PATTERN})?$")]
Size = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(Mi|Gi)$")]
"""Memory or disk, as in ``512Mi`` or ``4Gi``."""
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
MountPath = Annotated[str, StringConstraints(pattern=r"^/[^:]*$")]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9_.-]+$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$")]
Template = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.yaml$")]
MEBIBYTES_PER_UNIT = {"Mi": 1, "Gi": 1024}


class Toleration(DeclarationBlock):
    """A Kubernetes toleration: lets the pod run on nodes with a taint."""

    key: LabelKey | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = Field(default=None, ge=0)
    """With ``NoExecute``: how long the pod may stay on a node after the taint was added."""

    @model_validator(mode="after")
    def check_toleration(self) -> Self:
        if self.operator == "Equal" and self.key is None:
            raise ValueError("operator Equal needs a key; declare one, or use operator: Exists to tolerate every taint")
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator Exists takes no value")
        return self


class Volume(DeclarationBlock):
    """One volume: exactly one of ``claim``, ``host_path``, ``secret``, ``config_map`` and ``scratch`` is declared."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    mount_path: MountPath
    read_only: bool = True
    claim: Name | None = None
    """A PersistentVolumeClaim."""
    host_path: MountPath | None = None
    secret: Name | None = None
    config_map: Name | None = None
    scratch: Size | None = None
    """Empty disk of at most this size, which is deleted with the pod."""

    @model_validator(mode="after")
    def check_one_volume_kind(self) -> Self:
        given = [name for name in ("claim", "host_path", "secret", "config_map", "scratch") if getattr(self, name)]
        if len(given) != 1:
            listed = ", ".join(given) or "none of them"
            raise ValueError(f"declare exactly one of claim, host_path, secret, config_map, scratch; found {listed}")
        return self


class StageRunner(DeclarationBlock):
    """Where the steps of one stage run (``on``; none: the installation's runner), and the pods' resources.

    ``cpus``, ``memory`` and ``gpus`` are limits; a pod requests nine tenths of the first two. ``train: kubernetes`` is
    short for ``train: {on: kubernetes}``. ``gpus`` also decides the device of a process.
    """

    on: Place | None = None
    image: Image | None = None
    """By digest (``name@sha256:…``); none: the installation's (``AIRWORTHY_POD_IMAGE``)."""
    gpus: int = Field(default=0, ge=0, le=16)
    cpu_fallback: bool = False
    """Whether a training that requests a GPU may run on the CPU if no CUDA device is available."""
    cpus: float = Field(default=2, gt=0, le=512)
    memory: Size = "4Gi"
    workers: int = Field(default=1, ge=1, le=64)
    """Pods that share one training, each of this size, including the step's own pod. With ``process``: processes of
    this machine."""
    node_selector: dict[LabelKey, LabelValue] = {}
    tolerations: list[Toleration] = []
    priority_class: Name | None = None
    service_account: Name | None = None
    volumes: list[Volume] = []
    environment: dict[Variable, str] = {}
    secrets: dict[Variable, SecretKey] = {}
    """Variable to ``<secret>/<key>``: Kubernetes reads the value; Airflow never does."""
    template: Template | None = None
    """A pod template in ``include/pods/``, to which all fields above are added; none: ``step.yaml``."""
    queue: LabelValue | None = None
    """The Kueue queue that admits the pod."""
    schedule_minutes: float = Field(default=10, gt=0)
    """How long a pod may wait for a node."""
    start_minutes: float = Field(default=10, gt=0)
    """How long the pod may take from scheduled to running: image, volumes, secrets."""
    timeout_minutes: float = Field(default=24 * 60, gt=0)
    """How long the pod may run."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the short form to the schema, for editors."""
        return {"anyOf": [{"enum": list(get_args(Place))}, handler(core)]}

    @model_validator(mode="before")
    @classmethod
    def expand_short_form(cls, value: Any) -> Any:
        return {"on": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def check_consistency(self) -> Self:
        duplicates = sorted(self.environment.keys() & self.secrets.keys())
        names = [volume.name for volume in self.volumes]
        problems = [f"{name} is both in environment and in secrets" for name in duplicates]
        problems += [f"two volumes are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
        reserved = [name for name in (*self.environment, *self.secrets) if name.startswith("AIRWORTHY_RUN")]
        problems += [f"{name} is set by the runner itself" for name in reserved]
        if self.cpu_fallback and not self.gpus:
            problems.append("cpu_fallback needs gpus: 1 or more to fall back from")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def memory_mebibytes(self) -> int:
        return mebibytes(self.memory)

    def without_gpus(self) -> StageRunner:
        """The runner for the stage's other steps, which need no GPU and no second worker."""
        return self.model_copy(update={"gpus": 0, "cpu_fallback": False, "workers": 1})


def mebibytes(size: str) -> int:
    """``4Gi`` to 4096."""
    match = re.fullmatch(r"([0-9]+)(Mi|Gi)", size)
    if not match:
        raise ValueError(f"{size!r} is not a size; use a form such as 512Mi or 4Gi")
    return int(match[1]) * MEBIBYTES_PER_UNIT[match[2]]

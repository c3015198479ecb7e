"""A model declares how a candidate replaces the champion, who must approve it, and where it is served."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pipelines.spec.cron import Cron
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.sizing import HealthCheck, LoadBalancing, LoadTestSpec, Resources, TargetCache
from pipelines.spec.strategy import (
    FULL_SHARE,
    AbTestSpec,
    Analysis,
    BlueGreen,
    Canary,
    Shadow,
    Share,
    Strategy,
    basis_points,
)

RouteKey = Annotated[str, StringConstraints(pattern=r"^(request_id|field:ids|header:[a-z0-9-]+)$")]
KubernetesName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
PodTemplate = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]*\.yaml$")]
User = Annotated[str, StringConstraints(pattern=r"^[^\s,:]+$", max_length=128)]
PARITY_LIMIT = 1e-5
"""Largest allowed difference between the bundle's and the registered model's answers, relative above 1."""


class Embedded(DeclarationBlock):
    """The gateway of the installation (``AIRWORTHY_GATEWAY``)."""

    kind: Literal["embedded"] = "embedded"


class HttpRoute(DeclarationBlock):
    """One Deployment and Service per version behind a Gateway API HTTPRoute, whose weights split the traffic."""

    kind: Literal["http_route"]
    namespace: KubernetesName = "default"
    gateway: KubernetesName
    """The Gateway that the route is attached to."""
    gateway_namespace: KubernetesName | None = None
    hostnames: list[str] = []
    image: str
    """The gateway's image (Dockerfile target ``step``)."""
    template: PodTemplate = "gateway.yaml"
    """File in ``include/pods/`` with the pod template of every version."""
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/[^\s]*)?$")] | None = None
    """URL by which tasks reach the Gateway for a load test; its key is in ``AIRWORTHY_GATEWAY_KEY``."""
    connection: str | None = None
    """Airflow's kubernetes connection; none: the installation's."""


class KServe(DeclarationBlock):
    """An InferenceService in Standard mode whose ``spec.canary`` splits the traffic; its pods run the gateway."""

    kind: Literal["kserve"]
    namespace: KubernetesName = "default"
    service: KubernetesName | None = None
    """Name of the InferenceService; none: the model's, with dashes."""
    image: str | None = None
    """The gateway's image (Dockerfile target ``step``); none: the installation's (``AIRWORTHY_POD_IMAGE``)."""
    template: PodTemplate = "gateway.yaml"
    """File in ``include/pods/`` with the pod template of every version."""
    connection: str | None = None


class SageMaker(DeclarationBlock):
    """An endpoint of Amazon SageMaker: weights of two variants, or a guarded update of one."""

    kind: Literal["sagemaker"]
    mode: Literal["variants", "guardrail"] = "variants"
    endpoint: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9](-*[A-Za-z0-9]){0,62}$")] | None = None
    role_arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$")]
    image: str
    instance_type: Annotated[str, StringConstraints(pattern=r"^ml\.[a-z0-9.-]+$")]
    alarms: list[str] = []
    """CloudWatch alarms that roll a guarded update back."""
    bake: int = Field(default=300, ge=60, le=3600)
    """Seconds that alarms watch a guarded update of strategy ``all_at_once``."""
    data_capture: str | None = None
    """S3 URI under which requests and answers are captured."""
    connection: str | None = None
    """Airflow's amazon connection; none: credentials of the environment."""


Target = Annotated[Embedded | HttpRoute | KServe | SageMaker, Field(discriminator="kind")]


class SegmentRule(DeclarationBlock):
    """Requests whose ``header`` equals ``equals`` go to ``arm``, before any hashing."""

    header: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
    equals: str
    arm: Literal["champion", "candidate"]


class RoutingSpec(DeclarationBlock):
    """Requests with the same ``key`` get the same version; ``request_id`` draws a version for each request."""

    key: RouteKey = "request_id"
    segments: list[SegmentRule] = []
    deadline_ms: float = Field(default=1000, gt=0)
    """Time after which the champion answers in place of a candidate."""


class Approver(DeclarationBlock):
    """A role, and the users who may approve for it."""

    role: Identifier
    users: list[User] = Field(min_length=1)
    count: int = Field(default=1, ge=1, le=10)
    """Number of different people of this role who must approve."""

    @model_validator(mode="after")
    def check_enough_users(self) -> Self:
        if len(set(self.users)) < self.count:
            raise ValueError(f"{self.role} has {len(set(self.users))} user(s) and needs {self.count}")
        return self


class Approval(DeclarationBlock):
    """Who must approve a candidate before it gets traffic."""

    requires_approval: bool = True
    approval_count: int | None = Field(default=None, ge=1)
    """Number of different people over all roles; none: the sum of the roles' counts."""
    approvers: list[Approver] = []
    deployers: list[User] = []
    """Who may trigger a deployment manually; none: everyone with the permission in Airflow."""
    timeout: float = Field(default=86400, gt=0, le=7 * 86400)
    """Seconds until an unanswered request counts as a rejection."""

    @model_validator(mode="after")
    def check_can_be_given(self) -> Self:
        faults = []
        total = sum(approver.count for approver in self.approvers)
        if self.requires_approval and not self.approvers:
            faults.append("requires_approval needs approvers")
        if self.approval_count is not None and self.approval_count > total:
            faults.append(f"approval_count is {self.approval_count}, but the roles give {total}")
        if self.requires_approval and (most := self.most_people()) < self.people_needed:
            faults.append(f"{self.people_needed} different people are needed, {most} can approve together")
        roles = [approver.role for approver in self.approvers]
        faults += [f"role {role} occurs twice" for role in sorted({r for r in roles if roles.count(r) > 1})]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def people_needed(self) -> int:
        """How many different people must approve."""
        return self.approval_count or sum(approver.count for approver in self.approvers)

    def most_people(self, excluded: Collection[str] = ()) -> int:
        """How many different people can approve together, each for one answer of a role that names them.

        A maximum matching of answers and people (Kuhn's algorithm): who answers for one role may be the only one of
        another, so that the number of people named says too much.
        """
        answers = [approver.users for approver in self.approvers for _ in range(approver.count)]
        answer_of: dict[str, int] = {}

        def assign(answer: int, tried: set[str]) -> bool:
            for user in answers[answer]:
                if user in excluded or user in tried:
                    continue
                tried.add(user)
                if user not in answer_of or assign(answer_of[user], tried):
                    answer_of[user] = answer
                    return True
            return False

        return sum(assign(answer, set()) for answer in range(len(answers)))


class RollbackSpec(DeclarationBlock):
    window: float = Field(default=3600, ge=0, le=31 * 86400)
    """Seconds after a promotion in which the former champion stays loaded and can be restored at once."""
    automatic: bool = True
    """Whether a promoted version that is shown to break a limit within the window is rolled back by itself."""
    error_threshold: Share | None = None
    """Share of bad answers of a promoted version from which it is; none: the strategy's ``error_threshold``."""
    drill: Cron | None = None
    """Cron (UTC) of the drill that rolls back a test rollout and times it; none: no drill."""
    max_seconds: float = Field(default=1.0, gt=0)
    """Maximum seconds from a drill's rollback to the candidate's last answer."""


class Deployment(DeclarationBlock):
    """How a model is deployed; by default an approved version gets all traffic at once, and is watched afterwards."""

    strategy: Strategy = "all_at_once"
    target: Target = Embedded()
    shadow: Shadow | None = None
    """A shadow before the strategy's first stage; possible with any strategy."""
    canary: Canary | None = None
    blue_green: BlueGreen | None = None
    ab: AbTestSpec | None = None
    analysis: Analysis = Analysis()
    routing: RoutingSpec = RoutingSpec()
    lease: float = Field(default=900, ge=10, le=86400)
    """Seconds from the deploy run's last renewal to the end of the lease: then the gateway itself, or for another
    target ``airworthy__reap_rollouts``, rolls the candidate back, stops its mirror, or holds an A/B test."""
    load_test: LoadTestSpec | None = None
    approval: Approval = Approval(requires_approval=False)
    rollback: RollbackSpec = RollbackSpec()
    resources: Resources = Resources()
    health_check: HealthCheck = HealthCheck()
    load_balancing: LoadBalancing = LoadBalancing()
    cache: TargetCache = TargetCache()

    @model_validator(mode="after")
    def check_blocks_fit_strategy(self) -> Self:
        faults = [
            f"{block} is declared, but strategy is {self.strategy}"
            for block in ("canary", "blue_green", "ab")
            if getattr(self, block) is not None and block != self.strategy
        ]
        if self.is_sticky and self.analysis.unit == "request":
            faults.append("analysis.unit: requests of one key are not independent; count keys")
        if self.strategy == "ab" and not self.is_sticky:
            faults.append("strategy ab needs routing.key: header:<name> or field:ids, so that users keep their arm")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def is_sticky(self) -> bool:
        return self.routing.key != "request_id"

    @property
    def compares_versions(self) -> bool:
        """Whether a candidate answers requests of callers beside the champion before it replaces it."""
        return self.strategy != "all_at_once" or self.shadow is not None

    @property
    def tries_candidates(self) -> bool:
        """Whether a candidate is tried by requests before it replaces the champion."""
        return self.compares_versions or self.load_test is not None

    @property
    def guards_itself(self) -> bool:
        """Whether the target watches limits and leases by itself, every second, with Airflow down, too."""
        return isinstance(self.target, Embedded)

    @property
    def watch_seconds(self) -> float:
        """Seconds after a promotion in which the version is rolled back by itself if it breaks a limit."""
        return self.rollback.window if self.rollback.automatic else 0.0

    @property
    def promoted_error_threshold(self) -> float:
        """The limit on bad answers of a promoted version."""
        return self.rollback.error_threshold or self.error_threshold

    @property
    def endpoint_name(self) -> str:
        """What callers ask for predictions, in a sentence."""
        return "the gateway" if isinstance(self.target, Embedded) else "the endpoint"

    @property
    def is_delegated_to_target(self) -> bool:
        """Whether the target shifts the traffic and judges the candidate by itself, all within the promotion."""
        return isinstance(self.target, SageMaker) and self.target.mode == "guardrail"

    @property
    def shadow_plan(self) -> Shadow | None:
        return self.shadow or (Shadow() if self.strategy == "shadow" else None)

    @property
    def error_threshold(self) -> float:
        """The guard's limit on bad answers."""
        blocks = {"canary": self.canary or Canary(), "blue_green": self.blue_green or BlueGreen(), "ab": self.ab}
        block = blocks.get(self.strategy)
        return block.error_threshold if block else Canary().error_threshold

    def shares(self) -> list[int]:
        """Basis points of each stage before the promotion, ascending; empty if the candidate gets no callers' traffic,
        or if the target itself shifts and judges."""
        if self.is_delegated_to_target:
            return []
        if self.strategy == "canary":
            return (self.canary or Canary()).shares()
        if self.strategy == "blue_green":
            return [basis_points((self.blue_green or BlueGreen()).test_traffic_percentage)]
        if self.strategy == "ab":
            return [round((self.ab or AbTestSpec()).traffic_split * FULL_SHARE)]
        return []

"""A rollout on SageMaker ends where its record says, whoever dies, races or silently takes back on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from pipelines.adapters.sagemaker.changes import EndpointChanges
from pipelines.adapters.sagemaker.clients import SERVICES, AwsClients
from pipelines.adapters.sagemaker.target import SageMakerTarget
from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.spec.deployment import Deployment
from tests.adapters.local_aws import local_aws
from tests.adapters.s3_server import BUCKET, s3_server

MODEL = "flight_delay"
PLAN = {"strategy": "canary", "lease_seconds": 600, "guard": {"max_error_rate": 0.05}}
SHA = {"1": "1" * 64, "2": "2" * 64, "3": "3" * 64}
ROLE = "arn:aws:iam::123456789012:role/airworthy"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/airworthy:step"
SCALED = {"replicas": 2, "max_replicas": 4, "autoscaling": {"target_value": 50}}
CHANGES = {
    "create_model",
    "create_endpoint_config",
    "create_endpoint",
    "update_endpoint",
    "update_endpoint_weights_and_capacities",
    "put_object",
    "register_scalable_target",
    "put_scaling_policy",
    "deregister_scalable_target",
}
ONE_AT_A_TIME = threading.Lock()
"""S3 checks and writes in one go; moto checks first and then writes."""
numbers = count(1)


class Killed(BaseException):
    """The worker that made the call is gone."""


class Watched:
    """A client that tells of every change before it returns; ``after`` may raise."""

    def __init__(self, client: Any, after: Callable[[str], None]) -> None:
        self._client, self._after = client, after

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._client, name)
        if name not in CHANGES:
            return called

        def call(**arguments: Any) -> Any:
            with ONE_AT_A_TIME:
                answer = called(**arguments)
            self._after(name)
            return answer

        return call


class Field:
    """One model on one endpoint of its own, with bundles of three versions in its store."""

    def __init__(self, aws: AwsClients, **declared: Any) -> None:
        number = next(numbers)
        self.prefix, self.endpoint = f"air{number}", f"flights{number}"
        self.clients, self.image, self.declared = aws, IMAGE, declared
        self.clock, self.waited = datetime(2026, 11, 20, 12, tzinfo=UTC), 0.0
        for version in SHA:
            key = f"{self.prefix}/bundles/{MODEL}/{version}/bundle.json"
            self.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")

    def target(self, after: Callable[[str], None] = lambda name: None, **target: Any) -> SageMakerTarget:
        named = {"kind": "sagemaker", "endpoint": self.endpoint, "role_arn": ROLE, "image": self.image}
        given = {"strategy": "canary"} | self.declared
        block = named | {"instance_type": "ml.m5.large"} | given.pop("target", {}) | target
        watched = AwsClients(*(Watched(client, after) for client in vars(self.clients).values()))
        deployment = Deployment.model_validate(given | {"target": block})
        store = f"s3://{BUCKET}/{self.prefix}"
        return SageMakerTarget(
            EndpointChanges(MODEL, deployment, watched, store, now=lambda: self.clock, sleep=self.sleep)
        )

    def sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.clock += timedelta(seconds=seconds)

    def bundle(self, version: str) -> tuple[str, str]:
        return f"s3://{BUCKET}/{self.prefix}/bundles/{MODEL}/{version}/", SHA[version]

    def release(self, version: str, **options: Any) -> SageMakerTarget:
        target = self.target(**options)
        target.release(MODEL, version, *self.bundle(version), key=f"release {version}")
        return target

    def asked(self, service: str, operation: str) -> list[dict[str, Any]]:
        """Parameters of every such call from now on, as AWS gets them."""
        found: list[dict[str, Any]] = []
        event = f"provide-client-params.{service}.{operation}"
        client = {"sagemaker": self.clients.sagemaker, "cloudwatch": self.clients.cloudwatch}[service]
        client.meta.events.register(event, lambda params, **_: found.append(dict(params)))
        return found

    def described(self) -> dict[str, Any]:
        """The endpoint when it is at rest."""
        for _ in range(10):
            found: dict[str, Any] = self.clients.sagemaker.describe_endpoint(EndpointName=self.endpoint)
            if found["EndpointStatus"] == "InService":
                return found
        raise AssertionError(found)

    def weights(self) -> dict[str, float]:
        return {v["VariantName"]: v.get("CurrentWeight") or 0 for v in self.described()["ProductionVariants"]}

    def config(self) -> dict[str, Any]:
        name = self.described()["EndpointConfigName"]
        found: dict[str, Any] = self.clients.sagemaker.describe_endpoint_config(EndpointConfigName=name)
        return found

    def begin(self, target: SageMakerTarget, plan: dict[str, Any] = PLAN, version: str = "2") -> RolloutState:
        """A rollout of a version, prepared."""
        rollout_id = f"r{version}"
        state = target.create_rollout(
            MODEL, rollout_id, plan, expect=target.rollout(MODEL).generation, key=f"{rollout_id}/create"
        )
        bundle = self.bundle(version)
        return target.prepare(MODEL, rollout_id, version, *bundle, expect=state.generation, key=f"{rollout_id}/prepare")


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsClients]:
    with local_aws() as clients:
        yield AwsClients(*clients.values())


def test_a_rollout_goes_its_way_from_creation_to_retirement(aws: AwsClients) -> None:
    field = Field(aws)
    target = field.release("1")
    state = target.rollout(MODEL)
    assert (state.champion, state.split, state.phase, state.generation) == ("1", {"1": 10_000}, None, 1)
    state = target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create")
    assert target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create").generation == state.generation
    state = target.prepare(MODEL, "r1", "2", *field.bundle("2"), expect=state.generation, key="prepare")
    assert (state.phase, state.candidate, state.split, state.applied) == ("READY", "2", {"1": 10_000}, True)
    assert field.weights() == {"v1": 10_000, "v2": 0}
    before = state.generation
    with pytest.raises(Refused, match="are not compared"):
        target.set_mirror(MODEL, "r1", "2", 5000, expect=before, key="mirror")
    state = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=before, key="step")
    with pytest.raises(Conflict):
        target.set_traffic(MODEL, "r1", {"1": 8500, "2": 1500}, expect=before, key="stale")
    again = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=before, key="step")
    assert (again.generation, again.split) == (state.generation, {"1": 9500, "2": 500})
    with pytest.raises(Refused, match="used for another request"):
        target.set_traffic(MODEL, "r1", {"1": 9000, "2": 1000}, expect=state.generation, key="step")
    assert field.weights() == {"v1": 9500, "v2": 500}
    renewed = target.renew_lease(MODEL, "r1", 900, expect=state.generation, key="lease")
    assert (renewed.generation, renewed.lease_until) == (state.generation, field.clock + timedelta(seconds=900))
    state = target.pause(MODEL, "r1", "lunch", expect=state.generation, key="pause")
    assert (state.phase, state.reason) == ("PAUSED", "lunch")
    state = target.resume(MODEL, "r1", expect=state.generation, key="resume")
    assert {arm.role for arm in target.counts(MODEL, "r1")} == {"champion", "candidate"}
    state = target.promote(MODEL, "r1", "2", expect=state.generation, key="promote")
    assert (state.champion, state.previous, state.phase) == ("2", "1", "FINALISING")
    assert field.weights() == {"v1": 0, "v2": 10_000}, "the former one keeps its instances until it is retired"
    state = target.retire(MODEL, "r1", "1", expect=state.generation, key="retire")
    assert (state.phase, state.split) == ("SUCCEEDED", {"2": 10_000})
    assert field.weights() == {"v2": 10_000}
    with pytest.raises(Refused, match="SUCCEEDED"):
        target.set_traffic(MODEL, "r1", {"2": 10_000}, expect=state.generation, key="late")


def test_a_rollback_wins_whatever_the_generation_and_what_has_ended_stays_ended(aws: AwsClients) -> None:
    field = Field(aws)
    target = field.release("1")
    state = field.begin(target)
    target.set_traffic(MODEL, "r2", {"1": 5000, "2": 5000}, expect=state.generation, key="step")
    state = target.roll_back(MODEL, "r2", "errors", key="back")
    assert (state.phase, state.split, state.reason) == ("ROLLED_BACK", {"1": 10_000}, "errors")
    assert target.rollout(MODEL).applied, "whoever waits for instances to stop waits for nothing that callers see"
    assert field.weights() == {"v1": 10_000}, "instances of the candidate are stopped"
    assert target.roll_back(MODEL, "r2", "again", key="back again").generation == state.generation
    assert target.create_rollout(MODEL, "r2", PLAN, expect=1, key="create").phase == "ROLLED_BACK"
    with pytest.raises(Refused, match="never had"):
        target.roll_back(MODEL, "r9", "unknown", key="unknown")


def test_it_is_the_same_over_http_against_motos_server() -> None:
    with s3_server(sagemaker=True) as server:
        clients = AwsClients(*(server.client(service) for service in SERVICES))
        test_a_rollout_goes_its_way_from_creation_to_retirement(clients)
        test_a_rollback_wins_whatever_the_generation_and_what_has_ended_stays_ended(clients)
        test_a_candidate_that_aws_silently_takes_back_has_failed_and_is_never_a_success(clients)


def test_a_promotion_can_be_taken_back_by_weights_alone_until_the_former_version_is_retired(aws: AwsClients) -> None:
    field = Field(aws)
    target = field.release("1")
    state = field.begin(target)
    target.promote(MODEL, "r2", "2", expect=state.generation, key="promote")
    said: list[str] = []
    state = field.target(said.append).roll_back(MODEL, "r2", "complaints", key="back")
    assert (state.champion, state.phase, state.split) == ("1", "ROLLED_BACK", {"1": 10_000})
    assert said.index("update_endpoint_weights_and_capacities") < said.index("update_endpoint")


def test_a_newer_rollout_supersedes_and_takes_the_traffic_of_the_older_one(aws: AwsClients) -> None:
    field = Field(aws)
    target = field.release("1")
    with pytest.raises(Refused, match="guard has no limit"):
        target.create_rollout(MODEL, "r0", PLAN | {"guard": {}}, expect=1, key="blind")
    state = field.begin(target)
    state = target.set_traffic(MODEL, "r2", {"1": 9000, "2": 1000}, expect=state.generation, key="step")
    with pytest.raises(Refused, match="rollout r2 is BAKING"):
        target.create_rollout(MODEL, "r3", PLAN, expect=state.generation, key="second")
    state = target.create_rollout(MODEL, "r3", PLAN | {"supersede": True}, expect=state.generation, key="instead")
    assert (state.rollout_id, state.phase, state.split) == ("r3", "PENDING", {"1": 10_000})
    assert target.roll_back(MODEL, "r2", "late", key="late").rollout_id == "r3", "the older one has ended"
    state = field.begin(target, PLAN | {"supersede": True}, "3")
    assert field.weights() == {"v1": 10_000, "v3": 0}


def test_a_version_is_released_and_put_back_in_one_switch(aws: AwsClients) -> None:
    field = Field(aws)
    assert field.target().state(MODEL).version is None
    with pytest.raises(Refused, match="no champion"):
        field.target().rollout(MODEL)
    target = field.release("1")
    live = target.release(MODEL, "2", *field.bundle("2"), key="release 2")
    assert (live.version, live.previous, live.bundle_sha256, live.applied) == ("2", "1", SHA["2"], True)
    assert target.release(MODEL, "2", *field.bundle("2"), key="again").generation == live.generation
    live = target.restore_previous(MODEL, key="back", reason="complaints")
    assert (live.version, live.previous) == ("1", None)
    assert target.restore_previous(MODEL, key="back", reason="complaints").version == "1"
    with pytest.raises(Refused, match="no previous"):
        target.restore_previous(MODEL, key="further back", reason="more")


def test_a_release_waits_for_the_rollout_that_runs_and_a_rollback_takes_it_back_first(aws: AwsClients) -> None:
    field = Field(aws)
    target = field.release("1")
    state = field.begin(target)
    target.set_traffic(MODEL, "r2", {"1": 9_000, "2": 1_000}, expect=state.generation, key="10 %")
    with pytest.raises(Refused, match="is BAKING; promote it or roll it back first"):
        target.release(MODEL, "3", *field.bundle("3"), key="release 3")
    live = target.restore_previous(MODEL, key="back", reason="complaints")
    state = target.rollout(MODEL)
    assert (live.version, state.phase, state.reason) == ("1", "ROLLED_BACK", "complaints")
    assert state.split == {"1": 10_000}


def test_a_candidate_that_aws_silently_takes_back_has_failed_and_is_never_a_success(aws: AwsClients) -> None:
    field = Field(aws)
    field.release("1")
    field.image = "broken"
    target = field.target()
    before = field.described()["EndpointConfigName"]
    with pytest.raises(Refused, match="did not pass its ping"):
        field.begin(target)
    assert field.described()["EndpointStatus"] == "InService", "as if all were well"
    assert field.described()["EndpointConfigName"] == before
    state = target.rollout(MODEL)
    assert (state.phase, state.candidate, state.split) == ("FAILED", None, {"1": 10_000})
    assert f"by the former {before}" in state.reason
    field.image = IMAGE
    assert field.begin(field.target(), version="3").phase == "READY", "the next one is not held up"


def test_a_silent_rollback_is_recorded_by_whoever_looks_first(aws: AwsClients) -> None:
    field = Field(aws)
    field.release("1")
    field.image = "broken"

    def dies(name: str) -> None:
        if name == "put_object" and said[-1:] == ["update_endpoint"]:
            raise Killed
        said.append(name)

    said: list[str] = []
    with pytest.raises(Killed):
        field.begin(field.target(dies))
    states = [field.target().rollout(MODEL) for _ in range(2)]
    assert [state.phase for state in states] == ["PENDING", "FAILED"], "while Updating, and then"


def scenario(field: Field, target: SageMakerTarget) -> None:
    """What a deploy run does, each step decided on what it reads, with keys that a retry repeats."""
    target.release(MODEL, "1", *field.bundle("1"), key="release")
    field.begin(target)
    generation = target.rollout(MODEL).generation
    target.set_traffic(MODEL, "r2", {"1": 9500, "2": 500}, expect=generation, key="step")
    generation = target.rollout(MODEL).generation
    target.promote(MODEL, "r2", "2", expect=generation, key="promote")
    generation = target.rollout(MODEL).generation
    target.retire(MODEL, "r2", "1", expect=generation, key="retire")


def dying(changes: int) -> Callable[[str], None]:
    """A worker that lives for so many changes."""
    left = [changes]

    def after(name: str) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    return after


@pytest.mark.parametrize(("life", "longer", "sizes"), [(1, 0, {}), (2, 0, {}), (3, 1, SCALED)])
def test_workers_that_die_after_a_few_changes_each_still_finish_the_rollout(
    aws: AwsClients, life: int, longer: int, sizes: dict[str, Any]
) -> None:
    field, deaths = Field(aws, resources=sizes), 0
    while True:
        try:
            scenario(field, field.target(dying(life + longer * deaths)))
            break
        except Killed:
            deaths += 1
            assert deaths < 30
    assert deaths >= 4
    state = field.target().rollout(MODEL)
    assert (state.champion, state.phase, state.split, state.applied) == ("2", "SUCCEEDED", {"2": 10_000}, True)
    assert state.generation == 6, "each step was made once"
    assert field.target().roll_back(MODEL, "r2", "late", key="late").phase == "SUCCEEDED"


@pytest.mark.parametrize("life", range(2, 11))
def test_a_rollback_after_any_death_brings_all_traffic_back(aws: AwsClients, life: int) -> None:
    field = Field(aws)
    field.release("1")
    worker = field.target(dying(life))
    try:
        state = field.begin(worker)
        worker.set_traffic(MODEL, "r2", {"1": 5000, "2": 5000}, expect=state.generation, key="step")
    except Killed:
        state = field.target().roll_back(MODEL, "r2", "its worker died", key="back")
    else:
        pytest.fail("it should have died")
    assert (state.phase, state.split) == ("ROLLED_BACK", {"1": 10_000})
    assert field.weights() == {"v1": 10_000}


def test_a_retried_task_is_told_the_former_state_while_instances_start_and_then_finishes_the_change(
    aws: AwsClients,
) -> None:
    field = Field(aws)
    field.release("1")
    with pytest.raises(Killed):
        field.begin(field.target(dying(6)))
    state = field.target().rollout(MODEL)
    assert (state.phase, state.split, state.applied) == ("PENDING", {"1": 10_000}, True)
    assert state.lease_until is not None
    assert state.lease_until > field.clock + timedelta(minutes=30), "nobody loses the lease by waiting for AWS"
    again = field.target().prepare(MODEL, "r2", "2", *field.bundle("2"), expect=state.generation, key="r2/prepare")
    assert (again.phase, again.applied) == ("READY", True)


def test_nobody_waits_for_instances_to_renew_a_lease_or_to_hold_a_rollout(aws: AwsClients) -> None:
    field = Field(aws)
    target = field.release("1")
    field.begin(target)
    state = target.roll_back(MODEL, "r2", "errors", key="back")
    waited = field.waited
    state = target.create_rollout(MODEL, "r3", PLAN, expect=state.generation, key="r3/create")
    state = target.renew_lease(MODEL, "r3", 900, expect=state.generation, key="lease")
    state = target.pause(MODEL, "r3", "lunch", expect=state.generation, key="pause")
    assert (state.phase, field.waited) == ("PAUSED", waited), "while the former candidate's instances stop"
    with pytest.raises(Conflict):
        target.renew_lease(MODEL, "r3", 900, expect=state.generation - 1, key="lease")


def test_whoever_looks_finishes_a_step_of_which_only_the_record_is_undone(aws: AwsClients) -> None:
    field = Field(aws)
    state = field.begin(field.release("1"))
    with pytest.raises(Killed):
        field.target(dying(2)).set_traffic(MODEL, "r2", {"1": 9000, "2": 1000}, expect=state.generation, key="step")
    field.described()
    state = field.target().rollout(MODEL)
    assert (state.phase, state.step, state.split, state.applied) == ("BAKING", 1, {"1": 9000, "2": 1000}, True)


def test_of_rivals_that_decided_on_one_generation_one_wins(aws: AwsClients) -> None:
    field = Field(aws)
    state = field.begin(field.release("1"))
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def shift(share: int) -> None:
        target = field.target()
        barrier.wait()
        try:
            target.set_traffic(
                MODEL, "r2", {"1": 10_000 - share, "2": share}, expect=state.generation, key=f"step {share}"
            )
            outcomes.append(f"won {share}")
        except Conflict:
            outcomes.append("lost")
        except Unavailable:
            outcomes.append("try again")

    rivals = [threading.Thread(target=shift, args=(share,)) for share in (500, 1000, 1500, 2000)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    now = field.target().rollout(MODEL)
    assert (now.generation, now.applied) == (state.generation + 1, True)
    won = [outcome for outcome in outcomes if outcome.startswith("won")]
    assert won in ([f"won {now.split['2']}"], []), outcomes


def test_an_order_that_comes_after_a_rollback_is_put_right(aws: AwsClients) -> None:
    field = Field(aws)
    state = field.begin(field.release("1"))

    def overtaken(name: str) -> None:
        if name == "put_object" and not backs:
            backs.append(field.target().roll_back(MODEL, "r2", "a person said so", key="back"))

    backs: list[RolloutState] = []
    with pytest.raises(Refused):
        field.target(overtaken).set_traffic(MODEL, "r2", {"1": 9000, "2": 1000}, expect=state.generation, key="step")
    now = field.target().rollout(MODEL)
    assert (now.phase, now.split, now.applied) == ("ROLLED_BACK", {"1": 10_000}, True)
    assert field.weights() == {"v1": 10_000}


def test_what_somebody_else_did_to_the_endpoint_is_told_and_not_built_upon(aws: AwsClients) -> None:
    field = Field(aws)
    target = field.release("1")
    state = field.begin(target)
    weights = [{"VariantName": "v1", "DesiredWeight": 1.0}, {"VariantName": "v2", "DesiredWeight": 1.0}]
    field.clients.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=field.endpoint, DesiredWeightsAndCapacities=weights
    )
    state = target.rollout(MODEL)
    assert (state.split, state.applied) == ({"1": 5000, "2": 5000}, False), "traffic is what SageMaker says"
    assert target.roll_back(MODEL, "r2", "strange hands", key="back").split == {"1": 10_000}


def test_a_configuration_that_somebody_else_made_is_refused_until_a_rollback_or_a_release(aws: AwsClients) -> None:
    field = Field(aws)
    target = field.release("1")
    variant = field.config()["ProductionVariants"][0] | {"VariantName": "theirs"}
    field.clients.sagemaker.create_endpoint_config(
        EndpointConfigName=f"{field.endpoint}-theirs", ProductionVariants=[variant]
    )

    def meddle(name: str) -> None:
        if name == "update_endpoint":
            field.described()
            field.clients.sagemaker.update_endpoint(
                EndpointName=field.endpoint, EndpointConfigName=f"{field.endpoint}-theirs"
            )

    with pytest.raises(Refused, match="not the one that was requested"):
        field.target(meddle).release(MODEL, "3", *field.bundle("3"), key="release 3")
    state = target.rollout(MODEL)
    assert (state.champion, state.applied, state.split) == ("1", False, {"theirs": 10_000})
    live = target.release(MODEL, "3", *field.bundle("3"), key="release 3 again")
    assert (live.version, live.previous, live.applied) == ("3", "1", True)
    target.restore_previous(MODEL, key="back to 1", reason="complaints")
    with pytest.raises(Refused, match="not the one that was requested"):
        field.begin(field.target(meddle))
    state = field.target().rollout(MODEL)
    assert (state.phase, state.applied, state.split) == ("FAILED", False, {"theirs": 10_000})
    state = field.target().roll_back(MODEL, "r2", "strange hands", key="back")
    assert (state.phase, state.split, state.applied) == ("FAILED", {"1": 10_000}, True)
    assert field.weights() == {"v1": 10_000}


def test_capture_and_size_are_carried_over_and_a_running_version_keeps_its_image(aws: AwsClients) -> None:
    capture = f"s3://{BUCKET}/captured"
    field = Field(aws, resources=SCALED, load_balancing={"algorithm": "least-connections"})
    field.declared["health_check"] = {"initial_delay": 120}
    field.release("1", data_capture=capture)
    first = field.config()["ProductionVariants"][0]
    assert (first["InitialInstanceCount"], first["ContainerStartupHealthCheckTimeoutInSeconds"]) == (2, 120)
    assert first["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    field.image = "another:image"
    field.begin(field.target())
    assert field.config()["DataCaptureConfig"]["DestinationS3Uri"] == capture, "though no longer declared"
    models = {variant["VariantName"]: variant["ModelName"] for variant in field.config()["ProductionVariants"]}
    assert models["v1"] == first["ModelName"]
    container = field.clients.sagemaker.describe_model(ModelName=models["v2"])["PrimaryContainer"]
    assert container["ModelDataSource"]["S3DataSource"]["S3Uri"] == field.bundle("2")[0]
    assert container["Environment"]["AIRWORTHY_SERVE_SHA256"] == SHA["2"]
    scaled = field.clients.autoscaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    mine = {p["ResourceId"]: p for p in scaled if f"endpoint/{field.endpoint}/" in p["ResourceId"]}
    assert set(mine) == {f"endpoint/{field.endpoint}/variant/v{version}" for version in "12"}
    tracked = mine[f"endpoint/{field.endpoint}/variant/v2"]["TargetTrackingScalingPolicyConfiguration"]
    assert tracked["TargetValue"] == 3000, "per minute"


def test_counts_are_what_cloudwatch_summed_in_whole_minutes_of_each_step(aws: AwsClients) -> None:
    field = Field(aws)
    field.clock = datetime.now(UTC).replace(second=30, microsecond=0) - timedelta(hours=1)
    state = field.begin(field.release("1"))
    target = field.target()
    state = target.set_traffic(MODEL, "r2", {"1": 9000, "2": 1000}, expect=state.generation, key="step")
    begun = state.step_started
    assert begun is not None
    minute = begun.replace(second=0)
    for variant, metric, values in (
        ("v1", "Invocations", {1: 900.0, 2: 900.0}),
        ("v2", "Invocations", {0: 77.0, 1: 100.0, 2: 101.0, 5: 55.0}),
        ("v2", "Invocation5XXErrors", {1: 3.0, 2: 4.0}),
    ):
        dimensions = [{"Name": "EndpointName", "Value": field.endpoint}, {"Name": "VariantName", "Value": variant}]
        field.clients.cloudwatch.put_metric_data(
            Namespace="AWS/SageMaker",
            MetricData=[
                {
                    "MetricName": metric,
                    "Dimensions": dimensions,
                    "Timestamp": minute + timedelta(minutes=place),
                    "Value": value,
                }
                for place, value in values.items()
            ],
        )
    field.clock = minute + timedelta(minutes=3, seconds=20)
    arms = {(arm.step, arm.role): arm for arm in target.counts(MODEL, "r2")}
    candidate = arms[1, "candidate"]
    assert (candidate.requests, candidate.failed, candidate.bad, candidate.share) == (201, 7, {"error": 7}, 1000)
    assert arms[1, "champion"].requests == 1800
    with pytest.raises(Refused, match="never had"):
        target.counts(MODEL, "r9")


def test_a_store_or_a_bundle_that_aws_cannot_read_is_refused(aws: AwsClients) -> None:
    field = Field(aws)
    deployment = Deployment.model_validate(
        {"target": {"kind": "sagemaker", "role_arn": ROLE, "image": IMAGE, "instance_type": "ml.m5.large"}}
    )
    with pytest.raises(Refused, match="only from S3"):
        SageMakerTarget(EndpointChanges(MODEL, deployment, field.clients, "/var/store"))
    target = field.release("1")
    state = target.create_rollout(MODEL, "r2", PLAN, expect=1, key="create")
    with pytest.raises(Refused, match="no bundle"):
        target.prepare(MODEL, "r2", "2", f"s3://{BUCKET}/none/", SHA["2"], expect=state.generation, key="prepare")
    assert target.rollout(MODEL).phase == "FAILED"


def test_an_aws_that_does_not_answer_is_unavailable() -> None:
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    config = Config(retries={"max_attempts": 0}, connect_timeout=1)
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1")
    dead = [session.client(service, endpoint_url="http://127.0.0.1:9", config=config) for service in SERVICES]
    deployment = Deployment.model_validate(
        {"target": {"kind": "sagemaker", "role_arn": ROLE, "image": IMAGE, "instance_type": "ml.m5.large"}}
    )
    with pytest.raises(Unavailable, match="does not answer"):
        SageMakerTarget(EndpointChanges(MODEL, deployment, AwsClients(*dead), f"s3://{BUCKET}/air")).rollout(MODEL)


# ---- mode guardrail -------------------------------------------------------------------------------------------------

GUARDED = {"mode": "guardrail", "alarms": ["errors", "late"]}
POLICIES: list[tuple[dict[str, Any], dict[str, Any], int, int]] = [
    (
        {"strategy": "canary", "canary": {"steps": [5], "increment_interval": 600}},
        {"Type": "CANARY", "WaitIntervalInSeconds": 600, "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 5}},
        3600,
        600 + 3600 + 1800,
    ),
    (
        {
            "strategy": "canary",
            "canary": {"canary_percentage": 10, "increment_interval": 300},
            "rollback": {"window": 60},
        },
        {"Type": "LINEAR", "WaitIntervalInSeconds": 300, "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 10}},
        60,
        3000 + 60 + 1800,
    ),
    (
        {"strategy": "blue_green", "blue_green": {"test_traffic_percentage": 25, "validation_duration": 900}},
        {"Type": "CANARY", "WaitIntervalInSeconds": 900, "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 25}},
        3600,
        900 + 3600 + 1800,
    ),
    (
        {"strategy": "all_at_once", "rollback": {"window": 0}},
        {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300},
        0,
        300 + 1800,
    ),
]


@pytest.mark.parametrize(("declared", "routing", "termination", "limit"), POLICIES)
def test_a_guarded_promotion_is_one_update_with_the_declared_shift_and_alarms(
    aws: AwsClients, declared: dict[str, Any], routing: dict[str, Any], termination: int, limit: int
) -> None:
    field = Field(aws, target=GUARDED, resources={"replicas": 4}, **declared)
    target = field.release("1")
    state = field.begin(target)
    assert (state.phase, state.split) == ("READY", {"1": 10_000})
    with pytest.raises(Refused, match="SageMaker itself shifts the traffic"):
        target.set_traffic(MODEL, "r2", {"1": 9500, "2": 500}, expect=state.generation, key="step")
    asked = field.asked("sagemaker", "UpdateEndpoint")
    state = target.promote(MODEL, "r2", "2", expect=state.generation, key="promote")
    assert (state.champion, state.previous, state.phase, state.split) == ("2", "1", "FINALISING", {"2": 10_000})
    [update] = asked
    assert update["DeploymentConfig"] == {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": termination,
            "MaximumExecutionTimeoutInSeconds": limit,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}, {"AlarmName": "late"}]},
    }
    assert update["EndpointConfigName"] == field.described()["EndpointConfigName"]
    assert list(field.weights()) == ["live"], "SageMaker wants the same variant in both configurations"
    assert target.counts(MODEL, "r2") == []


def test_a_guarded_promotion_that_an_alarm_takes_back_is_rolled_back_and_refused(aws: AwsClients) -> None:
    field = Field(aws, target=GUARDED, strategy="all_at_once")
    field.release("1")
    before = field.described()["EndpointConfigName"]
    field.image = "broken"
    target = field.target()
    state = field.begin(target)
    with pytest.raises(Refused, match="was not applied") as refused:
        target.promote(MODEL, "r2", "2", expect=state.generation, key="promote")
    assert f"by the former {before}" in str(refused.value)
    state = target.rollout(MODEL)
    assert (state.phase, state.champion, state.split) == ("ROLLED_BACK", "1", {"1": 10_000})
    assert (field.described()["EndpointStatus"], field.described()["EndpointConfigName"]) == ("InService", before)
    with pytest.raises(Refused, match="ROLLED_BACK"):
        target.promote(MODEL, "r2", "2", expect=state.generation, key="once more")


def test_the_way_back_waits_for_nothing_and_asks_no_alarm(aws: AwsClients) -> None:
    field = Field(aws, target=GUARDED, strategy="all_at_once")
    target = field.release("1")
    state = field.begin(target)
    target.promote(MODEL, "r2", "2", expect=state.generation, key="promote")
    asked = field.asked("sagemaker", "UpdateEndpoint")
    state = target.roll_back(MODEL, "r2", "complaints", key="back")
    assert (state.champion, state.phase, state.split, state.applied) == ("1", "ROLLED_BACK", {"1": 10_000}, True)
    policy = asked[0]["DeploymentConfig"]
    assert "AutoRollbackConfiguration" not in policy
    assert policy["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"] == 0


def test_a_guarded_update_without_an_alarm_is_refused_though_nobody_read_the_declaration(aws: AwsClients) -> None:
    field = Field(aws, target={"mode": "guardrail"}, strategy="all_at_once")
    target = field.release("1")
    state = field.begin(target)
    with pytest.raises(Refused, match="cannot fail"):
        target.promote(MODEL, "r2", "2", expect=state.generation, key="promote")


def test_slow_answers_are_asked_for_as_a_trimmed_count_in_microseconds(aws: AwsClients) -> None:
    field = Field(aws)
    plan = PLAN | {"guard": {"max_error_rate": 0.05, "latency": [{"over_ms": 250, "max_share": 0.05}]}}
    target = field.release("1")
    state = field.begin(target, plan)
    target.set_traffic(MODEL, "r2", {"1": 9000, "2": 1000}, expect=state.generation, key="step")
    field.clock += timedelta(minutes=5)
    asked = field.asked("cloudwatch", "GetMetricData")
    assert {limit for arm in target.counts(MODEL, "r2") for limit in arm.slow} == {"250"}
    stats = {query["MetricStat"]["Stat"] for call in asked for query in call["MetricDataQueries"]}
    assert stats == {"Sum", "TC(250000:)"}

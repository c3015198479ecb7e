"""What an earlier version of the code wrote down by name, the present one still finds, reads and goes on with."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from datetime import date, timedelta
from importlib import import_module
from importlib.metadata import entry_points
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

from pipelines.adapters.kubernetes.http_route_target import HttpRouteTarget, read_template
from pipelines.adapters.kubernetes.kserve_target import KServeTarget
from pipelines.adapters.sagemaker.changes import EndpointChanges
from pipelines.adapters.sagemaker.clients import AwsClients
from pipelines.adapters.sagemaker.target import SageMakerTarget
from pipelines.adapters.store.delta import DeltaStore
from pipelines.adapters.store.store_format import check_format
from pipelines.errors import Refused
from pipelines.ledger.certificate import check_lines, collect_certificate
from pipelines.ledger.examination import examine
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ledger.rows import to_row
from pipelines.ledger.version_state import ROLLBACK_KINDS, lines_about, read_versions
from pipelines.messages.evaluation import EvaluateResult
from pipelines.messages.features import FeatureDefinitions
from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.messages.training import ModelDigests, SnapshotResult
from pipelines.ports import LedgerEntry, VersionInfo
from pipelines.rules.detections import Request, read_detections, read_requests
from pipelines.rules.rollback_drill import choose_candidate
from pipelines.serving.control_plane.state import GatewayState
from pipelines.settings import REPOSITORY, Settings
from pipelines.spec.catalog import Catalog, read_declaration
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.deployment import Deployment
from pipelines.spec.model_declaration import ModelDeclaration
from pipelines.spec.view import ViewDeclaration
from pipelines.steps.drift.ks import ks_test
from pipelines.steps.drift.sketch import QuantileSketch
from pipelines.steps.models.registered_model import _verify, read_model_folder
from pipelines.steps.training.registration import find_registered
from pipelines.store_paths import FORMAT_FILE, raw_receipt, validated
from pipelines.tables.profile import MAX_SKETCH_POINTS, TableProfile, merge_profiles
from pipelines.testing.ports import FixedClock, MemoryStore
from practices._operators import run_context
from practices._pods.launch import Launch
from practices._pods.launched import launched_pod
from practices._rollouts import recorded_evidence
from practices.approval_quorum import recorded_answers
from practices.lease_reaper import watched_rollout
from practices.semantic_versioning import version_details
from tests.installations.kept import ARCHIVE, TEXTS, move_store, read
from tests.installations.kubernetes_in_memory import KubernetesInMemory
from tests.practices.practice_harness import MODEL, PracticeHarness

TRIGGERS: list[dict[str, Any]] = read("triggers.json")
NAMES: dict[str, Any] = read("names.json")


# ---- the store ------------------------------------------------------------------------------------------------------


def test_a_store_without_datasets_is_refused_until_its_folders_are_moved_as_the_refusal_says(tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, [item for item in archive if item.name.startswith("store/")], filter="data")
    store = DeltaStore(str(tmp_path / "store"))
    with pytest.raises(Refused, match="earlier version"):
        check_format(store)
    assert not store.exists(FORMAT_FILE)
    move_store(tmp_path / "store")
    check_format(store)
    assert store.days(validated("flights", "flights"))[0] == date(2013, 1, 1)
    assert store.exists(raw_receipt("flights", "planes", "2013-01-01"))


# ---- names that Airflow's database holds ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder parsed with the kept declarations."""
    home = str(tmp_path_factory.mktemp("airflow"))
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AIRWORTHY"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.installations.dag_names"],
        env=bare | {"AIRFLOW_HOME": home, "AIRWORTHY_HOME": home, "AIRWORTHY_INCLUDE": str(TEXTS / "include")},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def without_ways_on(dag: dict[str, Any]) -> dict[str, Any]:
    """What a DAG is called and made of, without the methods by which its tasks go on."""
    tasks = {task: {**told, "resumes": None} for task, told in dag["tasks"].items()}
    return {**dag, "tasks": tasks}


def test_dags_tasks_params_assets_pools_and_watchers_bear_the_names_they_had(dags: dict[str, Any]) -> None:
    kept = read("dags.json")
    assert dags["errors"] == {}
    assert sorted(kept["dags"].keys() - dags["dags"].keys()) == []
    for name, dag in kept["dags"].items():
        former, present = without_ways_on(dag), without_ways_on(dags["dags"][name])
        assert set(former["params"]) <= set(present["params"]), name
        assert former["tasks"].items() <= present["tasks"].items(), name
        assert {**present, "params": None, "tasks": None} == {**former, "params": None, "tasks": None}, name
    assert kept["assets"].items() <= dags["assets"].items()
    assert kept["watchers"].items() <= dags["watchers"].items()


@pytest.mark.parametrize(
    "kept", [kept for kept in TRIGGERS if kept["path"]], ids=lambda kept: kept["path"].rpartition(".")[2]
)
def test_a_stored_trigger_is_still_made_from_its_path_and_arguments(kept: dict[str, Any]) -> None:
    kind = found_by(kept["path"])
    path, arguments = kind(**kept["kwargs"]).serialize()
    assert kept["kwargs"].items() <= arguments.items()
    assert found_by(path) is kind


def found_by(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize(
    "waits",
    [waits for kept in TRIGGERS for waits in kept["waits"]],
    ids=lambda waits: f"{waits['dag']}-{waits['task']}",
)
def test_a_task_that_was_deferred_goes_on_by_the_method_it_named(dags: dict[str, Any], waits: dict[str, Any]) -> None:
    ways = dags["dags"][waits["dag"]]["tasks"][waits["task"]]["resumes"]
    assert waits["method"] in ways
    assert set(waits["kwargs"]) <= set(ways[waits["method"]])


def test_what_one_task_returned_the_next_one_still_reads() -> None:
    returned = read("handed_over.json")["returned"]
    ticket = RolloutTicket.model_validate(returned[f"{MODEL}__deploy/check_release"])
    assert (ticket.version, ticket.champion) == ("2", "1")
    assert ticket.rollout_id == read("in_flight.json")["state"]["rollout_id"]
    evaluated = EvaluateResult.model_validate(returned[f"{MODEL}__evaluate/measure_candidate"])
    assert (evaluated.version, evaluated.champion) == ("2", "1")
    snapshot = SnapshotResult.model_validate(returned[f"{MODEL}__train/take_snapshot"])
    assert snapshot.digest == evaluated.snapshot


def test_an_event_that_waits_for_its_run_still_names_the_version_and_the_day(tmp_path: Path) -> None:
    events = read("handed_over.json")["events"]
    for state in ("candidate", "approved", "released"):
        name = f"{MODEL}:{state}"
        heard = PracticeHarness(tmp_path).context("deploy", "check_release", events=[(name, events[name])])
        assert run_context.version(heard, name, []) == events[name]["version"]


# ---- names that the outside starts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [*NAMES["started_from_outside"], *NAMES["started_by_the_code"]])
def test_a_module_that_is_started_by_name_starts(module: str) -> None:
    assert importlib.util.find_spec(module) is not None
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(
        command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120
    )
    assert "No module named" not in done.stderr
    if module in NAMES["started_from_outside"]:
        assert (done.returncode, done.stdout[:6]) == (0, "usage:"), done.stderr
    else:  # it is told descriptors, not options, and says that --help is none
        assert done.returncode == 1, done.stderr
        assert "ValueError" in done.stderr


@pytest.mark.parametrize("program", NAMES["programs"])
def test_an_installed_program_is_there(program: str) -> None:
    [found] = entry_points(group="console_scripts", name=program)
    assert callable(found.load())


@pytest.mark.parametrize(("variable", "field"), NAMES["settings"].items())
def test_a_variable_of_the_environment_sets_what_it_set(variable: str, field: str) -> None:
    value = {"AIRWORTHY_GPUS": "3", "AIRWORTHY_DEFER_PODS": "no"}.get(variable, "/else/where")
    found = getattr(Settings.from_environment({variable: value}), field)
    assert str(found) == {"no": "False"}.get(value, value)


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("flights_schema_1.yaml", DatasetSpec, 64),
        ("view_schema_1.yaml", ViewDeclaration, 97),
        ("model_schema_1.yaml", ModelDeclaration, 3),
    ],
)
def test_a_declaration_is_refused_with_what_to_write_in_each_line_that_is_written_otherwise_now(
    name: str, kind: type[BaseModel], count: int
) -> None:
    with pytest.raises(Refused, match=f"is written for schema 1; rewrite {count} line") as error:
        read_declaration(TEXTS / name, kind)
    lines = (TEXTS / name).read_text(encoding="utf-8").splitlines()
    for reason in error.value.reasons:
        place, _, line = (
            reason.removesuffix(")").partition(": ")[0],
            *reason.removesuffix(")").rpartition(" (line ")[1:],
        )
        assert place.rpartition(".")[2] in lines[int(line) - 1]


def test_its_stored_features_are_those_of_the_rewritten_view() -> None:
    with tarfile.open(ARCHIVE) as archive:
        content = archive.extractfile("store/features/flight_delay/definitions.json")
        assert content is not None
        stored = FeatureDefinitions.model_validate_json(content.read()).features
    view = Catalog.read(TEXTS / "include").view("flight_delay")
    assert set(stored) == set(view.features)
    assert view.definition_faults(stored) == []
    how = view.features["temp"].transformation.model_copy(update={"max_age": timedelta(hours=5)})
    other = view.features["temp"].model_copy(update={"transformation": how})
    changed = view.model_copy(update={"features": view.features | {"temp": other}, "former_digests": {}})
    assert "feature 'temp' changed but is still version 1; raise it to 2" in changed.definition_faults(stored)


def test_declarations_written_for_it_are_all_read_once_they_are_rewritten() -> None:
    catalog = Catalog.read(TEXTS / "include")
    assert catalog.refused == {}
    deployed = {dag.removesuffix("__deploy") for dag in read("dags.json")["dags"] if dag.endswith("__deploy")}
    assert set(catalog.models) == deployed


# ---- records of rollouts -------------------------------------------------------------------------------------------


TEMPLATE = read_template(REPOSITORY / "include" / "pods" / "gateway.yaml")


def on_kubernetes(kept: dict[str, Any]) -> Any:
    """Today's target on the objects that an earlier one left in a cluster."""
    deployment = Deployment.model_validate(kept["deployment"])
    cluster = KubernetesInMemory(*kept["objects"])
    kind = KServeTarget if deployment.target.kind == "kserve" else HttpRouteTarget
    return kind(deployment, lambda: cluster, template=TEMPLATE, store="s3://bucket", clock=FixedClock())


@pytest.mark.parametrize("kind", ["http_route", "kserve"])
def test_a_rollout_kept_in_an_annotation_stands_where_it_stood(kind: str) -> None:
    kept = read(f"{kind}.json")
    target = on_kubernetes(kept)
    state = target.rollout(MODEL)
    assert (state.champion, state.candidate, state.phase, state.step) == ("1", "2", "BAKING", 1)
    assert state.split == {"1": 8000, "2": 2000}
    assert state == RolloutState.model_validate(kept["state"])


@pytest.mark.parametrize("kind", ["http_route", "kserve"])
def test_a_call_that_was_answered_before_is_answered_alike(kind: str) -> None:
    kept = read(f"{kind}.json")
    again = kept["answered"]
    state = on_kubernetes(kept).set_traffic(MODEL, "r2", again["split"], expect=1, key=again["key"])
    assert (state.split, state.generation) == (again["split"], kept["state"]["generation"])


def test_a_rollout_of_model_servers_on_kserve_is_taken_back_without_an_image() -> None:
    kept = read("kserve.json")
    assert on_kubernetes(kept).roll_back(MODEL, "r2", "worse", key="back").split == {"1": 10_000}


def test_an_inference_service_of_a_model_server_is_taken_back_by_pods_of_the_gateway() -> None:
    kept = read("kserve.json")
    cluster = KubernetesInMemory(*kept["objects"])
    deployment = Deployment.model_validate(kept["deployment"])
    common: dict[str, Any] = {"template": TEMPLATE, "store": "s3://bucket", "clock": FixedClock()}
    target = KServeTarget(deployment, lambda: cluster, image="gateway:1", **common)
    assert target.roll_back(MODEL, "r2", "worse", key="back").split == {"1": 10_000}
    (service,) = (one for one in cluster.objects.values() if one["kind"] == "InferenceService")
    assert "model" not in service["spec"]["predictor"]
    assert [one["image"] for one in service["spec"]["predictor"]["containers"]] == ["gateway:1"]
    unnamed = KServeTarget(deployment, lambda: cluster, **common)
    with pytest.raises(Refused, match="AIRWORTHY_POD_IMAGE"):
        unnamed.release(MODEL, "3", "s3://bucket/3", "3" * 64, key="next")


def test_a_rollout_kept_on_s3_stands_where_it_stood() -> None:
    kept = read("sagemaker.json")

    def get_object(*, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - AWS's names
        assert f"s3://{Bucket}/{Key}" == f"s3://{kept['store'].split('/')[2]}/{kept['key']}"
        return {"Body": BytesIO(json.dumps(kept["record"]).encode()), "ETag": "1"}

    sagemaker = SimpleNamespace(
        describe_endpoint=lambda EndpointName: kept["endpoint"],  # noqa: N803
        describe_endpoint_config=lambda EndpointConfigName: kept["endpoint_config"],  # noqa: N803
    )
    clients = AwsClients(sagemaker, SimpleNamespace(get_object=get_object), None, None)
    target = SageMakerTarget(
        EndpointChanges(MODEL, Deployment.model_validate(kept["deployment"]), clients, kept["store"])
    )
    state = target.rollout(MODEL)
    assert (state.champion, state.candidate, state.phase, state.applied) == ("1", "2", "BAKING", True)
    assert state.split == {"1": 8000, "2": 2000}
    assert state == RolloutState.model_validate(kept["state"])


def test_the_gateways_own_record_stands_where_it_stood(tmp_path: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extract("gateway/state.db", tmp_path, filter="data")
    state, told = GatewayState(tmp_path / "gateway" / "state.db"), read("in_flight.json")["state"]
    route = state.table().routes[MODEL]
    state.close()
    assert route.rollout is not None
    assert (route.live.version, route.split) == ("1", {"1": 8000, "2": 2000})
    assert (route.rollout.rollout_id, route.rollout.phase) == (told["rollout_id"], "BAKING")
    assert route.rollout.probe == told["probe"]


@pytest.mark.parametrize("name", ["training/flight_delay/1", "features/flight_delay/2013-01-05"])
def test_a_profile_that_counted_no_ties_is_read_and_compared(name: str, tmp_path: Path) -> None:
    path = f"store/profiles/{name}.json"
    with tarfile.open(ARCHIVE) as archive:
        archive.extract(path, tmp_path, filter="data")
    profile = TableProfile.model_validate_json((tmp_path / path).read_bytes())
    assert profile.version == 1
    for column, stored in profile.numeric.items():
        sketch = QuantileSketch.of(stored)
        assert ks_test(sketch, sketch)[0] <= 0.0, column
        if len(stored.points) < MAX_SKETCH_POINTS:
            assert stored.ties == stored.weights
    assert merge_profiles([profile, profile]).rows == 2 * profile.rows


# ---- pods ----------------------------------------------------------------------------------------------------------


def test_what_a_pod_left_in_the_store_is_found_under_the_same_path_and_believed() -> None:
    kept, store = read("pod_run.json"), MemoryStore()
    store.files = {path: text.encode() for path, text in kept["files"].items()}
    launch = Launch(store, "train_model", **kept["launch"], stamp=kept["made"], request=kept["request"])
    attempt = launch.current_attempt()
    assert attempt is not None
    assert launch.pod_name(attempt) == kept["pod"]
    assert launch.read_result(attempt) == b'{"ok": 1}'


def test_a_pod_that_runs_still_says_whose_it_is() -> None:
    kept = read("pod_run.json")
    named = {"name": kept["pod"], "uid": "u", "resource_version": "1", "creation_timestamp": FixedClock()()}
    metadata = SimpleNamespace(**named, labels=kept["labels"], annotations=kept["annotations"], deletion_timestamp=None)
    status = SimpleNamespace(container_statuses=[], phase="Running", start_time=None)
    pod = SimpleNamespace(metadata=metadata, status=status, spec=SimpleNamespace(active_deadline_seconds=60))
    identity = launched_pod(pod).identity
    assert identity is not None
    assert (identity.dag_id, identity.run_id, identity.task_id) == tuple(
        kept["launch"][name] for name in ("dag_id", "run_id", "task_id")
    )


# ---- the model -----------------------------------------------------------------------------------------------------


def test_a_registered_model_is_loaded_by_mlflow_through_the_loader_it_names_and_answers_as_it_did() -> None:
    import mlflow

    answers = [answer for answer in read("in_flight.json")["answers"] if answer["version"] == "1"]
    assert len(answers) > 3
    model = mlflow.pyfunc.load_model(str(TEXTS / "model"))
    for answer in answers:
        asked = answer["body"]["dataframe_split"]
        columns = {
            name: pd.Series([value], dtype=object)
            for name, value in zip(asked["columns"], asked["data"][0], strict=True)
        }
        types = {column.name: column.type.to_pandas() for column in model.metadata.get_input_schema()}
        frame = pd.DataFrame({name: columns[name].astype(kind) for name, kind in types.items()})
        assert model.predict(frame)[0] == pytest.approx(answer["prediction"], abs=1e-6)


def test_the_tags_of_a_registered_version_still_say_what_it_is() -> None:
    newest, first = [VersionInfo.model_validate(told) for told in read("versions.json")]
    _verify(first, TEXTS / "model", ModelDigests(model_digest=first.tags["airworthy.model_digest"]))
    assert read_model_folder(TEXTS / "model").problem == "classification"
    registry: Any = SimpleNamespace(versions=lambda model: [newest, first])
    for version in (newest, first):
        found = find_registered(registry, MODEL, version.tags["airworthy.request_digest"])
        assert found == version


# ---- the ledger ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines() -> list[LedgerEntry]:
    texts = (TEXTS / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    return [LedgerEntry.model_validate_json(text) for text in texts]


@pytest.fixture
def harness(lines: list[LedgerEntry], tmp_path: Path) -> PracticeHarness:
    """Ports of a model whose ledger holds the kept lines."""
    made = PracticeHarness(tmp_path)
    made.ledger.lines = lines
    made.catalog = Catalog.read(TEXTS / "include")
    return made


@pytest.fixture
def ticket() -> RolloutTicket:
    return RolloutTicket.model_validate(read("handed_over.json")["returned"][f"{MODEL}__deploy/check_release"])


def test_the_chain_of_kept_lines_is_whole(lines: list[LedgerEntry]) -> None:
    assert examine([to_row(line) for line in lines]).faults == []


def test_the_certificate_of_a_version_still_holds(lines: list[LedgerEntry]) -> None:
    certificate = collect_certificate(MODEL, "1", lines)
    assert [check for check in check_lines(certificate) if check.state != "ok"] == []
    assert certificate.semantic_version == "1.0.0"
    assert certificate.table_versions


def test_kept_lines_tell_the_states_of_versions_and_which_version_was_taken_back(lines: list[LedgerEntry]) -> None:
    own = [line for line in lines if line.model == MODEL]
    running = [line for line in own if line.number <= 43]
    states = {version: known.state.value for version, known in read_versions(running).items()}
    assert states == {"1": "live", "2": "staged"}
    [rollback, end] = [line for line in own if line.kind in ROLLBACK_KINDS]
    assert (rollback.version, rollback.details["from"]) == ("4", "5")
    assert lines_about("4", own) == []
    assert lines_about("5", own)[-2:] == [rollback, end]
    taken = read_versions(own)["5"]
    assert (taken.by, taken.reason) == ("run", "judge_at_5 failed")


def test_gates_and_stages_that_a_rollout_has_passed_still_count(
    harness: PracticeHarness, ticket: RolloutTicket
) -> None:
    gates, approved = recorded_evidence.gate_outcomes(ticket, harness)
    assert {gate: gates[gate] for gate in REQUIRED_GATES} == dict.fromkeys(REQUIRED_GATES, "pass")
    assert approved == ticket.model_digest
    stages = recorded_evidence.stage_outcomes(ticket, harness.catalog.model(MODEL), harness)
    passed = {stage for stage, outcome in stages.items() if outcome == "pass"}
    assert passed == {"approval_quorum", "load_test", "shadow_comparison"}


def test_what_people_answered_still_counts(harness: PracticeHarness, ticket: RolloutTicket) -> None:
    told = read("in_flight.json")
    receipts = [read("handed_over.json")["returned"][f"{MODEL}__deploy/request_approvals/0"]]
    context = {"dag_run": SimpleNamespace(dag_id=told["dag"], run_id=told["run"])}
    answers, faults = recorded_answers(receipts, ticket, harness, context)
    assert faults == []
    assert [(answer.person, answer.choice) for answer in answers] == [("ml_lead", "approve")]


def test_a_rollout_is_still_known_to_belong_to_its_run(harness: PracticeHarness, ticket: RolloutTicket) -> None:
    told = read("in_flight.json")
    state = RolloutState.model_validate(told["state"])
    context: Any = {"ti": SimpleNamespace(get_dr_count=lambda **_: 1)}
    assert watched_rollout(state, harness.catalog.model(MODEL), harness, context).run == f"{told['dag']}/{told['run']}"


def test_an_approved_version_keeps_its_number(harness: PracticeHarness) -> None:
    assert version_details(harness, MODEL, "1")["semantic_version"] == "1.0.0"
    assert version_details(harness, MODEL, "2")["semantic_version"] == "1.0.1"


def test_days_on_which_trouble_was_detected_still_count(harness: PracticeHarness) -> None:
    verdicts = harness.ledger.entries(kind="monitoring_verdict")
    found = {(one.kind, one.outcome.value) for one in read_detections(line.details for line in verdicts)}
    assert {("data_drift", "fail"), ("performance", "fail")} <= found
    [asked] = harness.ledger.entries(kind="retrain_request")
    assert asked.details["day"] == "2013-03-07"
    assert read_requests([asked.details]) == [Request(day=date(2013, 3, 7), alarm=False)]


def test_a_version_that_was_live_still_stands_in(lines: list[LedgerEntry]) -> None:
    found = choose_candidate("2", "1", lines)
    assert found is not None
    assert found.version == "1"


def test_one_line_of_each_kind_is_kept(lines: list[LedgerEntry]) -> None:
    kinds = {line.kind for line in lines}
    assert kinds >= {
        *("data_verdict", "training", "gate", "approval", "approval_request", "approval_answer", "approval_quorum"),
        *("release", "rollout", "rollback", "rollout_end", "lease_expired", "monitoring_verdict", "retrain_request"),
        *("rollback_drill", "orphaned_pod", "restore"),
    }

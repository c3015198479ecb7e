"""A try starts at most one pod, believes only manifests, and takes over what an earlier try left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from pipelines.errors import Refused, Unavailable
from pipelines.messages.pod_run import RunManifest
from pipelines.pod.run_seal import put_sealed
from pipelines.rules.pod_end import PodEnd
from pipelines.testing.ports import MemoryStore
from practices._pods.launch import Launch
from practices._pods.run_identity import is_same_request

NOW = datetime(2026, 11, 2, 7, tzinfo=UTC)
REQUEST = '{"model": "m", "git_revision": "a"}'
SECRETS = ("the installation's", "its former one")


def launch(store: MemoryStore, try_number: int = 1, made: str = "0190aaaa-0001", **fields: Any) -> Launch:
    named = {"dag_id": "m__train", "run_id": "manual__1", "task_id": "train_model", "map_index": -1, **fields}
    ti = SimpleNamespace(**named, try_number=try_number, id=f"{made}-7000-8000-000000000000")
    return Launch.of({"ti": ti}, store, "train_model", fields.get("request", REQUEST), fields.get("secrets", SECRETS))


def begun(store: MemoryStore, try_number: int = 1, **fields: Any) -> Launch:
    started = launch(store, try_number, **fields)
    started.write_ticket("d" * 64, 1)
    return started.reload()


def finish(
    store: MemoryStore,
    of: Launch,
    outcome: Literal["done", "refused", "unavailable"] = "done",
    result: bytes = b'{"ok": 1}',
    **changes: Any,
) -> Launch:
    if outcome == "done":
        store.put(of.path(of.attempt, "result.json"), result)
    told = {
        "step": "train_model",
        "request_sha256": hashlib.sha256(of.request.encode()).hexdigest(),
        "declarations": "d" * 64,
        "outcome": outcome,
        "subject": None if outcome == "done" else "no",
        "reasons": ["one", "two"] if outcome == "refused" else [],
        "result_sha256": hashlib.sha256(result).hexdigest() if outcome == "done" else None,
        "started": NOW,
        "finished": NOW,
        "pod": "p",
    }
    manifest = RunManifest.model_validate({**told, **changes})
    content = manifest.model_dump_json(by_alias=True).encode()
    put_sealed(store, of.path(of.attempt, "manifest.json"), content, of.run_key(of.attempt))
    return of.reload()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_a_first_try_finds_nothing(store: MemoryStore) -> None:
    assert (launch(store).current_attempt(), launch(store).unfinished_attempt()) == (None, None)


def test_the_same_try_finds_its_own_launch_and_waits_while_there_is_no_manifest(store: MemoryStore) -> None:
    again = begun(store)
    assert again.current_attempt() == again.attempt
    assert again.read_result(again.attempt) is None


def test_a_manifest_vouches_for_the_result(store: MemoryStore) -> None:
    done = finish(store, begun(store))
    assert done.read_result(done.attempt) == b'{"ok": 1}'


def test_within_a_try_the_ticket_stands_whatever_has_changed_since(store: MemoryStore) -> None:
    finish(store, begun(store))
    later = launch(store, request='{"model": "m", "git_revision": "b", "champion": "7"}')
    assert later.read_result(str(later.current_attempt())) == b'{"ok": 1}'


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"result_sha256": "0" * 64}, "is not what the pod wrote"),
        ({"request_sha256": "0" * 64}, "answers another request"),
        ({"step": "build_bundle"}, "answers another request"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(store: MemoryStore, changes: dict[str, Any], said: str) -> None:
    forged = finish(store, begun(store), **changes)
    with pytest.raises(Refused, match=said):
        forged.read_result(forged.attempt)


def test_a_manifest_that_cannot_be_read_is_refused(store: MemoryStore) -> None:
    of = begun(store)
    put_sealed(store, of.path(of.attempt, "manifest.json"), b"{", of.run_key(of.attempt))
    with pytest.raises(Refused, match="is not a manifest"):
        of.reload().read_result(of.attempt)


OTHER = {"run_id": "manual__2"}
FORGERIES: dict[str, Callable[[MemoryStore, Launch], object]] = {
    "the manifest and result of another run": lambda store, of: copy_files(
        store, finish(store, begun(store, **OTHER)), of
    ),
    "a manifest without a seal": lambda store, of: store.delete(of.path(of.attempt, "manifest.json.seal")),
    "a manifest changed by a byte": lambda store, of: append(store, of.path(of.attempt, "manifest.json")),
    "a ticket changed by a byte": lambda store, of: append(store, of.path(of.attempt, "ticket.json")),
    "a manifest sealed by a key of another run": lambda store, of: put_sealed(
        store,
        of.path(of.attempt, "manifest.json"),
        store.get(of.path(of.attempt, "manifest.json")),
        launch(store, **OTHER).run_key(of.attempt),
    ),
}


def copy_files(store: MemoryStore, source: Launch, to: Launch) -> None:
    for name in ("result.json", "manifest.json", "manifest.json.seal"):
        store.put(to.path(to.attempt, name), store.get(source.path(source.attempt, name)))


def append(store: MemoryStore, path: str) -> None:
    store.put(path, store.get(path) + b" ")


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=list(FORGERIES))
def test_what_a_pod_writes_beside_the_files_of_another_run_is_not_believed(
    store: MemoryStore, forge: Callable[[MemoryStore, Launch], object]
) -> None:
    of = finish(store, begun(store))
    forge(store, of)
    with pytest.raises(Refused, match="seal"):
        of.reload().read_result(of.attempt)


@pytest.mark.parametrize(
    "attempt", ["1-0190aaaa0009", "../../../m__train/manual__2/train_model-train_model/1-0190aaaa0001"]
)
def test_an_adoption_that_a_pod_wrote_leads_to_no_other_attempt(store: MemoryStore, attempt: str) -> None:
    finish(store, begun(store, **OTHER))
    of = begun(store)
    store.put(of.path(of.attempt, "adopts.json"), json.dumps({"attempt": attempt}).encode())
    with pytest.raises(Refused, match="has no seal"):
        of.reload().current_attempt()


@pytest.mark.parametrize("name", ["zz-0190", "-", "0190aaaa", "\u0661-0190", "1" * 5000 + "-0190"])
def test_a_folder_that_a_pod_made_beside_the_attempts_stops_no_later_try(store: MemoryStore, name: str) -> None:
    of = begun(store)
    store.put(f"{of.root}/{name}/ticket.json", b"{}")
    assert launch(store, 2).unfinished_attempt() == of.attempt


def test_a_run_goes_on_while_the_secret_of_the_installation_is_replaced(store: MemoryStore) -> None:
    of = finish(store, begun(store, secrets=["its former one"]), result=b'{"ok": 2}')
    assert launch(store).read_result(of.attempt) == b'{"ok": 2}'


def test_a_run_from_before_seals_is_started_anew_by_the_next_try(store: MemoryStore) -> None:
    of = finish(store, begun(store, secrets=[]))
    with pytest.raises(Unavailable, match="the next try starts a pod anew"):
        launch(store).read_result(of.attempt)
    assert launch(store, 2).unfinished_attempt() is None


def test_the_key_of_a_run_is_no_secret_of_the_installation_and_differs_from_those_of_others(store: MemoryStore) -> None:
    keys = [launch(store, **fields).run_key("1-x") for fields in ({}, OTHER, {"task_id": "t"}, {"dag_id": "d"})]
    assert len({*keys, *SECRETS}) == 6


def test_what_the_step_raised_is_raised_again_with_all_its_reasons(store: MemoryStore) -> None:
    no = finish(store, begun(store), "refused")
    with pytest.raises(Refused) as error:
        no.read_result(no.attempt)
    assert (error.value.subject, error.value.reasons) == ("no", ["one", "two"])
    late = finish(store, begun(store, 2), "unavailable")
    with pytest.raises(Unavailable, match="no"):
        late.read_result(late.attempt)


@pytest.mark.parametrize(("kind", "error"), [("refused", Refused), ("unavailable", Unavailable)])
def test_the_end_of_a_pod_without_a_manifest_is_raised_in_its_try(
    store: MemoryStore, kind: Any, error: type[Exception]
) -> None:
    of = begun(store)
    of.write_end(of.attempt, PodEnd(kind, "the pod is gone", ["why"]))
    with pytest.raises(error, match="the pod is gone"):
        of.reload().read_result(of.attempt)


def test_a_manifest_outweighs_the_end_of_its_pod(store: MemoryStore) -> None:
    of = begun(store)
    of.write_end(of.attempt, PodEnd("unavailable", "evicted"))
    assert finish(store, of).read_result(of.attempt) == b'{"ok": 1}'


def test_a_later_try_finds_what_an_earlier_one_left_unsettled(store: MemoryStore) -> None:
    first = begun(store)
    assert launch(store, 2).unfinished_attempt() == first.attempt


def test_a_redeployment_does_not_make_the_work_of_a_running_pod_another(store: MemoryStore) -> None:
    first = begun(store)
    assert launch(store, 2, request='{"model": "m", "git_revision": "b"}').unfinished_attempt() == first.attempt
    assert launch(store, 2, request='{"model": "n", "git_revision": "a"}').unfinished_attempt() is None


def test_a_later_try_leaves_alone_what_is_settled(store: MemoryStore) -> None:
    first = begun(store)
    finish(store, first).read_result(first.attempt)
    assert launch(store, 2).unfinished_attempt() is None, "collected: a cleared task runs anew"
    second = begun(store, 2)
    second.write_end(second.attempt, PodEnd("unavailable", "evicted"))
    assert launch(store, 3).unfinished_attempt() is None
    finish(store, begun(store, 3), "refused")
    assert launch(store, 4).unfinished_attempt() is None


def test_an_adopted_attempt_is_the_try_s_own_from_then_on(store: MemoryStore) -> None:
    first = begun(store)
    launch(store, 2).record_adoption(first.attempt)
    assert launch(store, 2).current_attempt() == first.attempt
    assert launch(store, 3).unfinished_attempt() == first.attempt, "still running: the next try goes on with it, too"
    first.write_end(first.attempt, PodEnd("unavailable", "evicted"))
    assert launch(store, 3).unfinished_attempt() is None


def test_a_run_made_anew_under_the_name_of_a_deleted_one_takes_nothing_from_it(store: MemoryStore) -> None:
    finish(store, begun(store, made="0190aaaa-0001"))
    anew = launch(store, made="0190bbbb-0001")
    assert (anew.current_attempt(), anew.unfinished_attempt()) == (None, None)


@pytest.mark.parametrize("change", [{"map_index": 3}, {"run_id": "manual__2"}, {"task_id": "other"}, {"dag_id": "n"}])
def test_every_task_instance_has_pods_and_files_of_its_own(store: MemoryStore, change: dict[str, Any]) -> None:
    one, other = launch(store), launch(store, **change)
    assert one.root != other.root
    assert one.pod_name(one.attempt) != other.pod_name(other.attempt)
    assert one.task_digest != other.task_digest


@pytest.mark.parametrize("run_id", ["manual__2026-11-02T07:00:00.123+00:00", "x" * 250, "ä/ö b", "a..b"])
def test_any_run_id_makes_a_path_and_a_pod_name(store: MemoryStore, run_id: str) -> None:
    of = launch(store, run_id=run_id, dag_id=f"{'long_' * 12}model__train")
    name = of.pod_name(of.attempt)
    assert len(name) <= 63
    assert name.strip("-") == name.lower()
    assert set(of.root) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/")


def test_the_same_work_differs_in_nothing_but_the_revision() -> None:
    assert is_same_request('{"a": 1, "git_revision": "x"}', '{"git_revision": "y", "a": 1}')
    assert not is_same_request('{"a": 1}', '{"a": 2}')

"""On S3 the store keeps its contract by conditional writes: no rival and no kill loses a row of a finished write."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.adapters.ledger.stored_heads import StoredHeads
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import AirworthyError, Refused, Unavailable
from pipelines.settings import REPOSITORY
from tests.adapters.s3_server import BUCKET, S3Server, s3_server

TABLE = "raw/flights"
FIRST, SECOND = date(2013, 1, 1), date(2013, 1, 2)
RIVALS = get_context("spawn")
WRITERS, WRITES = 4, 4


def rows(*numbers: int) -> pl.DataFrame:
    hour = datetime(2013, 1, 1, 10, tzinfo=UTC)
    return pl.DataFrame({"flight": list(numbers), "time_hour": [hour] * len(numbers)}, schema_overrides={"flight": int})


def numbers(store: DeltaStore, **where: Any) -> list[tuple[int, date]]:
    return list(store.read(TABLE, columns=["flight"], **where).iter_rows())


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as made:
        yield made


def test_tables_and_files_live_on_s3_under_the_same_contract(server: S3Server) -> None:
    store = DeltaStore("s3://models/airworthy", server.options)
    store.replace_partition(TABLE, SECOND, rows(2))
    first = store.replace_partition(TABLE, FIRST, rows(1))
    store.replace_partition(TABLE, FIRST, rows(3))
    assert numbers(store) == [(3, FIRST), (2, SECOND)]
    assert numbers(store, days=[FIRST], version=first) == [(1, FIRST)]
    uri = store.put("a/b.json", b"content")
    assert uri == "s3://models/airworthy/a/b.json"
    assert store.get(uri) == store.get("a/b.json") == b"content"
    assert store.list("a/") == ["a/b.json"]
    stamps = store.stamps("a/")
    store.put("a/b.json", b"other content")
    assert list(store.stamps("a/")) == list(stamps)
    assert store.stamps("a/") != stamps
    assert not store.exists("a/none.json")
    with pytest.raises(Refused, match="no such file"):
        store.get("a/none.json")
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert store.list("a/") == []


def test_the_heads_of_a_ledger_are_kept_on_s3_and_show_lines_that_are_lost(server: S3Server, tmp_path: Path) -> None:
    def ledger(name: str) -> SqlLedger:
        heads = StoredHeads("s3://models/airworthy", server.options)
        return SqlLedger(f"sqlite:///{tmp_path}/{name}.db", stored_heads=heads)

    for _ in range(3):
        ledger("first").append("gate", "m", "1", {}, actor="a")
    assert ledger("first").faults() == []
    assert len(DeltaStore("s3://models/airworthy", server.options).list("ledger/heads/")) == 1
    assert "line 3 is missing" in "\n".join(ledger("written_anew").faults())


def test_s3_that_is_down_is_unavailable() -> None:
    options = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    options |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "timeout": "1s", "max_retries": "0"}
    store = DeltaStore("s3://models/airworthy", options)
    with pytest.raises(Unavailable, match="does not answer"):
        store.days(TABLE)
    with pytest.raises(Unavailable, match="does not answer"):
        store.get("a.json")


# ---- rivals ----------------------------------------------------------------------------------------------------------


def test_the_server_of_these_tests_turns_down_a_second_conditional_write(server: S3Server) -> None:
    client = server.client("s3")
    client.put_object(Bucket=BUCKET, Key="once", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=BUCKET, Key="once", Body=b"second", IfNoneMatch="*")
    assert client.get_object(Bucket=BUCKET, Key="once")["Body"].read() == b"first"


def write(root: str, options: dict[str, str], writer: int, days: list[date], notes: str) -> None:
    """Write one day after the other; a line is noted for each write that has come back."""
    store = DeltaStore(root, options)
    for number, day in enumerate(days):
        mark = writer * 1000 + number
        version = store.replace_partition(TABLE, day, rows(mark, mark))
        with open(notes, "a") as lines:
            print(json.dumps([str(day), mark, version]), file=lines, flush=True)


def compete(server: S3Server, root: str, folder: Path, days: list[list[date]], *, kill: bool) -> list[Any]:
    """Let a writer process per list of days write at once, kill the first half-way; returns what was noted."""
    notes = [folder / f"{writer}.txt" for writer in range(len(days))]
    rivals = [
        RIVALS.Process(target=write, args=(root, server.options, writer, mine, str(notes[writer])))
        for writer, mine in enumerate(days)
    ]
    for rival in rivals:
        rival.start()
    if kill:
        while not (notes[0].exists() and notes[0].read_text().count("\n") >= 2):
            assert rivals[0].is_alive()
            time.sleep(0.005)
        os.kill(rivals[0].pid or 0, signal.SIGKILL)
    for rival in rivals:
        rival.join(120)
    assert [rival.exitcode for rival in rivals] == [-signal.SIGKILL if kill else 0, *[0] * (len(days) - 1)]
    lines = [json.loads(line) for note in notes for line in note.read_text().splitlines()]
    return [(date.fromisoformat(day), mark, version) for day, mark, version in lines]


@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "one killed"])
@pytest.mark.parametrize("one_day", [False, True], ids=["different days", "the same day"])
def test_no_row_of_a_finished_write_is_lost_among_rival_processes(
    server: S3Server, tmp_path: Path, one_day: bool, kill: bool
) -> None:
    root = f"s3://models/{tmp_path.name}"
    days = [
        [FIRST + timedelta(days=0 if one_day else writer * WRITES + number) for number in range(WRITES)]
        for writer in range(WRITERS)
    ]
    finished = compete(server, root, tmp_path, days, kill=kill)
    assert len(finished) >= (WRITERS - kill) * WRITES
    store = DeltaStore(root, server.options)
    for day, mark, version in finished:
        assert numbers(store, days=[day], version=version) == [(mark, day), (mark, day)]
    assert len({version for *_, version in finished}) == len(finished)
    newest = store.version(TABLE)
    assert newest is not None
    logged = store.list(f"tables/{TABLE}/_delta_log/")
    versions = sorted(int(Path(path).stem) for path in logged if path.endswith(".json") and "checkpoint" not in path)
    assert versions == list(range(newest + 1))
    held = Counter(day for _, day in numbers(store))
    assert set(held.values()) == {2}
    assert held.keys() >= {day for day, *_ in finished}
    again = store.replace_partition(TABLE, days[0][-1], rows(7))
    assert (again, numbers(store, days=[days[0][-1]])) == (newest + 1, [(7, days[0][-1])])


def test_a_commit_is_written_only_where_none_lies(server: S3Server, tmp_path: Path) -> None:
    """Writers compete until two of them have met, which a busy machine may keep apart for a while."""
    for attempt in range(10):
        compete(server, f"s3://models/{tmp_path.name}/{attempt}", tmp_path, [[FIRST] * 4] * 4, kill=False)
        commits = [
            (path, status)
            for method, path, status in server.served()
            if method == "PUT" and f"/{tmp_path.name}/" in path and "_delta_log" in path and path.endswith(".json")
        ]
        if 412 in {status for _, status in commits}:
            break
    assert 412 in {status for _, status in commits}, "no two writers met: this test has shown nothing"
    written = Counter(path for path, status in commits if status == 200)
    assert set(written.values()) == {1}
    assert {status for _, status in commits} <= {200, 412}


# ---- rights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict() -> Iterator[tuple[S3Server, Callable[[dict[str, Any]], dict[str, str]]]]:
    """A server that asks for rights, and a function: a policy to the options of a role that was assumed with it."""
    with s3_server() as server:
        iam, sts = server.client("iam"), server.client("sts")
        made = []

        def allow(count: int) -> None:
            """The server lets so many requests pass, and asks from then on."""
            plain = {"Content-Type": "text/plain"}
            url = f"{server.url}/moto-api/reset-auth"
            urllib.request.urlopen(urllib.request.Request(url, str(count).encode(), plain)).close()

        def assume(policy: dict[str, Any]) -> dict[str, str]:
            allow(100)
            name = f"role{len(made)}"
            made.append(name)
            trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}
            role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
            keys = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
            allow(0)
            return server.options | {
                "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
                "AWS_SESSION_TOKEN": keys["SessionToken"],
            }

        yield server, assume


def documented_policy() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", (REPOSITORY / "docs" / "use-s3.md").read_text(), re.DOTALL)
    assert found
    policy: dict[str, Any] = json.loads(found[1])
    return policy


def test_a_role_with_the_documented_rights_does_all_that_the_store_does(strict: Any) -> None:
    _, assume = strict
    store = DeltaStore("s3://models/air", assume(documented_policy()))
    store.put("a/b.json", b"x" * 6_000_000)
    assert len(store.get("a/b.json")) == 6_000_000
    assert store.list("a/") == ["a/b.json"]
    assert not store.exists("a/c.json")
    store.replace_partition(TABLE, FIRST, rows(1))
    first = store.replace_partition(TABLE, FIRST, rows(2))
    store.replace_partition(TABLE, SECOND, rows(3))
    assert numbers(store) == [(2, FIRST), (3, SECOND)]
    store.restore(TABLE, first)
    assert store.changed_days(TABLE, first) == {SECOND}
    store.delete("a/b.json")
    with pytest.raises(Refused, match="denied access"):
        DeltaStore("s3://models/elsewhere", store._access.options()).put("a.json", b"x")


def test_a_role_without_rights_to_the_files_is_refused(strict: Any) -> None:
    _, assume = strict
    listing = documented_policy()
    store = DeltaStore("s3://models/air", assume(listing | {"Statement": listing["Statement"][:1]}))
    for ask in (lambda: store.get("a.json"), lambda: store.put("a.json", b""), lambda: store.version(TABLE)):
        with pytest.raises(Refused, match="denied access"):
            ask()


def test_keys_of_a_role_without_their_token_are_turned_away_by_this_server(strict: Any) -> None:
    _, assume = strict
    keys = {key: value for key, value in assume(documented_policy()).items() if key != "AWS_SESSION_TOKEN"}
    with pytest.raises(AirworthyError):
        DeltaStore("s3://models/air", keys).put("a.json", b"")


# ---- access ----------------------------------------------------------------------------------------------------------

SECRET, TOKEN = "wJalrXUtnFEMI-not-for-anyones-eyes", "FwoGZXIvYXdzE-not-for-anyones-eyes"
ACCESS = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIANOTFORANYONE", "AWS_SECRET_ACCESS_KEY": SECRET}
QUICK = {"max_retries": "0", "timeout": "5s"}


class Teller(BaseHTTPRequestHandler):
    """Answers every request with one error, and repeats the token as S3 does; keeps the headers."""

    heard: list[dict[str, str]] = []
    answer = (400, "ExpiredToken")

    def do_GET(self) -> None:
        self.heard.append({key.lower(): value for key, value in self.headers.items()})
        status, code = self.answer
        body = f"<Error><Code>{code}</Code><Message>No: {SECRET}</Message><Token-0>{TOKEN}</Token-0></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_PUT = do_HEAD = do_POST = do_GET  # noqa: N815 - the names that http.server calls

    def log_message(self, *arguments: Any) -> None: ...


@pytest.fixture
def teller() -> Iterator[str]:
    Teller.heard, Teller.answer = [], (400, "ExpiredToken")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Teller)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def attempts(store: DeltaStore) -> list[AirworthyError]:
    """The errors of each way to reach the store."""
    errors = []
    for ask in (
        lambda: store.get("a.json"),
        lambda: store.put("a.json", b"x"),
        lambda: store.list("a/"),
        lambda: store.version(TABLE),
        lambda: store.read(TABLE),
        lambda: store.replace_partition(TABLE, FIRST, rows(1)),
    ):
        with pytest.raises(AirworthyError) as error:
            ask()
        errors.append(error.value)
    return errors


def told(error: BaseException) -> str:
    """All that a traceback would show."""
    import traceback

    return "".join(traceback.format_exception(error)) + repr(error)


def test_expired_credentials_are_unavailable_and_no_error_shows_a_credential(teller: str) -> None:
    store = DeltaStore("s3://models/x", ACCESS | QUICK | {"AWS_ENDPOINT_URL": teller, "AWS_SESSION_TOKEN": TOKEN})
    for error in attempts(store):
        assert isinstance(error, Unavailable), error
        assert SECRET not in told(error)
        assert TOKEN not in told(error)
    assert {heard.get("x-amz-security-token") for heard in Teller.heard} == {TOKEN}
    assert SECRET not in repr(vars(store)["_access"])


def test_a_store_that_does_not_let_us_in_is_refused_and_says_to_check_the_policy(teller: str) -> None:
    Teller.answer = (403, "AccessDenied")
    store = DeltaStore("s3://models/x", ACCESS | QUICK | {"AWS_ENDPOINT_URL": teller})
    for error in attempts(store):
        assert isinstance(error, Refused), error
        assert "check the credentials and their policy" in str(error)
        assert SECRET not in told(error)


def test_credentials_are_asked_for_at_each_use_so_that_renewed_ones_are_used(teller: str) -> None:
    keys = iter(f"AKIA{number}" for number in range(1000))
    store = DeltaStore(
        "s3://models/x", lambda: ACCESS | QUICK | {"AWS_ENDPOINT_URL": teller, "AWS_ACCESS_KEY_ID": next(keys)}
    )
    attempts(store)
    used = {heard["authorization"].split("Credential=")[1].split("/")[0] for heard in Teller.heard}
    assert len(used) >= 6

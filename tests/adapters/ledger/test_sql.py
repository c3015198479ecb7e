"""Every ledger keeps one contract; the SQL one keeps it under tampering, crashes and many writers."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.adapters.ledger import stored_heads
from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.adapters.ledger.stored_heads import StoredHeads
from pipelines.errors import Refused, Unavailable
from pipelines.ledger.hash_chain import head
from pipelines.ports import Ledger
from pipelines.settings import REPOSITORY, Settings
from pipelines.testing.ports import MemoryLedger
from pipelines.wiring import open_ports
from tests.postgresql import postgresql_server, programs_of

GUARDED = {
    "ledger_no_delete": "DELETE FROM ledger",
    "ledger_no_update": "UPDATE ledger SET actor = 'b'",
    "ledger_append_only": "INSERT INTO ledger SELECT 9, at, kind, model, version, actor, details, key, previous, 'x' "
    "FROM ledger LIMIT 1",
}
REST = "details, key, digest, 'forged'"
START = datetime(2013, 3, 1, tzinfo=UTC)


def ticking() -> Callable[[], datetime]:
    ticks = iter(range(1_000_000))
    return lambda: START + timedelta(microseconds=next(ticks))


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server() as folder:
        yield f"postgresql://airworthy@/postgres?host={folder}"


@pytest.fixture
def fresh_postgresql(postgresql: str) -> str:
    execute(postgresql, "DROP TABLE IF EXISTS ledger")
    return postgresql


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "memory":
        return MemoryLedger(ticking())
    if request.param == "sqlite":
        return SqlLedger(f"sqlite:///{tmp_path}/new/folder/ledger.db", clock=ticking())
    url: str = request.getfixturevalue("fresh_postgresql")
    return SqlLedger(url, clock=ticking(), heads=tmp_path / "ledger.heads")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    found: str = request.getfixturevalue("fresh_postgresql")
    return found


def execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def tamper(url: str, *statements: str) -> None:
    """Change the table as someone with full rights would: switch the guards off, act, switch them on again."""
    if url.startswith("postgresql"):
        off, on = "ALTER TABLE ledger DISABLE TRIGGER USER", "ALTER TABLE ledger ENABLE TRIGGER USER"
        execute(url, off, *statements, on)
        return
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in guards:
            connection.execute(sql)


def fill(ledger: Ledger, lines: int = 5) -> None:
    for number in range(1, lines + 1):
        ledger.append("gate", "flight_delay", str(number), {"outcome": "pass", "auc": 0.7 + number / 100}, actor="a")


# ---- the contract of every ledger ----------------------------------------------------------------------------------


def test_lines_come_back_as_they_were_appended_oldest_first(ledger: Ledger) -> None:
    written = [
        ledger.append("training", "flight_delay", "1", {"run_id": "r"}, actor="airworthy"),
        ledger.append("approval", "flight_delay", "1", {"comment": "søde fly ✈"}, actor="ml_lead"),
        ledger.append("rollback", "other", None, {}, actor="ml_lead"),
    ]
    assert ledger.entries() == written
    assert [line.number for line in written] == [1, 2, 3]
    assert ledger.faults() == []


def test_lines_are_found_by_model_version_and_kind(ledger: Ledger) -> None:
    for model, version, kind in [("a", "1", "gate"), ("a", "2", "gate"), ("b", "1", "gate"), ("a", "1", "approval")]:
        ledger.append(kind, model, version, {}, actor="x")
    assert [line.number for line in ledger.entries(model="a")] == [1, 2, 4]
    assert [line.number for line in ledger.entries(model="a", version="1", kind="gate")] == [1]
    assert ledger.entries(model="c") == []


def test_each_line_names_the_digest_of_the_line_before(ledger: Ledger) -> None:
    fill(ledger, 3)
    first, second, third = ledger.entries()
    assert (second.previous, third.previous) == (first.digest, second.digest)
    assert len({first.previous, first.digest, second.digest, third.digest}) == 4


def test_a_repeated_key_gives_the_first_line_and_adds_none(ledger: Ledger) -> None:
    first = ledger.append("gate", "m", "1", {"outcome": "pass"}, actor="a", key="dag/run/task")
    ledger.append("gate", "m", "1", {"outcome": "pass"}, actor="a", key="dag/run/other")
    again = ledger.append("gate", "m", "1", {"outcome": "fail"}, actor="b", key="dag/run/task")
    assert again == first
    assert len(ledger.entries()) == 2


def test_a_new_ledger_is_empty_and_without_fault(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.faults() == []


def test_an_intact_ledger_needs_no_repair(ledger: Ledger) -> None:
    fill(ledger, 3)
    assert ledger.repair("to be sure", person="ada") == []
    assert len(ledger.entries()) == 3


# ---- what the SQL ledger adds --------------------------------------------------------------------------------------


def test_times_dates_and_numbers_that_are_no_number_are_kept_as_text(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db", clock=ticking())
    facts: dict[Any, Any] = {
        "day": date(2013, 1, 2),
        "at": START,
        "auc": float("nan"),
        "low": float("-inf"),
        "pair": (1, 2),
        3: None,
    }
    line = ledger.append("gate", "m", "1", facts, actor="a")
    assert line.details == {
        "day": "2013-01-02",
        "at": "2013-03-01T00:00:00Z",
        "auc": "nan",
        "low": "-inf",
        "pair": [1, 2],
        "3": None,
    }
    assert ledger.entries() == [line]
    assert ledger.faults() == []


def test_details_that_json_cannot_say_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db", clock=ticking())
    with pytest.raises(Refused, match="plain values"):
        ledger.append("gate", "m", "1", {"model": object()}, actor="a")
    fill(ledger, 1)
    assert [line.number for line in ledger.entries()] == [1]


def test_a_ledger_goes_on_where_another_process_left_it(url: str) -> None:
    fill(SqlLedger(url, clock=ticking()), 2)
    again = SqlLedger(url, clock=ticking())
    fill(again, 2)
    assert [line.number for line in again.entries()] == [1, 2, 3, 4]
    assert again.faults() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET actor = 'someone else' WHERE number = 2",
        "DELETE FROM ledger WHERE number = 3",
        "DELETE FROM ledger",
        "INSERT INTO ledger SELECT 9, at, kind, model, version, actor, details, key, previous, 'x' FROM ledger LIMIT 1",
    ],
)
def test_the_database_itself_refuses_any_change_but_a_new_last_line(url: str, statement: str) -> None:
    ledger = SqlLedger(url, clock=ticking())
    fill(ledger, 3)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        execute(url, statement)
    assert ledger.faults() == []


def test_sqlite_refuses_to_replace_a_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = SqlLedger(url, clock=ticking())
    ledger.append("gate", "m", "1", {}, actor="a", key="k")
    for number, key in [(1, "other"), (2, "k")]:
        with pytest.raises(sa.exc.DBAPIError, match="append-only"):
            execute(
                url,
                "INSERT OR REPLACE INTO ledger "
                f"SELECT {number}, at, kind, model, version, 'b', details, '{key}', previous, 'd' FROM ledger",
            )


def test_postgresql_refuses_to_truncate(fresh_postgresql: str) -> None:
    fill(SqlLedger(fresh_postgresql, clock=ticking()))
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        execute(fresh_postgresql, "TRUNCATE ledger")


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["UPDATE ledger SET actor = 'b' WHERE number = 2"], "line 2 was altered"),
        (['UPDATE ledger SET details = \'{"outcome":"fail"}\' WHERE number = 3'], "line 3 was altered"),
        (["UPDATE ledger SET details = '{' WHERE number = 3"], "line 3 was altered: it cannot be parsed"),
        (["UPDATE ledger SET details = details || ' ' WHERE number = 3"], "line 3 was altered: it is not written"),
        (["UPDATE ledger SET key = 'k' WHERE number = 4"], "line 4 was altered"),
        (["UPDATE ledger SET at = '2013-01-01T00:00:00.000000+00:00' WHERE number = 1"], "line 1 was altered"),
        (["DELETE FROM ledger WHERE number = 3"], "line 4 follows line 2: 1 line\\(s\\) missing"),
        (["DELETE FROM ledger WHERE number = 1"], "line 2 follows line 0: 1 line\\(s\\) missing"),
        (["DELETE FROM ledger WHERE number = 5"], "line 5 is missing"),
        (["DELETE FROM ledger"], "line 5 is missing"),
        (
            [
                "UPDATE ledger SET number = 99 WHERE number = 2",
                "UPDATE ledger SET number = 2 WHERE number = 3",
                "UPDATE ledger SET number = 3 WHERE number = 99",
            ],
            "line 2 was altered",
        ),
        (
            [
                "UPDATE ledger SET number = number + 100 WHERE number > 2",
                f"INSERT INTO ledger SELECT 3, at, kind, model, version, 'b', {REST} FROM ledger WHERE number = 2",
                "UPDATE ledger SET number = number - 99 WHERE number > 100",
            ],
            "line 3 was altered",
        ),
    ],
)
def test_every_kind_of_tampering_is_found(url: str, statements: list[str], expected: str, tmp_path: Path) -> None:
    ledger = SqlLedger(url, clock=ticking(), heads=tmp_path / "heads")
    fill(ledger)
    assert ledger.faults() == []
    tamper(url, *statements)
    faults = "\n".join(ledger.faults())
    assert re.search(expected, faults), faults


def test_a_ledger_written_anew_no_longer_holds_the_heads_noted_before(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    fill(SqlLedger(url, clock=ticking()), 3)
    noted = (tmp_path / "ledger.heads").read_text()
    for path in tmp_path.glob("ledger.db*"):
        path.unlink()
    forged = SqlLedger(url, clock=ticking(), heads=tmp_path / "elsewhere")
    forged.append("gate", "flight_delay", "1", {"outcome": "forged"}, actor="a")
    assert forged.faults() == []
    assert noted.count("\n") == 3
    assert len(SqlLedger(url).faults()) == 3


# ---- the heads in the store ----------------------------------------------------------------------------------------


def stored(url: str, tmp_path: Path) -> SqlLedger:
    """The ledger of an installation whose store is a folder; without a heads file of its own."""
    return SqlLedger(url, clock=ticking(), heads=tmp_path / "none", stored_heads=StoredHeads(str(tmp_path / "store")))


def head_files(tmp_path: Path) -> list[int]:
    """Numbers of the lines by which the files of heads are named."""
    return sorted(int(path.name.split("-")[0]) for path in (tmp_path / "store/ledger/heads").glob("*.txt"))


@pytest.mark.parametrize("lost", [["number = 5"], ["number > 3"], ["number > 0"]])
def test_lines_cut_from_the_end_are_noticed_by_the_store_alone(url: str, tmp_path: Path, lost: list[str]) -> None:
    fill(stored(url, tmp_path))
    (tmp_path / "none").unlink()
    assert stored(url, tmp_path).faults() == []
    tamper(url, *(f"DELETE FROM ledger WHERE {which}" for which in lost))
    assert "line 5 is missing: it was once the newest line" in "\n".join(stored(url, tmp_path).faults())
    for _ in range(7):  # going on hides nothing
        stored(url, tmp_path).append("gate", "other", "1", {}, actor="b")
    (tmp_path / "none").unlink()
    assert "line 5 was rewritten" in "\n".join(stored(url, tmp_path).faults())


def test_installations_keep_heads_in_the_store_without_being_told_to(tmp_path: Path) -> None:
    ports = open_ports(Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path)}))
    fill(ports.ledger, 2)
    assert head_files(tmp_path) == [2]


def test_of_each_block_one_file_stays_and_holds_all_its_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_heads, "BLOCK_LINES", 3)
    url = f"sqlite:///{tmp_path}/ledger.db"
    fill(stored(url, tmp_path), 8)
    assert head_files(tmp_path) == [3, 6, 8]
    kept = StoredHeads(str(tmp_path / "store")).read()
    assert {text.split(":")[0] for text in kept} == {str(number) for number in range(1, 9)}


def test_an_older_ledger_has_all_its_lines_noted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_heads, "BLOCK_LINES", 3)
    url = f"sqlite:///{tmp_path}/ledger.db"
    fill(SqlLedger(url, clock=ticking()), 7)
    fill(stored(url, tmp_path), 1)
    assert head_files(tmp_path) == [3, 6, 8]


def test_a_store_that_fails_costs_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "store").write_text("a file where the store should be")
    ledger = stored(f"sqlite:///{tmp_path}/ledger.db", tmp_path)
    fill(ledger, 1)
    assert len(ledger.entries()) == 1
    assert "its head is not in the store" in caplog.text


# ---- repair --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE ledger SET actor = 'b' WHERE number = 2"],
        ["UPDATE ledger SET details = '{' WHERE number = 3"],
        ["UPDATE ledger SET details = '{' WHERE number = 5"],
        ["DELETE FROM ledger WHERE number = 3"],
        ["DELETE FROM ledger WHERE number > 3"],
        ["DELETE FROM ledger"],
        ["UPDATE ledger SET actor = 'b' WHERE number = 1", "DELETE FROM ledger WHERE number = 4"],
    ],
)
def test_a_repair_seals_every_kind_of_damage_and_the_ledger_goes_on(
    url: str, statements: list[str], tmp_path: Path
) -> None:
    ledger = stored(url, tmp_path)
    fill(ledger)
    tamper(url, *statements)
    assert ledger.faults()
    sealed = ledger.repair("a disk failed", person="ada")
    assert {(line.kind, line.actor, line.details["because"]) for line in sealed} == {
        ("ledger_repair", "ada", "a disk failed")
    }
    fill(ledger, 2)
    assert ledger.faults() == []
    assert stored(url, tmp_path).faults() == []
    lines = ledger.entries()
    assert [line.number for line in lines][-len(sealed) - 2 :] == [line.number for line in sealed] + [
        sealed[-1].number + 1,
        sealed[-1].number + 2,
    ]


def test_a_line_can_be_added_behind_one_that_cannot_be_read(url: str) -> None:
    ledger = SqlLedger(url, clock=ticking())
    fill(ledger, 2)
    tamper(url, "UPDATE ledger SET details = '{' WHERE number = 2")
    assert ledger.append("rollback", "m", "1", {}, actor="a").number == 3
    assert len(ledger.entries(kind="rollback")) == 1


def test_a_line_that_cannot_be_read_is_a_fault_and_hides_no_other(url: str, tmp_path: Path) -> None:
    ledger = stored(url, tmp_path)
    fill(ledger, 3)
    tamper(url, "UPDATE ledger SET details = '{' WHERE number = 2")
    assert [line.number for line in ledger.entries(model="flight_delay")] == [1, 3]
    assert "line 2 was altered: it cannot be parsed" in ledger.faults()
    [line] = ledger.repair("a disk failed", person="ada")
    assert line.details["lines"] == [{"number": 2, "kind": "gate", "model": "flight_delay", "version": "2"}]


@pytest.mark.parametrize("guard", ["ledger_no_update", "ledger_no_delete", "ledger_append_only"])
def test_a_repair_puts_a_dropped_guard_back_and_says_so(url: str, guard: str) -> None:
    ledger = SqlLedger(url, clock=ticking())
    fill(ledger, 2)
    if url.startswith("postgresql"):
        switched_off = guard == "ledger_no_update"
        execute(
            url, f"ALTER TABLE ledger DISABLE TRIGGER {guard}" if switched_off else f"DROP TRIGGER {guard} ON ledger"
        )
    else:
        execute(url, f"DROP TRIGGER {guard}")
    [line] = ledger.repair("the database was moved", person="ada")
    assert line.details["triggers"] == [guard]
    assert ledger.faults() == []
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        execute(url, GUARDED[guard])


@pytest.mark.parametrize("guard", ["ledger_no_update", "ledger_no_delete", "ledger_append_only"])
def test_a_dropped_guard_is_a_fault_and_is_not_put_back_silently(url: str, guard: str) -> None:
    fill(SqlLedger(url, clock=ticking()), 1)
    execute(url, f"DROP TRIGGER {guard}" + (" ON ledger" if url.startswith("postgresql") else ""))
    assert SqlLedger(url).faults() == [f"trigger {guard} is missing or disabled"]


def test_a_head_that_cannot_be_noted_costs_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "heads").mkdir()
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db", clock=ticking(), heads=tmp_path / "heads")
    fill(ledger, 1)
    assert len(ledger.entries()) == 1
    assert "head could not be written" in caplog.text


WRITER = """
import sys
from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.adapters.ledger.stored_heads import StoredHeads
ledger = SqlLedger(sys.argv[1], stored_heads=StoredHeads(sys.argv[4]))
for number in range(int(sys.argv[3])):
    ledger.append("gate", "m", "1", {"writer": sys.argv[2], "number": number}, actor="a", key=f"shared/{number}")
    ledger.append("gate", "m", "1", {"writer": sys.argv[2], "number": number}, actor="a")
"""


def test_writers_of_several_processes_make_one_whole_chain_and_lose_nothing(url: str, tmp_path: Path) -> None:
    writers, lines = 4, 15
    store = str(tmp_path / "store")
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(writer), str(lines), store])
        for writer in range(writers)
    ]
    assert [process.wait(timeout=60) for process in running] == [0] * writers
    ledger = stored(url, tmp_path)
    entries = ledger.entries()
    own = sorted((line.details["writer"], line.details["number"]) for line in entries if line.key is None)
    assert own == sorted((str(writer), number) for writer in range(writers) for number in range(lines))
    assert sorted(line.key for line in entries if line.key) == sorted(f"shared/{number}" for number in range(lines))
    assert ledger.faults() == []
    assert max(head_files(tmp_path)) == len(entries)


ENDLESS_WRITER = """
import sys
from pipelines.adapters.ledger.sql import SqlLedger
ledger = SqlLedger(sys.argv[1])
while True:
    print(ledger.append("gate", "m", "1", {}, actor="a").digest, flush=True)
"""


def test_every_line_that_was_acknowledged_survives_the_death_of_its_writer(url: str) -> None:
    acknowledged = []
    for _ in range(3):
        command = [sys.executable, "-c", ENDLESS_WRITER, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(7)]
            writer.kill()
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    ledger = SqlLedger(url)
    kept = {line.digest for line in ledger.entries()}
    assert set(acknowledged) <= kept
    assert len(acknowledged) >= 21
    assert len(kept) <= len(acknowledged) + 3
    assert ledger.faults() == []
    fill(ledger, 1)
    assert ledger.faults() == []


def test_a_database_that_does_not_answer_is_unavailable_and_the_password_is_not_shown() -> None:
    ledger = SqlLedger("postgresql://airworthy:hidden@127.0.0.1:1/ledger")
    with pytest.raises(Unavailable, match="does not answer") as caught:
        ledger.append("gate", "m", "1", {}, actor="a")
    assert "hidden" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="does not answer"):
        SqlLedger(f"sqlite:///{tmp_path}/file/ledger.db").entries()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(Refused, match="not a database"):
        SqlLedger(f"sqlite:///{tmp_path}/ledger.db").entries()


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/ledger", "sqlite://", "postgresql://host"])
def test_a_url_the_ledger_cannot_use_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        SqlLedger(url)


def test_the_head_of_a_ledger_names_its_newest_line(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db", clock=ticking())
    assert head(ledger.entries()) == "0:" + "0" * 64
    fill(ledger, 2)
    assert head(ledger.entries()) == (tmp_path / "ledger.heads").read_text().splitlines()[-1]


def test_a_line_that_is_added_while_the_ledger_is_checked_is_no_fault(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    writer = SqlLedger(url)
    writer.append("gate", "m", "1", {}, actor="a")

    class Overtaken(SqlLedger):
        """Somebody writes just before the heads are read."""

        def _known_heads(self) -> list[str]:
            writer.append("gate", "m", "1", {}, actor="b")
            return super()._known_heads()

    assert Overtaken(url).faults() == []


@pytest.fixture
def roles(postgresql: str) -> Iterator[Callable[[str, str], str]]:
    """The databases of the compose stack; a role and a database become a URL."""
    folder = postgresql.rpartition("=")[2]
    programs = programs_of(Path(folder))
    parts = ("AIRFLOW_DB", "MLFLOW_DB", "LEDGER_OWNER", "LEDGER_DB")
    command = [f"{programs}/psql", "-v", "ON_ERROR_STOP=1", "-h", folder, "-U", "airworthy", "-d", "postgres", "-f"]

    def run(file: str) -> None:
        secrets = {f"{part}_PASSWORD": f"it's {part}" for part in parts}
        subprocess.run([*command, file], check=True, env=os.environ | secrets, stdout=subprocess.DEVNULL, timeout=60)

    run(str(REPOSITORY / "include" / "sql" / "databases.sql"))
    yield lambda role, database: f"postgresql://{role}@/{database}?host={folder}"
    for database in ("airflow", "mlflow", "ledger"):
        subprocess.run([*command[:-1], "-c", f"DROP DATABASE {database} (FORCE)"], check=True, timeout=60)
    for role in ("airflow", "mlflow", "ledger_owner", "ledger_writer"):
        subprocess.run([*command[:-1], "-c", f"DROP ROLE {role}"], check=True, timeout=60)


def test_the_role_that_writes_lines_can_neither_change_them_nor_drop_their_guards(
    roles: Callable[[str, str], str], tmp_path: Path
) -> None:
    owner = SqlLedger(roles("ledger_owner", "ledger"), clock=ticking())
    assert owner.faults() == []  # it creates the table and its guards
    url = roles("ledger_writer", "ledger")
    writer = SqlLedger(url, clock=ticking(), heads=tmp_path / "ledger.heads")
    fill(writer)
    assert writer.faults() == owner.faults() == []
    assert len(writer.entries()) > 0
    for statement in (
        "UPDATE ledger SET actor = 'eve'",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "DROP TABLE ledger",
        "DROP TRIGGER ledger_no_update ON ledger",
        "ALTER TABLE ledger DISABLE TRIGGER ALL",
        "ALTER FUNCTION ledger_refuse() RENAME TO other",
        "SET session_replication_role = replica",
        "CREATE TABLE other (number int)",
        "SET ROLE ledger_owner",
    ):
        with pytest.raises(sa.exc.DBAPIError, match=r"permission denied|must be owner"):
            execute(url, statement)
    for role in ("airflow", "mlflow"):
        with pytest.raises(sa.exc.OperationalError, match="permission denied for database"):
            execute(roles(role, "ledger"), "SELECT 1")
    with pytest.raises(sa.exc.OperationalError, match="permission denied for database"):
        execute(roles("ledger_writer", "airflow"), "SELECT 1")


def test_guards_that_a_superuser_keeps_from_firing_are_a_fault(fresh_postgresql: str) -> None:
    ledger = SqlLedger(fresh_postgresql, clock=ticking())
    fill(ledger)
    execute(fresh_postgresql, "ALTER DATABASE postgres SET session_replication_role = replica")
    try:
        [fault] = ledger.faults()
        assert "session_replication_role is replica" in fault
    finally:
        execute(fresh_postgresql, "ALTER DATABASE postgres RESET session_replication_role")
    execute(fresh_postgresql, "ALTER TABLE ledger ENABLE REPLICA TRIGGER ledger_no_update")
    assert any("ledger_no_update" in fault for fault in ledger.faults())

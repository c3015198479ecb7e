"""Every command refuses a model, version, table, dataset or source that there is not, and lists what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli import names
from pipelines.cli.main import COMMAND_GROUPS, parser
from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog
from pipelines.testing.ports import FakePorts
from pipelines.testing.rollout_target import FakeTarget

MODELS = "there are arrival_delay_minutes, buys_again, flight_delay"
DAYS = ("--from", "2013-01-05", "--to", "2013-01-05")
WITHOUT_NAMES = {
    *("up", "stop", "airflow", "gateway", "demo", "completion", "reader"),
    *("alert-rules", "exporter", "watch", "adopt"),
}
"""Commands that take none, or (reader, adopt) one that there is not yet."""
CASES = [
    (
        ("check", "nosuch"),
        "nothing is called nosuch; there are arrival_delay_minutes, buys_again, customer_week, flight_delay",
    ),
    (("verify", "nosuch", "3"), f"there is no model nosuch; {MODELS}"),
    (("verify", "nosuch", "3", "--offline"), f"there is no model nosuch; {MODELS}"),
    (("verify", "flight_delay", "9"), "flight_delay has no version 9; there are 1, 2, 10"),
    (("verify", "flight_delay", "9", "--offline"), "flight_delay has no version 9; there are 1, 10"),
    (("verify", "flight_delay", "1.0.0"), "flight_delay has no version 1.0.0; there are 1, 2, 10"),
    (("lineage", "nosuch", "1"), f"there is no model nosuch; {MODELS}"),
    (("features", "nosuch"), "there is no view nosuch; there are customer_week, flight_delay"),
    (("status", "nosuch"), f"there is no model or dataset nosuch; {MODELS}, flights"),
    (("reproduce", "nosuch", "3"), f"there is no model nosuch; {MODELS}"),
    (("reproduce", "flight_delay", "9"), "flight_delay has no version 9 in the registry; there are 1, 2"),
    (("rollback", "nosuch", "--reason", "bad"), f"there is no model nosuch; {MODELS}"),
    (("reconcile", "flight_delay", "nosuch"), f"there is no model nosuch; {MODELS}"),
    (("ledger", "--model", "nosuch"), f"there is no model nosuch; {MODELS}"),
    (("ledger", "--model", "flight_delay", "--version", "9"), "flight_delay has no version 9; there are 1, 10"),
    (("restore", "validated/nosuch", "3"), "there is no table validated/nosuch; there is quarantine/flights.flights"),
    (("quarantine", "nosuch", "flights"), "there is no dataset nosuch; there are flights, shop"),
    (("quarantine", "flights", "nosuch"), "flights has no source nosuch; there are flights, weather, planes, airports"),
    (("deliver", "nosuch", "flights", "2013-01-05", "f.csv"), "there is no dataset nosuch; there are flights, shop"),
    (("deliver", "flights", "nosuch", "2013-01-05", "f.csv"), "flights has no source nosuch; there are flights"),
    (
        ("incidents", "--model", "nosuch"),
        "there is no model nosuch; there are arrival_delay_minutes, buys_again, flight_delay",
    ),
    (("prove", "nosuch"), f"there is no model nosuch; {MODELS}"),
    (("try", "nosuch"), f"there is no model nosuch; {MODELS}"),
    (("ask", "nosuch", "rows.json"), f"there is no model nosuch; {MODELS}"),
    (("traffic", "nosuch", "--from", "2013-01-05"), f"there is no model nosuch; {MODELS}"),
    (("replay", *DAYS, "--model", "nosuch"), f"there is no model nosuch; {MODELS}"),
    (("land", *DAYS, "--dataset", "nosuch"), "there is no dataset nosuch; there are flights, shop"),
    (("land", *DAYS, "--source", "nosuch"), "flights has no source nosuch; there are flights, weather, planes"),
]


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    """The ledger knows versions 1 and 10 of the declared model, the registry versions 1 and 2."""
    import polars as pl

    made = FakePorts.make(tmp_path)
    for version in ("1", "10"):
        made.ledger.append("training", "flight_delay", version, {}, actor="airworthy")
        made.registry.register("flight_delay")
    made.targets["nosuch"] = FakeTarget("1")
    made.store.replace_partition("quarantine/flights.flights", made.clock().date(), pl.DataFrame({"flight": [1]}))
    return made


def call(ports: FakePorts, *arguments: str) -> int:
    options = parser().parse_args(arguments)
    status: int = options.run(options, ports)
    return status


@pytest.mark.parametrize(("arguments", "message"), CASES, ids=lambda value: " ".join(value) if value else "")
def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(
    ports: FakePorts, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Refused) as refusal:
        call(ports, *arguments)
    assert message in str(refusal.value)


def test_every_command_that_takes_a_name_has_its_case() -> None:
    commands = {name for group in COMMAND_GROUPS.values() for name in group}
    assert commands - WITHOUT_NAMES <= {arguments[0] for arguments, _ in CASES}


def test_a_model_that_is_declared_no_more_is_known_by_its_versions_on_the_ledger(ports: FakePorts) -> None:
    ports.ledger.append("release", "former", "1", {}, actor="airworthy")
    names.check_model("former", ports)
    names.check_version("former", "1", ports)


def test_a_model_whose_file_has_faults_is_known(ports: FakePorts) -> None:
    ports.catalog = Catalog(refused={"models/faulty.yaml": Refused("faulty.yaml has 1 fault(s)")})
    names.check_model("faulty", ports)
    with pytest.raises(Refused, match=r"there is no model nosuch; there are faulty, flight_delay"):
        names.check_model("nosuch", ports)


def test_a_registry_that_does_not_answer_hides_no_version_of_the_ledger(ports: FakePorts) -> None:
    ports.registry.down = True
    names.check_version("flight_delay", "10", ports)
    with pytest.raises(Refused, match="flight_delay has no version 2; there are 1, 10"):
        names.check_version("flight_delay", "2", ports)


def test_where_there_is_nothing_yet_it_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="flight_delay has no version 1; there are none yet"):
        names.check_version("flight_delay", "1", FakePorts.make(tmp_path))

"""`airworthy features` says of each declared feature what it is, whose it is and where it comes from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from pipelines.cli import features
from pipelines.errors import Refused
from pipelines.testing.ports import FakePorts
from tests.steps.flights_by_hand import VIEW, catalog, model


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    return FakePorts.make(tmp_path, catalog=catalog(model(features=["distance", "carrier"])))


def call(ports: FakePorts, *arguments: str) -> int:
    root = argparse.ArgumentParser()
    features.add_parser(root.add_subparsers())
    options = root.parse_args(["features", *arguments])
    status: int = options.run(options, ports)
    return status


def test_a_feature_is_listed_with_version_description_owner_sources_and_models(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(ports) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{VIEW.view}, owned by {VIEW.owner}"
    place = lines.index("  distance@1 (numeric)")
    assert lines[place + 1].strip() == VIEW.features["distance"].description
    assert lines[place + 2].strip() == "from flights.distance; used by flight_delay"
    assert lines[lines.index("  temp@1 (numeric)") + 2].endswith("; used by no model")


def test_a_feature_that_is_computed_from_others_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(FakePorts.make(tmp_path), "customer_week")
    lines = capsys.readouterr().out.splitlines()
    read = "customer_purchase_sum_amount_30d, customer_purchase_sum_amount_90d"
    assert (
        lines[lines.index("  customer_amount_30d_over_90d@1 (numeric)") + 2].strip()
        == f"from {read}; used by buys_again"
    )


def test_a_program_reads_an_object_per_feature(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    call(ports, VIEW.view, "--json")
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["feature"]: each["definition"] for each in listed} == VIEW.definition_digests()


def test_a_view_that_there_is_not_is_refused_by_name(ports: FakePorts) -> None:
    with pytest.raises(Refused, match="there is no view nothing"):
        call(ports, "nothing")

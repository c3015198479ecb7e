"""The digests of a version are those of its training, or, where that is sealed, of a later line that names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import Refused
from pipelines.messages.training import ModelDigests
from pipelines.testing.ports import FakePorts
from pipelines.versions.recorded_digests import recorded_digests


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    """Line 1 is the training of version 1."""
    made = FakePorts.make(tmp_path)
    made.ledger.append("training", "m", "1", {"model_digest": "d1", "folder_digest": "f1", "snapshot": "s"}, actor="a")
    return made


def seal_training(ports: FakePorts) -> None:
    ports.ledger.lines[0] = ports.ledger.lines[0].model_copy(update={"actor": "eve"})
    ports.ledger.repair("a disk failed", person="ada")


def test_the_newest_training_counts(ports: FakePorts) -> None:
    assert recorded_digests("m", "1", ports) == ModelDigests(model_digest="d1", folder_digest="f1", snapshot="s")


def test_a_champion_whose_training_is_sealed_is_known_by_its_newest_line_that_names_the_model_file(
    ports: FakePorts,
) -> None:
    for kind in ("gate", "release", "monitoring_verdict"):
        ports.ledger.append(kind, "m", "1", {"model_digest": f"of {kind}"}, actor="a")
    seal_training(ports)
    assert recorded_digests("m", "1", ports) == ModelDigests(model_digest="of release")


def test_a_version_of_which_only_a_sealed_training_is_known_is_refused_by_name_and_reason(ports: FakePorts) -> None:
    ports.ledger.append("gate", "m", "1", {"gate": "preflight"}, actor="a")
    seal_training(ports)
    with pytest.raises(
        Refused, match=r"(?s)nothing proves the files of m version 1.*line 1 \(training\).*a disk failed"
    ):
        recorded_digests("m", "1", ports)


def test_a_version_that_was_never_trained_is_refused_with_those_that_were(ports: FakePorts) -> None:
    with pytest.raises(Refused, match=r"(?s)no training of m version 2.*trained were versions 1"):
        recorded_digests("m", "2", ports)

"""Each check of a certificate reads the newest line of its kind, and says by number what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.ledger.certificate import Certificate, Check, check_lines, collect_certificate
from pipelines.ledger.hash_chain import head
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.testing.ports import MemoryLedger

MODEL, OTHER = "a" * 64, "b" * 64
TRAINED: dict[str, Any] = {
    "outcome": "pass",
    "model_digest": MODEL,
    "snapshot": "5" * 64,
    "environment_digest": "e" * 64,
    "request_digest": "c" * 64,
    "git_revision": "1234567",
}
DATA: dict[str, Any] = {"outcome": "pass", "snapshot": "5" * 64, "table_versions": {"flights": 7, "weather": 2}}
GATE: dict[str, Any] = {"outcome": "pass", "model_digest": MODEL}
APPROVED: dict[str, Any] = {"semantic_version": "1.0.0", "model_digest": MODEL}
RELEASED: dict[str, Any] = {"model_digest": MODEL, "sha256": "d" * 64}
Lines = list[tuple[str, dict[str, Any]]]


def gates(**changes: Any) -> Lines:
    return [("gate", GATE | {"gate": name} | changes) for name in REQUIRED_GATES]


def whole() -> Lines:
    """Lines 1 (data) to 8 (release) of a version that holds in every item."""
    return [("data_verdict", DATA), ("training", TRAINED), *gates(), ("approval", APPROVED), ("release", RELEASED)]


def issue(lines: Lines) -> Certificate:
    ledger = MemoryLedger()
    for kind, details in lines:
        ledger.append(kind, "m", None if kind == "data_verdict" else "1", details, actor="ann")
    return collect_certificate("m", "1", ledger.entries())


def check(lines: Lines, name: str) -> tuple[str, str]:
    [result] = [check for check in check_lines(issue(lines)) if check.name == name]
    return result.state, result.detail


def without(*kinds: str) -> Lines:
    return [line for line in whole() if line[0] not in kinds]


def with_details(kind: str, **changes: Any) -> Lines:
    return [(name, details | changes if name == kind else details) for name, details in whole()]


# ---- which lines --------------------------------------------------------------------------------------------------


def test_a_certificate_names_the_digests_of_its_lines_and_the_head_of_the_whole_ledger() -> None:
    ledger = MemoryLedger()
    for kind, details in whole():
        ledger.append(kind, "m", None if kind == "data_verdict" else "1", details, actor="ann")
    ledger.append("training", "m", "2", TRAINED | {"snapshot": "6" * 64}, actor="ann")
    ledger.append("training", "n", "1", TRAINED, actor="ann")
    ledger.append("data_verdict", "n", None, DATA, actor="ann")
    ledger.append("data_verdict", "m", None, DATA | {"snapshot": "6" * 64}, actor="ann")
    ledger.append("gate", "m", None, DATA, actor="ann")
    lines = ledger.entries()
    assert collect_certificate("m", "1", lines) == Certificate(
        model="m",
        version="1",
        semantic_version="1.0.0",
        model_digest=MODEL,
        snapshot="5" * 64,
        table_versions={"flights": 7, "weather": 2},
        environment_digest="e" * 64,
        request_digest="c" * 64,
        git_revision="1234567",
        bundle_sha256="d" * 64,
        entries=lines[:8],
        head=head(lines),
    )


def test_the_newest_line_of_a_kind_counts_and_lines_stand_in_the_order_of_the_ledger() -> None:
    certificate = issue(
        [
            *whole(),
            ("training", TRAINED | {"git_revision": "89"}),
            ("approval", APPROVED | {"semantic_version": "2.0.0"}),
            ("release", RELEASED | {"sha256": "f" * 64}),
            ("data_verdict", DATA | {"table_versions": {"flights": 8}}),
        ]
    )
    assert (certificate.git_revision, certificate.semantic_version) == ("89", "2.0.0")
    assert (certificate.bundle_sha256, certificate.table_versions) == ("f" * 64, {"flights": 8})
    assert [entry.number for entry in certificate.entries] == list(range(1, 13))


def test_a_version_without_a_training_has_no_data_verdict() -> None:
    certificate = issue([("data_verdict", {"outcome": "pass"}), ("approval", APPROVED)])
    assert [entry.kind for entry in certificate.entries] == ["approval"]
    assert (certificate.snapshot, certificate.table_versions, certificate.model_digest) == (None, {}, None)


def test_lines_are_found_by_their_kind_and_gates_by_their_name() -> None:
    certificate = issue(whole())
    assert [entry.number for entry in certificate.lines_of_kind("gate")] == [3, 4, 5, 6]
    assert [entry.number for entry in certificate.gate("slice_gate")] == [6]


def test_the_checks_of_a_whole_certificate_all_hold_in_order() -> None:
    assert check_lines(issue(whole())) == [
        Check(name="training", state="ok", detail="line 2, model aaaaaaaaaaaa…"),
        Check(name="data verdict", state="ok", detail="line 1, tables flights 7, weather 2"),
        Check(name="code revision", state="ok", detail="1234567"),
        *[Check(name=name, state="ok", detail=f"line {3 + at}, pass") for at, name in enumerate(REQUIRED_GATES)],
        Check(name="approval", state="ok", detail="line 7, 1.0.0 by ann"),
        Check(name="release", state="ok", detail="line 8"),
    ]


# ---- training, data, code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        (without("training"), "the ledger has no training of this version"),
        (with_details("training", outcome="fail"), "judged 'fail'"),
        (with_details("training", outcome=None), "judged None"),
        ([*whole(), ("training", TRAINED | {"outcome": "fail"})], "judged 'fail'"),
        (
            [("training", TRAINED | {"model_digest": OTHER}), *whole()],
            "2 trainings under one version gave 2 different models",
        ),
        (
            [("training", TRAINED), ("training", TRAINED | {"model_digest": OTHER}), *whole()],
            "3 trainings under one version gave 2 different models",
        ),
    ],
)
def test_a_training_fails_on_its_newest_outcome_and_on_a_second_model(lines: Lines, detail: str) -> None:
    assert check(lines, "training") == ("FAIL", detail)


def test_a_repeated_training_of_the_same_model_holds_by_its_newest_line() -> None:
    assert check([("training", TRAINED | {"outcome": "fail"}), *whole()], "training")[0] == "ok"
    assert check([*whole(), ("training", TRAINED)], "training") == ("ok", "line 9, model aaaaaaaaaaaa…")


@pytest.mark.parametrize("name", ["model_digest", "snapshot", "environment_digest", "request_digest"])
@pytest.mark.parametrize("digest", [None, "", "a" * 63, "a" * 65, "A" * 64, "g" * 64])
def test_each_digest_of_a_training_is_64_hex_digits(name: str, digest: Any) -> None:
    lines = [line for line in with_details("training", **{name: digest}) if line[0] == "training"]
    assert check(lines, "training") == ("FAIL", f"{name} is missing or not a sha256")


def test_every_hex_digit_may_stand_in_a_digest() -> None:
    assert check(with_details("training", request_digest="0123456789abcdef" * 4), "training")[0] == "ok"


@pytest.mark.parametrize(
    ("lines", "state", "detail"),
    [
        (without("data_verdict"), "FAIL", "the ledger has no verdict on snapshot 555555555555…"),
        (without("data_verdict", "training"), "FAIL", "the ledger has no verdict on snapshot (none)"),
        (with_details("data_verdict", outcome="unknown"), "FAIL", "judged 'unknown'"),
        (with_details("data_verdict", table_versions={}), "FAIL", "no table versions are on record"),
        ([*whole(), ("data_verdict", DATA | {"outcome": "fail"})], "FAIL", "judged 'fail'"),
        ([("data_verdict", DATA | {"outcome": "fail"}), *whole()], "ok", "line 2, tables flights 7, weather 2"),
    ],
)
def test_the_data_hold_by_the_newest_verdict_on_the_snapshot_with_its_tables(
    lines: Lines, state: str, detail: str
) -> None:
    assert check(lines, "data verdict") == (state, detail)


@pytest.mark.parametrize(("revision", "state"), [(None, "FAIL"), ("", "FAIL"), ("unknown", "noted"), ("1234567", "ok")])
def test_the_code_holds_by_its_revision_and_an_unknown_one_is_noted(revision: str | None, state: str) -> None:
    assert check(with_details("training", git_revision=revision), "code revision")[0] == state


# ---- gates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "state", "detail"),
    [
        ({}, "ok", "line 1, pass"),
        ({"model_digest": OTHER}, "FAIL", "line 1 is about model bbbbbbbbbbbb…, not this one"),
        ({"model_digest": None, "snapshot": "5" * 64}, "ok", "line 1, pass"),
        ({"model_digest": None, "snapshot": OTHER}, "FAIL", "line 1 names neither this model nor its snapshot"),
        ({"model_digest": MODEL, "snapshot": OTHER}, "ok", "line 1, pass"),
        ({"outcome": "unknown"}, "FAIL", "line 1 says 'unknown'"),
        ({"outcome": "fail", "reasons": ["auc 0.6", "loss 2"]}, "FAIL", "line 1 says 'fail'; auc 0.6; loss 2"),
    ],
)
def test_a_gate_holds_if_it_passed_this_model_or_in_old_lines_its_snapshot(
    changes: dict[str, Any], state: str, detail: str
) -> None:
    assert check([("gate", GATE | {"gate": "slice_gate"} | changes), ("training", TRAINED)], "slice_gate") == (
        state,
        detail,
    )


REFITTED = {"judged_digest": OTHER}


@pytest.mark.parametrize(
    ("trained", "gate", "fault"),
    [
        (REFITTED, REFITTED, None),
        (REFITTED, {}, "line 3 judged model (none), not bbbbbbbbbbbb…"),
        (REFITTED, {"judged_digest": MODEL}, "line 3 judged model aaaaaaaaaaaa…, not bbbbbbbbbbbb…"),
        ({}, REFITTED, "line 3 judged model bbbbbbbbbbbb…, not (none)"),
    ],
)
def test_the_gates_judged_the_twin_that_the_line_of_the_training_ties_to_what_is_deployed(
    trained: dict[str, Any], gate: dict[str, Any], fault: str | None
) -> None:
    lines: Lines = [("data_verdict", DATA), ("training", TRAINED | trained), *gates(**gate)]
    lines += [("approval", APPROVED), ("release", RELEASED)]
    assert issue(lines).judged_digest == trained.get("judged_digest")
    assert check(lines, "candidate_evaluation") == (("FAIL", fault) if fault else ("ok", "line 3, pass"))
    expected = "line 2, model aaaaaaaaaaaa…"
    if trained:
        expected += ", trained again on all rows after model bbbbbbbbbbbb…, which was judged"
    assert check(lines, "training") == ("ok", expected)


def test_a_judged_digest_is_64_hex_digits() -> None:
    lines: Lines = [("data_verdict", DATA), ("training", TRAINED | {"judged_digest": "b"}), *gates(judged_digest="b")]
    assert check(lines, "training") == ("FAIL", "judged_digest is not a sha256")


@pytest.mark.parametrize("name", REQUIRED_GATES)
def test_each_gate_needs_a_verdict_and_its_newest_one_counts(name: str) -> None:
    lines = [line for line in whole() if line[1].get("gate") != name]
    assert check(lines, name) == ("FAIL", "the ledger has no verdict of this gate")
    failed = ("gate", GATE | {"gate": name, "outcome": "fail", "model_digest": OTHER})
    assert check([failed, *whole()], name)[0] == "ok"
    assert check([*whole(), failed], name)[0] == "FAIL"


# ---- approval and release -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        (without("approval"), "the ledger has no approval of this version"),
        (with_details("approval", model_digest=OTHER), "line 7 is about model bbbbbbbbbbbb…, not aaaaaaaaaaaa…"),
        (with_details("approval", model_digest=None), "line 7 is about model (none), not aaaaaaaaaaaa…"),
        (with_details("approval", semantic_version=""), "names no semantic version"),
        (with_details("gate", outcome="fail"), "; ".join(f"came before {name} had passed" for name in REQUIRED_GATES)),
        (
            [("approval", APPROVED), *without("approval")],
            "; ".join(f"came before {name} had passed" for name in REQUIRED_GATES),
        ),
    ],
)
def test_an_approval_is_of_this_model_after_every_gate_had_passed(lines: Lines, detail: str) -> None:
    assert check(lines, "approval") == ("FAIL", detail)


def test_an_approval_holds_if_each_gate_had_passed_once_before_it() -> None:
    failed = ("gate", GATE | {"gate": "slice_gate", "outcome": "fail"})
    assert check([failed, *whole()], "approval")[0] == "ok"
    assert check([*whole(), failed], "approval")[0] == "ok"


def test_the_newest_approval_counts() -> None:
    assert check([("approval", APPROVED | {"model_digest": OTHER}), *whole()], "approval")[0] == "ok"
    assert check([*whole(), ("approval", APPROVED | {"model_digest": OTHER})], "approval")[0] == "FAIL"


def test_without_a_digest_on_record_no_line_is_about_this_model() -> None:
    lines = [*gates(model_digest=None), ("approval", {"semantic_version": "1.0.0"})]
    assert check(lines, "approval") == ("FAIL", "line 5 is about model (none), not (none)")


@pytest.mark.parametrize(
    ("lines", "state", "detail"),
    [
        (without("release"), "noted", "never released"),
        (with_details("release", model_digest=OTHER), "FAIL", "line 8 is about model bbbbbbbbbbbb…, not aaaaaaaaaaaa…"),
        (with_details("release", sha256=None), "FAIL", "line 8 names no bundle"),
        (with_details("release", sha256="d" * 63), "FAIL", "line 8 names no bundle"),
        ([*with_details("release", sha256=7), ("release", RELEASED)], "FAIL", "line 8 names no bundle"),
        (without("approval"), "FAIL", "line 7 came before any approval"),
        ([*without("approval"), ("approval", APPROVED)], "FAIL", "line 7 came before any approval"),
        ([*whole(), ("release", RELEASED)], "ok", "line 8, 9"),
        ([*whole(), ("release", {"model_digest": MODEL})], "FAIL", "line 9 names no bundle"),
        ([("release", RELEASED), *whole()], "FAIL", "line 1 came before any approval"),
    ],
)
def test_every_release_is_of_this_model_after_an_approval_and_names_its_bundle(
    lines: Lines, state: str, detail: str
) -> None:
    assert check(lines, "release") == (state, detail)

"""What an approver reads: which bytes, every number, nothing that a person typed to mislead."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.ledger.approval_form import FormFacts, form, subject
from pipelines.ledger.trained_facts import TrainedFacts
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotResult, SplitPart
from pipelines.ports import VersionInfo
from pipelines.spec.deployment import Deployment
from pipelines.testing.ports import MemoryLedger
from tests.declared import shipped_model

MODEL = "flight_delay"
SPEC = shipped_model(MODEL)
TICKET = RolloutTicket(
    model=MODEL, version="3", rollout_id="r", champion="2", bundle="b", sha256="b" * 64, model_digest="a" * 64
)
CANDIDATE = VersionInfo(model=MODEL, version="3", run_id="r", source="s", semantic="1.1.0")
COMPARED = {
    "metric": "roc_auc",
    "candidate": 0.7,
    "champion": 0.68,
    "gain": 0.02,
    "low": 0.012,
    "high": 0.025,
    "confidence": 0.95,
    "rows": 9124,
    "margin": 0.005,
}


def form_text(*lines: tuple[str, dict[str, Any]], **changes: Any) -> str:
    """The form over these ledger lines (kind, details)."""
    ledger = MemoryLedger()
    for kind, details in lines:
        ledger.append(kind, MODEL, "3", details, actor="airworthy")
    facts = {"ticket": TICKET, "spec": SPEC, "candidate": CANDIDATE, "lines": ledger.entries()}
    return form(FormFacts.model_validate(facts | changes), 86400)


def gate(name: str, outcome: str = "pass", *reasons: str, **facts: Any) -> tuple[str, dict[str, Any]]:
    return "gate", {"gate": name, "outcome": outcome, "reasons": list(reasons), "facts": facts}


def judged(name: str, *findings: str) -> tuple[str, dict[str, Any]]:
    """A gate that says in words what it measured against which limit."""
    return "gate", {"gate": name, "outcome": "pass", "findings": list(findings), "facts": {"roc_auc": 0.70123}}


def row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {start} "))


def test_both_digests_stand_in_full() -> None:
    text = form_text()
    assert "a" * 64 in row(text, "model digest")
    assert "b" * 64 in row(text, "bundle digest")
    assert "judged digest" not in text


def test_a_refitted_model_names_the_one_that_the_gates_judged() -> None:
    shown = row(form_text(trained=TrainedFacts.of({"judged_digest": "c" * 64}, {})), "judged digest")
    assert "c" * 64 in shown
    assert "the gates judged this model; the one above was then trained again on all rows" in shown


@pytest.mark.parametrize(
    ("line", "start", "numbers"),
    [
        (gate("minimum_metrics_gate", roc_auc=0.70123), "minimum metrics gate", "pass | roc auc 0.7012 |"),
        (
            judged("minimum_metrics_gate", "roc_auc 0.7012 ≥ 0.62", "log_loss 0.4 ≤ 0.5"),
            "minimum metrics gate",
            "pass | roc_auc 0.7012 ≥ 0.62; log_loss 0.4 ≤ 0.5 |",
        ),
        (
            gate("champion_comparison_gate", **COMPARED),
            "champion comparison gate",
            "roc_auc 0.7000 against 0.6800: gain +0.0200, 95% interval [+0.0120, +0.0250], on 9,124 rows",
        ),
        (
            gate("champion_comparison_gate", **COMPARED | {"metric": "mae", "candidate": 25.4, "gain": 0.5}),
            "champion comparison gate",
            "mae 25.4000 against 25.9000: gain +0.5000",
        ),
        (gate("champion_comparison_gate", champion="no champion"), "champion comparison gate", "| pass |"),
        (gate("slice_gate", gains={"origin=JFK": -0.01}), "slice gate", "gains: origin=JFK -0.01"),
        (gate("slice_gate", "fail", "origin=JFK loses"), "slice gate", "**fail**: origin=JFK loses"),
    ],
)
def test_a_gate_says_its_verdict_and_its_numbers(line: tuple[str, dict[str, Any]], start: str, numbers: str) -> None:
    assert numbers in row(form_text(line), start)


def test_a_gate_without_a_verdict_is_shown_as_one() -> None:
    assert "**no verdict**" in row(form_text(), "slice gate")


def test_of_a_gate_asked_twice_the_last_word_counts() -> None:
    text = form_text(gate("slice_gate", "fail", "origin=JFK loses"), gate("slice_gate"))
    assert "pass" in row(text, "slice gate")


def test_of_many_slices_the_worst_come_first() -> None:
    gains = {f"carrier={number}": number / 1000 for number in range(20)}
    shown = row(form_text(gate("slice_gate", gains=gains)), "slice gate")
    assert "gains: carrier=0 0, carrier=1 0.001" in shown
    assert "(the lowest 12 of 20)" in shown


def test_what_was_tried_in_this_release_stands_there_with_its_numbers() -> None:
    ledger = MemoryLedger()
    shown = {"p99_latency": {"bad": 3, "of": 60000, "limit": 0.01}}
    measured = {"percentiles_ms": {"p99": 11.9}, "sent": 60000, "stopped_early": False, "report": "memory://x"}
    loaded = {"outcome": "pass", "facts": measured | {"assertions": shown}}
    warned = {"item": "6 load", "result": "WARNING", "why": ["never drilled"]}
    listed = {"outcome": "pass", "facts": {"checklist": [{"item": "1 size", "result": "PASS"}, warned]}}
    run = {
        "test_under_load": ledger.append("rollout", MODEL, "3", loaded, actor="x"),
        "check_release": ledger.append("gate", MODEL, "3", listed, actor="x"),
    }
    text = form_text(run_verdicts=run)
    numbers = "assertions: p99_latency (bad 3, limit 0.01, of 60,000), percentiles ms: p99 11.9, sent 60,000"
    assert row(text, "test_under_load") == f"| test_under_load | pass | {numbers} |"
    assert "1 size PASS; 6 load WARNING (never drilled)" in row(text, "check_release")


def trained(digest: str = "5", *, as_of: datetime = datetime(2013, 3, 1, 5, tzinfo=UTC), **facts: Any) -> TrainedFacts:
    """A training on record, on a snapshot of this digest."""
    day = datetime(2013, 1, 1, tzinfo=UTC)
    data = SnapshotResult(
        model=MODEL,
        as_of=as_of,
        digest=digest * 64,
        uri="u",
        rows=60000,
        parts={"train": SplitPart(rows=42000, first=day, last=day.replace(month=2))},
        features=["carrier", "origin"],
        table_versions={},
    )
    return TrainedFacts.model_validate({"snapshot": digest * 64, "data": data, "seed": "2013", **facts})


LIVE = CANDIDATE.model_copy(update={"version": "2", "semantic": "1.0.0"})


def test_the_model_card_tells_the_data_the_features_and_both_versions_metrics() -> None:
    measured = gate("candidate_evaluation", metrics={"roc_auc": 0.7})
    text = form_text(measured, trained=trained(), champion=LIVE, live_metrics={"roc_auc": 0.68})
    assert "60,000 rows known at 2013-03-01 05:00 UTC: train 42,000 rows (2013-01-01 to 2013-02-01)" in row(
        text, "data"
    )
    assert row(text, "features") == "| features | 2: `carrier`, `origin` |"
    assert row(text, "roc_auc") == "| roc_auc | 0.7 | 0.68 |"
    assert "| metric | candidate | version 2, on its own test rows |" in text


def test_the_model_card_tells_the_seed_and_estimator_that_were_used_and_not_those_that_are_declared_now() -> None:
    declared = {
        "problem": "regression",
        "target": {"column": "dep_delay", "at_least": None},
        "estimator": {"kind": "sklearn", "class_path": "sklearn.linear_model.Ridge"},
    }
    facts = trained(seed="7", rounds=40, device="cuda", git_revision="abc1234", declared=declared)
    text = form_text(trained=facts)
    assert row(text, "trained by") == "| trained by | sklearn.linear_model.Ridge, seed 7, 40 rounds, on cuda |"
    assert row(text, "use") == f"| use | regression of `dep_delay`; owner {SPEC.owner} |"
    assert row(text, "code") == "| code | `abc1234` |"
    assert str(SPEC.training.seed) not in row(text, "trained by")


def test_what_is_not_on_record_is_said_to_be_so_and_not_taken_from_the_declaration() -> None:
    text = form_text()
    assert row(text, "trained by") == "| trained by | not on record, seed not on record |"
    assert row(text, "use") == f"| use | target not on record; owner {SPEC.owner} |"
    assert row(text, "snapshot") == "| snapshot | `not on record` |"
    assert "| data |" not in text


def test_the_form_says_how_the_version_is_released() -> None:
    canary = SPEC.model_copy(update={"deployment": Deployment(strategy="canary")})
    assert "by canary, 5 % → 15 %" in form_text(spec=canary)
    assert "No answer within 24 hours counts as a rejection" in form_text()
    assert "no version is live yet" in form_text(ticket=TICKET.model_copy(update={"champion": None}))


@pytest.mark.parametrize("end", ["|", "\\|"])
def test_what_a_person_typed_cannot_add_a_row_or_break_out_of_its_cell(end: str) -> None:
    typed = TrainedFacts(hypothesis=f"good {end}\n| slice gate | pass | forged |")
    text = form_text(trained=typed)
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", row(text, "hypothesis"))
    assert len(cells) == 4, cells
    assert "forged" in cells[2]
    assert "no verdict" in row(text, "slice gate")


def test_the_same_facts_give_the_same_text() -> None:
    assert form_text(gate("slice_gate")) == form_text(gate("slice_gate"))


def test_the_headline_says_who_is_asked_about_what() -> None:
    champion = CANDIDATE.model_copy(update={"version": "2", "semantic": "1.0.0"})
    facts = FormFacts(ticket=TICKET, spec=SPEC, candidate=CANDIDATE, champion=champion, lines=[])
    assert subject(facts, "ml_lead") == "ml_lead: release flight_delay 3 (1.1.0) in place of 2 (1.0.0)?"


def changed(**facts: Any) -> list[str]:
    """The lines below the heading of what changed since the live version."""
    text = form_text(**{"champion": LIVE, "trained": trained(), "live_trained": trained(), "changes": [], **facts})
    heading, _, rest = text.partition("### What changed since version 2 (1.0.0), which is live\n\n")
    assert rest, heading
    return [line.removeprefix("- ") for line in rest.split("\n\n")[0].splitlines()]


NOTHING_DECLARED = "nothing that was declared: features, target and estimator are the same"
FORMER_DATA = "60,000 rows known at 2013-03-01 05:00 UTC"
SAME_DATA = f"the same data: snapshot {'5' * 12}"


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({"changes": ["major: input  temp\nis new"]}, ["major: input temp is new", SAME_DATA]),
        ({}, [NOTHING_DECLARED, SAME_DATA]),
        ({"changes": None}, ["what was declared for one of the two trainings is not on record", SAME_DATA]),
        ({"trained": trained(seed="7")}, [NOTHING_DECLARED, SAME_DATA, "seed 7 instead of 2013"]),
        (
            {"trained": trained("6", as_of=datetime(2013, 3, 8, 5, tzinfo=UTC))},
            [NOTHING_DECLARED, f"newer data: 60,000 rows known at 2013-03-08 05:00 UTC instead of {FORMER_DATA}"],
        ),
        (
            {"trained": trained("6", as_of=datetime(2013, 2, 8, tzinfo=UTC))},
            [NOTHING_DECLARED, f"older data: 60,000 rows known at 2013-02-08 00:00 UTC instead of {FORMER_DATA}"],
        ),
        (
            {"trained": trained("6", data=None)},
            [NOTHING_DECLARED, f"other data: snapshot {'6' * 12} instead of {'5' * 12}"],
        ),
        ({"live_trained": TrainedFacts(seed="2013")}, [NOTHING_DECLARED, "data: not on record of the live version"]),
        (
            {"trained": trained(git_revision="a" * 40), "live_trained": trained(git_revision="b" * 40)},
            [NOTHING_DECLARED, SAME_DATA, f"code {'a' * 12} instead of {'b' * 12}"],
        ),
        (
            {"trained": trained(environment_digest="a"), "live_trained": trained(environment_digest="b")},
            [NOTHING_DECLARED, SAME_DATA, "other versions of the libraries"],
        ),
        (
            {"trained": trained(model_digest="a"), "live_trained": trained("6", model_digest="a", seed="7")},
            [NOTHING_DECLARED, "none: both are the same model file, byte for byte"],
        ),
    ],
)
def test_what_changed_is_told_against_the_live_version_by_the_records_of_both_trainings(
    facts: dict[str, Any], lines: list[str]
) -> None:
    assert [line for line in changed(**facts) if not line.startswith("code: not on record")] == lines


def test_an_approved_version_that_was_never_live_is_compared_with_nothing_but_gave_the_number() -> None:
    approval = ("approval", {"semantic_version": "1.1.0", "follows": "1.0.3", "changes": ["minor: never live"]})
    text = form_text(approval, champion=LIVE, changes=[])
    assert "never live" not in text
    assert row(text, "number") == "| number | 1.1.0 follows 1.0.3, the highest approved before; that is not live |"
    same = ("approval", {"semantic_version": "1.1.0", "follows": "1.0.0"})
    assert "| number |" not in form_text(same, champion=LIVE)


def test_a_first_version_is_compared_with_nothing() -> None:
    assert "Nothing is live: there is no version to compare with." in form_text()


@pytest.mark.parametrize(
    ("compared", "live", "note"),
    [
        ("1", "2", "**These gates compared it with version 1; live is 2 (1.0.0).**"),
        ("no champion", "2", "**These gates compared it with no other version; live is 2 (1.0.0).**"),
        ("2", "2", None),
    ],
)
def test_gates_that_compared_with_another_version_than_the_live_one_are_marked(
    compared: str, live: str, note: str | None
) -> None:
    text = form_text(
        gate("candidate_evaluation", champion=compared), champion=LIVE.model_copy(update={"version": live})
    )
    assert ("These gates compared" in text) == (note is not None)
    assert note is None or note in text


def test_authors_are_named_as_those_who_may_not_approve() -> None:
    assert row(form_text(authors=["ada", "joe"]), "author") == "| author | ada, joe (may not approve) |"
    assert "| author |" not in form_text()


@pytest.mark.parametrize(("bound", "text"), [(15.0, "`arr_delay` ≥ 15"), (None, "`arr_delay`")])
def test_the_use_names_the_target_and_the_threshold_of_a_classification(bound: float | None, text: str) -> None:
    declared = {"problem": "classification", "target": {"column": "arr_delay", "at_least": bound}}
    shown = row(form_text(trained=trained(declared=declared)), "use")
    assert shown == f"| use | classification of {text}; owner {SPEC.owner} |"


@pytest.mark.parametrize(("first", "last"), [(True, False), (False, True), (False, False)])
def test_a_part_of_the_data_without_both_its_times_shows_none(first: bool, last: bool) -> None:
    facts, day = trained(), datetime(2013, 1, 1, tzinfo=UTC)
    assert facts.data is not None
    part = SplitPart(rows=5, first=day if first else None, last=day if last else None)
    undated = facts.model_copy(update={"data": facts.data.model_copy(update={"parts": {"train": part}})})
    assert row(form_text(trained=undated), "data").endswith("UTC: train 5 rows |")


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (
            {"gains": {"origin=JFK": 0.1, "origin=LGA": 0.1, "dest=a=b": 0.2}},
            "judged over all rows and by dest, origin;",
        ),
        ({"champion": "no champion"}, "judged over all rows only, as there was no version to compare its groups with"),
        ({"slices": "none declared"}, "judged over all rows only; not evaluated for smaller groups"),
    ],
)
def test_the_limits_name_the_groups_by_which_it_was_judged_and_not_those_that_are_declared(
    facts: dict[str, Any], text: str
) -> None:
    assert text in row(form_text(gate("slice_gate", **facts)), "limits")


def numbers(**facts: Any) -> str:
    """The third cell of a gate with these facts."""
    return row(form_text(gate("slice_gate", **facts)), "slice gate").split(" | ")[2].removesuffix(" |")


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"version": "3", "rows": 5}, "rows 5"),
        ({"model_digest": "a", "worse_log_e": 1.0, "needed_total": 5, "rows": 5}, "rows 5"),
        ({"empty": None, "text": "", "items": [], "group": {}, "no": False}, ""),
        ({"yes": True}, "yes True"),
        ({"zero": 0}, "zero 0"),
        ({"RMSE": 1.5}, "RMSE 1.5"),
        ({"max_drop": 0.123456}, "max drop 0.1235"),
        ({"rows": 1234567}, "rows 1,234,567"),
        ({"seconds": 1000.4}, "seconds 1,000"),
        ({"seconds": 1000.0}, "seconds 1,000"),
        ({"seconds": -1000.4}, "seconds -1,000"),
        ({"seconds": 999.96}, "seconds 1000"),
        ({"drift": "nan"}, "drift nan"),
        ({"days": ["a", 1.23456, None]}, "days: a; 1.235; "),
        ({"days": list(range(13))}, "days: 0; 1; 2; 3; 4; 5; 6; 7; 8; 9; 10; 11"),
        ({"arms": [{"arm": "x", "units": 5, "plots": "p"}]}, "arms: arm x, units 5"),
        ({"limits": {"p99": {"bad": 1, "report": "r"}, "sha256": "s"}}, "limits: p99 (bad 1)"),
        ({"items": [{"item": "1 size", "result": "FAIL", "why": None}]}, "items: 1 size FAIL ()"),
        ({"items": [{"item": "1 size", "result": "FAIL", "why": ["a", "b"]}]}, "items: 1 size FAIL (a, b)"),
        ({"items": [{"item": "1 size", "rows": 2}]}, "items: item 1 size, rows 2"),
    ],
)
def test_each_kind_of_fact_has_its_text(facts: dict[str, Any], text: str) -> None:
    assert numbers(**facts).strip() == text.strip()


def test_a_group_of_12_is_shown_as_it_is_and_of_13_numbers_the_lowest_12() -> None:
    twelve = {f"g{number}": 20 - number for number in range(12)}
    assert numbers(gains=twelve).startswith("gains: g0 20, g1 19")
    thirteen = numbers(gains=twelve | {"g12": 8.5})
    assert thirteen.startswith("gains: g12 8.5, g11 9, g10 10")
    assert thirteen.endswith("g1 19 (the lowest 12 of 13)")
    mixed = numbers(gains=twelve | {"g12": "unknown"})
    assert mixed.startswith("gains: g0 20")
    assert mixed.endswith("g12 unknown, g2 18, g3 17, g4 16, g5 15, g6 14, g7 13, g8 12")


def test_a_comparison_without_a_margin_has_margin_0_and_without_an_interval_is_shown_as_facts() -> None:
    compared = {name: value for name, value in COMPARED.items() if name not in ("margin", "champion")}
    assert numbers(**compared).endswith("on 9,124 rows; margin 0")
    assert numbers(**COMPARED).endswith("on 9,124 rows; margin 0.005")
    assert "gain +0.0200, no interval, on" in numbers(**COMPARED | {"high": None})
    assert numbers(metric="roc_auc", gain=0.02) == "gain 0.02, metric roc_auc"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2 * 86400, "2 days"),
        (2 * 86400 - 60, "48 hours"),
        (1.5 * 3600, "90 minutes"),
        (7200, "2 hours"),
        (7199, "120 minutes"),
        (120, "2 minutes"),
        (119, "119 seconds"),
        (0.5, "0.5 seconds"),
    ],
)
def test_a_duration_is_told_in_the_largest_unit_of_which_there_are_two(seconds: float, text: str) -> None:
    facts = FormFacts(ticket=TICKET, spec=SPEC, candidate=CANDIDATE, lines=[])
    assert f"No answer within {text} counts as a rejection" in form(facts, seconds)


def test_the_metrics_are_those_of_the_ledger_and_no_number_that_somebody_wrote_into_the_registry() -> None:
    edited = {"roc_auc": 0.99, "test_roc_auc": 0.99}
    candidate, champion = (each.model_copy(update={"metrics": edited}) for each in (CANDIDATE, LIVE))
    measured = gate("candidate_evaluation", metrics={"roc_auc": 0.7, "log_loss": 0.5})
    text = form_text(measured, candidate=candidate, champion=champion, live_metrics={"roc_auc": 0.68})
    assert (row(text, "roc_auc"), row(text, "log_loss")) == ("| roc_auc | 0.7 | 0.68 |", "| log_loss | 0.5 |  |")
    assert "0.99" not in text + form_text(candidate=candidate, champion=champion)
    assert "| metric |" not in form_text(candidate=candidate)


def test_of_two_evaluations_the_newer_counts() -> None:
    older, newer = (gate("candidate_evaluation", metrics={"roc_auc": value}) for value in (0.6, 0.7))
    other = gate("slice_gate", metrics={"roc_auc": 0.1})
    assert row(form_text(older, newer, other, champion=LIVE, live_metrics={"roc_auc": 0.68}), "roc_auc") == (
        "| roc_auc | 0.7 | 0.68 |"
    )


def test_a_first_version_is_released_at_once_and_replaces_nothing() -> None:
    ticket = TICKET.model_copy(update={"champion": None})
    text = form_text(ticket=ticket)
    assert "**Approve** releases version 3 at once, because no version is live yet." in text
    assert row(text, "version").endswith("3 (1.1.0), now live: nothing |")
    facts = FormFacts(ticket=ticket, spec=SPEC, candidate=CANDIDATE.model_copy(update={"semantic": None}), lines=[])
    assert subject(facts, "ml_lead") == "ml_lead: release flight_delay 3 as its first version?"


def test_a_strategy_without_a_share_is_named_alone() -> None:
    shadow = SPEC.model_copy(update={"deployment": Deployment(strategy="shadow")})
    assert "releases version 3 by shadow. **Reject**" in form_text(spec=shadow)


def test_a_release_without_tests_has_no_list_of_them() -> None:
    assert "Tests of this release" not in form_text()


def test_a_verdict_without_facts_has_no_numbers() -> None:
    line = MemoryLedger().append("rollout", MODEL, "3", {"outcome": "pass"}, actor="x")
    assert row(form_text(run_verdicts={"test_under_load": line}), "test_under_load") == "| test_under_load | pass |  |"

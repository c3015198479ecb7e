"""What may take off, by table: one fact changed at a time, and all of them at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.messages.release import (
    BundleColumn,
    BundleContract,
    BundleInspection,
    LoggedTraffic,
    ReleaseFacts,
    StageDesign,
)
from pipelines.rules.preflight_checklist import judge_checklist
from pipelines.spec.deployment import Deployment
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome, Verdict
from tests.declared import shipped_model

DIGEST, OTHER = "a" * 64, "b" * 64
GATES = ("minimum_metrics_gate", "slice_gate")
STICKY = {"routing": {"key": "header:x-user-id"}}
COLUMNS = [
    BundleColumn(name="hour", type="numeric", minimum=0, maximum=23),
    BundleColumn(name="carrier", type="categorical"),
]
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def contract(version: str, semantic: str | None = "1.0.0") -> BundleContract:
    return BundleContract(version=version, semantic=semantic, output="probability", columns=COLUMNS)


def found(**changes: Any) -> BundleInspection:
    facts: dict[str, Any] = {
        "model": "flight_delay",
        "version": "5",
        "bundle_bytes": 2**20,
        "predictor": "onnx",
        "model_digest": DIGEST,
        "rows": 2000,
        "largest_difference": 1e-7,
        "edge_rows": 8,
        "latency_p50_ms": 0.02,
        "latency_p99_ms": 0.1,
        "calls": 200,
        "contract": contract("5", "1.1.0"),
        "champion": contract("4"),
        "traffic": LoggedTraffic(requests=700, since=NOON, until=NOON, per_day=100_000),
        "design": [StageDesign(share=500, requests_to_pass=5000, requests_to_find=20000, seconds=7200)],
    }
    return BundleInspection(**(facts | changes))


def standing(**changes: Any) -> ReleaseFacts:
    facts: dict[str, Any] = {"gates": dict.fromkeys(GATES, "pass"), "approval_digest": DIGEST, "champion": "4"}
    return ReleaseFacts(**(facts | changes))


def spec(**deployment: Any) -> ModelSpec:
    declared = shipped_model()
    wanted = Deployment.model_validate({"strategy": "canary"} | deployment)
    return declared.model_copy(update={"deployment": wanted})


def judged(measured: BundleInspection, stands: ReleaseFacts, declared: ModelSpec | None = None) -> Verdict:
    return judge_checklist(measured, stands, declared or spec(), GATES)


def results(verdict: Verdict) -> dict[str, str]:
    lines: Any = verdict.facts["checklist"]
    return {line["item"]: line["result"] for line in lines}


def test_all_items_are_listed_though_all_is_well() -> None:
    verdict = judged(found(), standing())
    assert (verdict.outcome, verdict.reasons) == (Outcome.PASS, ())
    assert results(verdict) == {
        "1 performance": "PASS",
        "2 size": "PASS",
        "3 contract": "PASS",
        "4 input validation": "PASS",
        "5 error handling": "PASS",
        "6 load test": "WAIVED",
        "7 security": "PASS",
        "8 rollback": "PASS",
        "who may deploy": "PASS",
        "who may approve": "WAIVED",
        "design": "PASS",
    }
    assert all(line["why"] for line in verdict.facts["checklist"])  # type: ignore[attr-defined]


FAIL, UNKNOWN, PASS = Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS


@pytest.mark.parametrize(
    ("measured", "stands", "outcome", "reason"),
    [
        ({}, {"gates": {"slice_gate": "pass"}}, UNKNOWN, "1 performance: minimum_metrics_gate has no verdict"),
        ({}, {"gates": dict.fromkeys(GATES, "unknown")}, UNKNOWN, "1 performance: slice_gate was not measured"),
        ({}, {"gates": {**dict.fromkeys(GATES, "pass"), "slice_gate": "fail"}}, FAIL, "slice_gate said fail"),
        ({}, {"gates": dict.fromkeys(GATES, "skipped")}, FAIL, "slice_gate said skipped"),
        ({}, {"approval_digest": None}, UNKNOWN, "1 performance: version 5 has no approval"),
        ({"latency_p50_ms": None}, {}, UNKNOWN, "the latency of one row was not measured"),
        ({"latency_p50_ms": 1000.1}, {}, FAIL, "one row takes 1,000 ms > routing.deadline_ms 1000"),
        ({"latency_p50_ms": 1000.0, "latency_p99_ms": 5000.0}, {}, PASS, ""),
        ({"bundle_bytes": 1024 * 2**20}, {}, PASS, ""),
        ({"bundle_bytes": 1024 * 2**20 + 60000}, {}, FAIL, "2 size: the bundle has 1024.1 MiB > 1024 MiB"),
        ({"rows": 999}, {}, UNKNOWN, "2 size: compared with the model on 999 rows < 1000"),
        ({"largest_difference": 1e-5}, {}, PASS, ""),
        ({"largest_difference": 1.1e-5}, {}, FAIL, "2 size: onnx answers differ from the model's by up to 1.1e-05"),
        ({"largest_difference": None}, {}, FAIL, "2 size: onnx returns no numbers"),
        ({"flips": 1}, {}, FAIL, "1 flips"),
        ({"champion_fault": "bundle.json of 4 is gone"}, {}, UNKNOWN, "3 contract: bundle.json of 4 is gone"),
        ({"champion": None}, {}, UNKNOWN, "3 contract: the contract could not be read"),
        ({"champion": None}, {"champion": None}, PASS, ""),
        ({"contract_changes": ["column x is new"]}, {}, FAIL, "(1.0.0 to 1.1.0): column x is new"),
        ({"untyped": ["hour"]}, {}, FAIL, "4 input validation: column hour has no type in schema.json"),
        ({"edge_faults": ["null throughout: answers [nan]"]}, {}, FAIL, "4 input validation: null throughout"),
        ({"edge_rows": 0}, {}, UNKNOWN, "4 input validation: no edge row was tested"),
        ({"contract": None}, {}, UNKNOWN, "4 input validation: the schema could not be read"),
        ({"narrowed": ["hour: most 20, was 23"]}, {}, PASS, ""),
        ({"plan_faults": ["no limit"]}, {}, FAIL, "5 error handling: no limit"),
        ({"faults": ["model.onnx is missing"]}, {}, FAIL, "7 security: model.onnx is missing"),
        ({"altered": ["model.onnx"]}, {}, FAIL, "7 security: model.onnx differs from a new conversion"),
        ({"pickles": ["a.pkl"]}, {}, FAIL, "7 security: a.pkl contains a pickle"),
        ({"model_digest": None}, {}, UNKNOWN, "7 security: the digest of the registered model could not be read"),
        ({"model_digest": OTHER}, {}, FAIL, "7 security: the approval is of model aaaaaaaaaaaa…"),
        ({}, {"ledger_faults": ["line 3 was altered"]}, FAIL, "7 security: the ledger: line 3 was altered"),
    ],
)
def test_each_item_alone_holds_up_the_version(
    measured: dict[str, Any], stands: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    verdict = judged(found(**measured), standing(**stands))
    assert verdict.outcome is outcome
    assert any(reason in each for each in verdict.reasons) if reason else verdict.reasons == ()


def test_every_failure_is_listed_before_every_unknown() -> None:
    verdict = judged(
        found(faults=["f"], pickles=["p"], edge_faults=["e"], rows=3), standing(gates={}, approval_digest=None)
    )
    kinds = [reason.split(":")[0] for reason in verdict.reasons]
    assert verdict.outcome is Outcome.FAIL
    assert kinds == ["4 input validation", "7 security", "7 security", *["1 performance"] * 3, "2 size"]


@pytest.mark.parametrize(
    ("old", "new", "strategy", "result"),
    [
        ("1.4.2", "2.0.0", "all_at_once", "WARNING"),
        ("1.4.2", "2.0.0", "canary", "FAIL"),
        ("1.4.2", "1.5.0", "all_at_once", "FAIL"),
        ("2.0.0", "1.0.0", "all_at_once", "FAIL"),
        (None, "2.0.0", "all_at_once", "FAIL"),
        ("1.4.2", None, "all_at_once", "FAIL"),
    ],
)
def test_another_contract_needs_a_new_major_version_and_one_switch(
    old: str | None, new: str | None, strategy: str, result: str
) -> None:
    measured = found(contract=contract("5", new), champion=contract("4", old), contract_changes=["column x is new"])
    assert results(judged(measured, standing(), spec(strategy=strategy)))["3 contract"] == result


def test_the_second_version_needs_no_drill_that_nothing_could_stand_in_for() -> None:
    declared = spec(rollback={"drill": "0 5 * * 1"})
    assert judged(found(), standing(drillable=False), declared).outcome is Outcome.PASS
    assert judged(found(), standing(drillable=False, drill="fail"), declared).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("declared", "drill", "champion", "result"),
    [
        ({}, None, "4", "PASS"),
        ({"rollback": {"drill": "0 5 * * 1"}}, "pass", "4", "PASS"),
        ({"rollback": {"drill": "0 5 * * 1"}}, None, "4", "UNKNOWN"),
        ({"rollback": {"drill": "0 5 * * 1"}}, "fail", "4", "FAIL"),
        ({"rollback": {"drill": "0 5 * * 1"}}, "unknown", "4", "FAIL"),
        ({}, "fail", "4", "PASS"),
        ({"rollback": {"window": 0}}, None, "4", "WARNING"),
        ({"rollback": {"drill": "0 5 * * 1"}}, None, None, "WAIVED"),
    ],
)
def test_there_is_a_way_back_that_was_tried_if_a_drill_is_declared(
    declared: dict[str, Any], drill: str | None, champion: str | None, result: str
) -> None:
    verdict = judged(found(), standing(drill=drill, champion=champion), spec(**declared))
    assert results(verdict)["8 rollback"] == result


@pytest.mark.parametrize(
    ("may", "by_hand", "who", "outcome"),
    [
        ([], True, "eve", Outcome.PASS),
        ([], True, None, Outcome.PASS),
        (["ann"], True, "ann", Outcome.PASS),
        (["ann"], True, "eve", Outcome.FAIL),
        (["ann"], True, None, Outcome.FAIL),
        (["ann"], False, None, Outcome.PASS),
    ],
)
def test_only_those_who_may_deploy_do_so_by_hand(
    may: list[str], by_hand: bool, who: str | None, outcome: Outcome
) -> None:
    declared = spec(approval={"requires_approval": False, "deployers": may})
    verdict = judged(found(), standing(by_hand=by_hand, deployer=who), declared)
    assert verdict.outcome is outcome
    assert results(verdict)["who may deploy"] == ("PASS" if outcome is Outcome.PASS else "FAIL")


LOAD = {"load_test": {"target_rps": 50, "assertions": {"p99_latency": {"max": 100}}}}


@pytest.mark.parametrize(
    ("declared", "result"), [(LOAD, "PASS"), ({}, "WAIVED"), (LOAD | {"strategy": "all_at_once"}, "PASS")]
)
def test_a_load_test_is_declared_or_waived_in_the_open(declared: dict[str, Any], result: str) -> None:
    assert results(judged(found(), standing(), spec(**declared)))["6 load test"] == result


@pytest.mark.parametrize(("wanted", "result"), [(2500, "PASS"), (2501, "FAIL")])
def test_a_load_test_that_could_never_be_passed_is_refused_with_what_it_takes(wanted: int, result: str) -> None:
    verdict = judged(found(load_test_needs={"p99_latency": wanted}), standing(), spec(**LOAD))
    assert results(verdict)["6 load test"] == result
    assert [reason for reason in verdict.reasons if "declare duration: 61" in reason] == list(verdict.reasons)


def test_a_load_test_that_has_no_way_to_the_candidate_is_refused_before_the_rollout() -> None:
    verdict = judged(found(load_test_fault="no door"), standing(), spec(**LOAD))
    assert verdict.reasons == ("6 load test: no door",)


SAGEMAKER = {
    "kind": "sagemaker",
    "role_arn": "arn:aws:iam::123456789012:role/serving",
    "image": "image",
    "instance_type": "ml.m5.large",
}


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ({"mode": "guardrail"}, "FAIL"),
        ({"mode": "guardrail", "alarms": ["errors"]}, "PASS"),
        ({"mode": "variants"}, "PASS"),
    ],
)
def test_a_rollout_that_could_not_fail_is_refused(target: dict[str, Any], result: str) -> None:
    verdict = judged(found(), standing(), spec(target=SAGEMAKER | target))
    assert results(verdict)["5 error handling"] == result


@pytest.mark.parametrize(
    ("declared", "measured", "champion", "result", "said"),
    [
        ({}, {}, "4", "PASS", "at 5 %: 5000 requests to pass, 20000 to detect the expected harm; 0.05 days at 100000"),
        (
            {},
            {"traffic": LoggedTraffic(requests=1, since=NOON, until=NOON, per_day=1000)},
            "4",
            "WARNING",
            "> 0.083 days, the stage's maximum",
        ),
        (
            {"strategy": "ab", **STICKY},
            {"traffic": LoggedTraffic(requests=1, since=NOON, until=NOON, per_day=1000)},
            "4",
            "FAIL",
            "5 days at 1000 a day > 0.083 days, the stage's maximum",
        ),
        (
            {"strategy": "ab", **STICKY},
            {"traffic": None},
            "4",
            "WARNING",
            "nobody asked the gateway for flight_delay in the last seven days",
        ),
        (
            {},
            {"design": [StageDesign(share=500, seconds=60)]},
            "4",
            "WARNING",
            "expected_rate is not below the threshold",
        ),
        ({}, {"design": [StageDesign(share=0, requests_to_pass=5, seconds=60)]}, "4", "PASS", "in the shadow: 5"),
        ({"strategy": "all_at_once"}, {"design": []}, "4", "WAIVED", "nothing is compared"),
        ({}, {}, None, "WAIVED", "first version"),
    ],
)
def test_a_design_that_cannot_be_decided_in_its_time_is_told_and_an_experiment_refused(
    declared: dict[str, Any], measured: dict[str, Any], champion: str | None, result: str, said: str
) -> None:
    verdict = judged(found(**measured), standing(champion=champion), spec(**declared))
    assert results(verdict)["design"] == result
    assert verdict.outcome is (Outcome.FAIL if result == "FAIL" else Outcome.PASS)
    [line] = [line for line in verdict.facts["checklist"] if line["item"] == "design"]  # type: ignore[attr-defined]
    assert any(said in why for why in line["why"])


# ---- each item at its edges ---------------------------------------------------------------------------------------


def item_of(
    name: str,
    measured: dict[str, Any] | None = None,
    stands: dict[str, Any] | None = None,
    declared: dict[str, Any] | None = None,
) -> tuple[str, list[str]]:
    """Result and reasons of one item."""
    lines: Any = judged(found(**measured or {}), standing(**stands or {}), spec(**declared or {})).facts["checklist"]
    [line] = [line for line in lines if line["item"] == name]
    return line["result"], line["why"]


def test_the_facts_give_the_requests_per_day_with_one_decimal() -> None:
    traffic = LoggedTraffic(requests=1, since=NOON, until=NOON, per_day=1000.26)
    assert judged(found(traffic=traffic), standing()).facts["requests_per_day"] == 1000.3
    assert judged(found(traffic=None), standing()).facts["requests_per_day"] is None


@pytest.mark.parametrize("missing", ["latency_p50_ms", "latency_p99_ms"])
def test_a_latency_without_one_of_its_numbers_was_not_measured(missing: str) -> None:
    assert item_of("1 performance", {missing: None}) == ("UNKNOWN", ["the latency of one row was not measured"])


def test_a_performance_that_passes_says_its_gates_and_latency() -> None:
    assert item_of("1 performance") == ("PASS", ["2 gates, one row takes 0.02 ms, p99 0.1 ms (deadline 1000 ms)"])


@pytest.mark.parametrize(
    ("measured", "declared", "result", "why"),
    [
        ({"rows": 1000}, {}, "PASS", "1.00 MiB, onnx, 1000 rows within 1e-07 of the model"),
        ({"bundle_bytes": 3 * 2**19}, {}, "PASS", "1.50 MiB, onnx, 2000 rows within 1e-07 of the model"),
        ({}, {"resources": {"memory_limit": "1Mi"}}, "PASS", "1.00 MiB, onnx, 2000 rows within 1e-07 of the model"),
        (
            {"bundle_bytes": 3 * 2**20},
            {"resources": {"memory_limit": "2Mi"}},
            "FAIL",
            "the bundle has 3.0 MiB > 2 MiB of memory",
        ),
        ({"flips": 2}, {}, "FAIL", "onnx answers differ from the model's by up to 1e-07 (limit 1e-05), 2 flips"),
    ],
)
def test_a_bundle_fits_its_memory_and_answers_as_the_model_does(
    measured: dict[str, Any], declared: dict[str, Any], result: str, why: str
) -> None:
    size = item_of("2 size", measured, declared=declared)
    assert (size[0], size[1][0]) == (result, why)


@pytest.mark.parametrize(
    ("measured", "champion", "result", "why"),
    [
        ({}, "4", "PASS", "the same as that of version 4"),
        ({"contract": None}, "4", "UNKNOWN", "the contract could not be read"),
        ({"champion": None}, "4", "UNKNOWN", "the contract could not be read"),
        ({"champion_fault": "gone"}, "4", "UNKNOWN", "gone"),
        ({"champion_fault": "gone"}, None, "WAIVED", "first version: it has no callers yet"),
    ],
)
def test_a_contract_is_compared_with_that_of_the_champion(
    measured: dict[str, Any], champion: str | None, result: str, why: str
) -> None:
    assert item_of("3 contract", measured, {"champion": champion}) == (result, [why])


def test_a_changed_contract_names_both_numbers_and_their_lack() -> None:
    measured = {"contract": contract("5", None), "champion": contract("4", None), "contract_changes": ["x", "y"]}
    assert item_of("3 contract", measured)[1] == ["changed without a new major version (no number to no number): x; y"]


def test_numbers_with_a_range_are_counted_by_either_end() -> None:
    columns = [
        BundleColumn(name="both", type="numeric", minimum=0, maximum=1),
        BundleColumn(name="low", type="numeric", minimum=0),
        BundleColumn(name="high", type="numeric", maximum=0),
        BundleColumn(name="free", type="numeric"),
        BundleColumn(name="free_too", type="numeric"),
        BundleColumn(name="carrier", type="categorical"),
    ]
    measured = {"contract": contract("5").model_copy(update={"columns": columns})}
    assert item_of("4 input validation", measured) == (
        "PASS",
        ["6 columns typed, 3 of 5 numbers with a range, 8 edge rows tested"],
    )


def test_edge_rows_that_failed_were_tested() -> None:
    result, why = item_of("4 input validation", {"edge_rows": 0, "edge_faults": ["null throughout"]})
    assert (result, "no edge row was tested" in why) == ("FAIL", False)


GUARD = "guard at 1.00% bad answers, deadline 1000 ms, lease 900 s"
JUDGED = "judged at 1.00% bad answers, lease 900 s"
UNSEEN = "not monitored on this target: answers past a deadline, and users instead of requests"
BACK = "version 4 comes back by itself at 1.00% bad answers, until 3600 s after the promotion"
LOOKS = "the deploy run looks every 30 s: nothing watches each second, and nothing at all while Airflow is down"
HTTP_ROUTE = {"kind": "http_route", "gateway": "public", "image": "image"}


@pytest.mark.parametrize(
    ("champion", "declared", "result", "why"),
    [
        (None, {}, "WAIVED", ["first version: there is no version to roll back to, so there is no guard"]),
        ("4", {"strategy": "all_at_once"}, "PASS", [GUARD, BACK]),
        ("4", {}, "PASS", [GUARD, BACK]),
        ("4", {"rollback": {"error_threshold": 0.2, "window": 60}}, "PASS", [GUARD, BACK.replace("1.00", "20.00")]),
        ("4", {"rollback": {"window": 0}}, "PASS", [GUARD, "nobody watches the version after its promotion"]),
        ("4", {"rollback": {"automatic": False}}, "WARNING", ["rollback.automatic is false: a bad version", GUARD]),
        ("4", {"target": HTTP_ROUTE}, "PASS", [JUDGED, BACK, LOOKS, UNSEEN]),
        ("4", {"target": {"kind": "kserve"}}, "PASS", [JUDGED, BACK, LOOKS, UNSEEN]),
        (
            "4",
            {"target": HTTP_ROUTE, "strategy": "all_at_once", "rollback": {"window": 0}},
            "PASS",
            [JUDGED, "nobody watches the version after its promotion", UNSEEN],
        ),
        ("4", {"target": SAGEMAKER}, "PASS", [JUDGED, BACK, LOOKS, UNSEEN]),
        (
            "4",
            {"target": SAGEMAKER | {"mode": "guardrail", "alarms": ["errors"]}},
            "PASS",
            [
                "the alarms errors judge the update",
                "the alarms watch the update alone: nobody watches the version once SageMaker has finished it",
            ],
        ),
    ],
)
def test_who_notices_bad_answers_and_until_when_is_said_before_they_come(
    champion: str | None, declared: dict[str, Any], result: str, why: list[str]
) -> None:
    outcome, reasons = item_of("5 error handling", stands={"champion": champion}, declared=declared)
    assert outcome == result
    for said, expected in zip(reasons, why, strict=False):
        assert said.startswith(expected.partition(", until")[0])
    assert len(reasons) >= len(why)


def test_the_guard_names_the_limits_that_it_enforces() -> None:
    metrics = [
        {"name": "slow", "event": "slow", "over_ms": 100, "max_rate": 0.05},
        {"name": "slower", "event": "slow", "over_ms": 300, "max_ratio": 2.0},
        {"name": "errors", "event": "bad", "max_rate": 0.05},
    ]
    why = item_of("5 error handling", declared={"analysis": {"metrics": metrics}})[1]
    assert why == ["guard at 1.00% bad answers, over 100 ms, deadline 1000 ms, lease 900 s", BACK]


def test_a_guarded_update_needs_alarms_whatever_its_strategy() -> None:
    target = SAGEMAKER | {"mode": "guardrail"}
    assert item_of("5 error handling", declared={"strategy": "all_at_once", "target": target})[0] == "FAIL"
    assert item_of("5 error handling", declared={"target": target})[0] == "FAIL"


@pytest.mark.parametrize("champion", [None, "4"])
@pytest.mark.parametrize("strategy", ["canary", "all_at_once", "shadow", "blue_green"])
def test_a_declared_load_test_is_run_whatever_the_strategy_and_for_first_versions_too(
    champion: str | None, strategy: str
) -> None:
    tested = item_of("6 load test", stands={"champion": champion}, declared=LOAD | {"strategy": strategy})
    assert tested == ("PASS", ["50 requests/s for 60 s, before any traffic"])


SHORT = "cannot be shown by 4000 requests after the ramp, even without a bad one:"


def test_a_load_test_that_is_too_short_says_which_duration_would_do() -> None:
    declared = {"load_test": LOAD["load_test"] | {"duration": 100, "ramp_up_time": 20}}
    assert item_of("6 load test", {"load_test_needs": {"p99": 4000}}, declared=declared)[0] == "PASS"
    result, why = item_of("6 load test", {"load_test_needs": {"p99": 4001}}, declared=declared)
    assert (result, why) == (
        "FAIL",
        [f"p99 {SHORT} 4001 are needed; declare duration: 101", "50 requests/s for 100 s, before any traffic"],
    )


@pytest.mark.parametrize(
    ("digest", "approved", "result", "why"),
    [
        (DIGEST, DIGEST, "PASS", "all digests match, no pickle, the bundle was built from model aaaaaaaaaaaa…"),
        (DIGEST, None, "PASS", "all digests match, no pickle, the bundle was built from model aaaaaaaaaaaa…"),
        (OTHER, DIGEST, "FAIL", "the approval is of model aaaaaaaaaaaa…, the registered file is bbbbbbbbbbbb…"),
        (None, DIGEST, "UNKNOWN", "the digest of the registered model could not be read"),
    ],
)
def test_the_registered_file_is_the_approved_one(
    digest: str | None, approved: str | None, result: str, why: str
) -> None:
    assert item_of("7 security", {"model_digest": digest}, {"approval_digest": approved}) == (result, [why])


DRILL: dict[str, Any] = {"rollback": {"drill": "0 5 * * 1"}}
RESTORED = "version 4 can be restored for 3600 s after the promotion"


@pytest.mark.parametrize(
    ("stands", "declared", "result", "why"),
    [
        ({"champion": None}, DRILL, "WAIVED", ["first version: there is no version to roll back to"]),
        ({}, {}, "PASS", [RESTORED, "no drill is declared"]),
        (
            {"drillable": False},
            DRILL,
            "PASS",
            [RESTORED, "no drill yet: no version before 4 could serve as its candidate"],
        ),
        ({}, DRILL, "UNKNOWN", ["rollback.drill is declared, but the ledger has no drill; run one", RESTORED]),
        ({"drill": "pass"}, DRILL, "PASS", [RESTORED, "the last rollback drill passed"]),
        (
            {"drill": "fail"},
            DRILL,
            "FAIL",
            ["the last rollback drill has outcome fail; correct the cause and run it again", RESTORED],
        ),
        (
            {},
            {"rollback": {"window": 1}},
            "PASS",
            ["version 4 can be restored for 1 s after the promotion", "no drill is declared"],
        ),
    ],
)
def test_the_way_back_is_described(
    stands: dict[str, Any], declared: dict[str, Any], result: str, why: list[str]
) -> None:
    assert item_of("8 rollback", stands=stands, declared=declared) == (result, why)


@pytest.mark.parametrize(
    ("may", "stands", "why"),
    [
        (["ann"], {"by_hand": False, "deployer": "eve"}, "triggered by an approval, not manually"),
        ([], {"by_hand": True, "deployer": "eve"}, "eve; deployment.approval.deployers is empty"),
        ([], {"by_hand": True}, "an unnamed person; deployment.approval.deployers is empty"),
        (["ann"], {"by_hand": True, "deployer": "ann"}, "ann is among deployment.approval.deployers"),
        (
            ["ann", "bob"],
            {"by_hand": True, "deployer": "eve"},
            "eve is not among deployment.approval.deployers (ann, bob)",
        ),
        (["ann"], {"by_hand": True}, "an unnamed person is not among deployment.approval.deployers (ann)"),
    ],
)
def test_who_deploys_is_named(may: list[str], stands: dict[str, Any], why: str) -> None:
    declared = {"approval": {"requires_approval": False, "deployers": may}}
    assert item_of("who may deploy", stands=stands, declared=declared)[1] == [why]


LEADS = {"approval": {"approvers": [{"role": "ml_lead", "users": ["ada", "grace"]}], "timeout": 60}}


@pytest.mark.parametrize(
    ("stands", "result", "why"),
    [
        ({"users_known": True}, "PASS", ["ml_lead: ada, grace (1 needed)"]),
        (
            {"users_known": True, "authors": ["ada"]},
            "PASS",
            ["ml_lead: grace (1 needed)", "not ada, who trained or started it"],
        ),
        (
            {"users_known": True, "authors": ["joe"], "unable": {"grace": "is not a user of Airflow"}},
            "WARNING",
            ["grace is not a user of Airflow", "ml_lead: ada (1 needed)"],
        ),
        (
            {"users_known": True, "authors": ["ada"], "unable": {"grace": "has the role viewer and cannot answer"}},
            "FAIL",
            ["ml_lead needs 1 and has nobody", "grace has the role viewer and cannot answer"],
        ),
        ({"authors": ["ada", "grace"]}, "FAIL", ["ml_lead needs 1 and has nobody", "without ada, grace, who trained"]),
        ({}, "PASS", ["ml_lead: ada, grace (1 needed)", "this task cannot read whether they are users of Airflow"]),
    ],
)
def test_nobody_who_could_approve_is_told_before_anything_is_tested(
    stands: dict[str, Any], result: str, why: list[str]
) -> None:
    outcome, reasons = item_of("who may approve", stands=stands, declared=LEADS)
    assert outcome == result
    assert all(told.startswith(expected) for told, expected in zip(reasons, why, strict=False)), reasons


def test_a_version_that_nobody_may_approve_is_refused() -> None:
    verdict = judged(found(), standing(authors=["ada", "grace"]), spec(**LEADS))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0] == "who may approve: ml_lead needs 1 and has nobody"


def at(per_day: float) -> LoggedTraffic:
    return LoggedTraffic(requests=1, since=NOON, until=NOON, per_day=per_day)


def stage(**changes: Any) -> list[StageDesign]:
    return [StageDesign(**{"share": 250, "requests_to_pass": 5000, "seconds": 86400} | changes)]


@pytest.mark.parametrize(
    ("measured", "result", "why"),
    [
        ({"design": stage(), "traffic": at(5000)}, "PASS", "at 2.5 %: 5000 requests to pass; 1 days at 5000 a day"),
        (
            {"design": stage(), "traffic": at(2500)},
            "WARNING",
            "at 2.5 %: 5000 requests to pass; 2 days at 2500 a day > 1 days, the stage's maximum",
        ),
        (
            {"design": stage(share=0, requests_to_find=7), "traffic": at(10_000)},
            "PASS",
            "in the shadow: 5000 requests to pass, 7 to detect the expected harm; 0.5 days at 10000 a day",
        ),
    ],
)
def test_a_stage_can_be_decided_if_its_requests_come_within_its_time(
    measured: dict[str, Any], result: str, why: str
) -> None:
    assert item_of("design", measured) == (result, [why])


def test_without_traffic_the_requests_are_still_foretold() -> None:
    result, (asked, estimate) = item_of("design", {"design": stage(), "traffic": None})
    assert (result, estimate) == ("WARNING", "at 2.5 %: 5000 requests to pass")
    assert asked == (
        "nobody asked the gateway for flight_delay in the last seven days: send its callers' requests to POST"
        " /models/flight_delay/invocations, or deploy without a trial (strategy: all_at_once); the trial's duration is"
        " UNKNOWN"
    )

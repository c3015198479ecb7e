"""The summary tells what the tables, the registry, the ledger and the endpoint say, and names what does not answer."""

from __future__ import annotations

import argparse
import json
import re
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from rich.console import Console
from rich.text import Text

from pipelines.cli import status
from pipelines.cli.hanging_lines import print_hanging
from pipelines.cli.status_page import render_summary
from pipelines.cli.view_page import render_view, view_facts
from pipelines.errors import Refused, Unavailable
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutState
from pipelines.ports import LedgerEntry, VersionInfo
from pipelines.spec.catalog import Catalog
from pipelines.spec.features import Constraints
from pipelines.testing.ports import FakePorts, MemoryStore, NoIncidents
from tests.declared import shipped_model
from tests.practices.landing import dataset
from tests.steps.built_features import build_view
from tests.steps.flights_by_hand import catalog, limited, random_days

MODEL = shipped_model()
FIRST, SECOND = date(2013, 1, 1), date(2013, 1, 2)


class Lines:
    """A ledger of given lines."""

    def __init__(self, lines: list[tuple[str, str | None, dict[str, Any]]]) -> None:
        self.lines = [
            LedgerEntry(
                number=number,
                at=datetime(2013, 1, 3, tzinfo=UTC),
                kind=kind,
                model="flight_delay",
                version=version,
                actor="test",
                details=details,
                previous="",
                digest="",
            )
            for number, (kind, version, details) in enumerate(lines)
        ]

    def entries(self) -> list[LedgerEntry]:
        return self.lines


class Versions:
    def versions(self, model: str) -> list[VersionInfo]:
        return [
            VersionInfo(
                model=model,
                version="2",
                run_id="r",
                source="s",
                semantic="1.0.1",
                aliases=("champion",),
                tags={"airworthy.status": "approved"},
                metrics={"test_roc_auc": 0.7012, "test_log_loss": 0.41, "train_rows": 9000},
            )
        ]


class Live:
    def state(self, model: str) -> LiveState:
        if model != "flight_delay":
            return LiveState(model=model)
        return LiveState(model=model, version="2", previous="1", generation=4, workers=2)

    def rollout(self, model: str) -> RolloutState:
        return RolloutState(
            model=model,
            generation=5,
            champion="2",
            candidate="3",
            split={"2": 9500, "3": 500},
            rollout_id="r-7",
            phase="PAUSED",
            reason="too few [keys]",
            probe="secret",
        )


class Silent:
    """A port behind which nobody answers."""

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: Any, **__: Any) -> None:
            raise Unavailable("nobody answers at http://127.0.0.1:1")

        return refuse


def gate(name: str, outcome: str, *reasons: str) -> tuple[str, str, dict[str, Any]]:
    return "gate", "2", {"gate": name, "outcome": outcome, "reasons": list(reasons)}


def checked(day: str, outcome: str, *drifting: str) -> tuple[str, str, dict[str, Any]]:
    facts = {"drifting": list(drifting), "prediction_drift": outcome}
    reasons = [f"{name} drifts" for name in drifting]
    return (
        "monitoring_verdict",
        "2",
        {"check": "drift_check", "day": day, "outcome": outcome, "reasons": reasons, "facts": facts},
    )


LEDGER = [
    gate("slice_gate", "fail", "carrier=YV lost 0.08 > 0.05"),
    gate("slice_gate", "pass"),
    gate("minimum_metrics_gate", "pass"),
    checked("2013-02-02", "fail", "temp", "dewp"),
    checked("2013-02-01", "fail", "temp"),
    ("retrain_request", None, {"day": "2013-02-02", "reasons": ["data_drift detected on 3 checked days"]}),
]


@pytest.fixture
def ports() -> SimpleNamespace:
    declared = dataset()
    sources = {name: declared.sources[name] for name in ("flights", "weather")}
    catalog = Catalog(
        datasets={"flights": declared.model_copy(update={"sources": sources})},
        models={"flight_delay": MODEL},
        refused={"models/typo.yaml": Refused("typo.yaml has 1 fault(s)", ["trainign: unknown field"])},
    )
    store = MemoryStore()
    for day, flights, reasons in (
        (FIRST, [1, 2], ["no tail number"]),
        (SECOND, [3], ["no tail number", "distance below 1"]),
    ):
        store.replace_partition("validated/flights.flights", day, pl.DataFrame({"flight": flights}))
        store.replace_partition("quarantine/flights.flights", day, pl.DataFrame({"flight": [9], "reasons": [reasons]}))
    made = SimpleNamespace(catalog=catalog, store=store, registry=Versions(), ledger=Lines(LEDGER), endpoint=Live())
    made.incidents, made.clock = NoIncidents(), lambda: datetime(2013, 1, 5, tzinfo=UTC)
    made.target = lambda model: made.endpoint
    return made


def page(ports: Any, width: int = 200) -> str:
    console = Console(file=StringIO(), width=width)
    status.print_summary(ports, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def page_of_model(ports: Any, width: int = 200) -> str:
    console = Console(file=StringIO(), width=width)
    status.print_model("flight_delay", ports, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_days_and_rows_are_counted_per_source_with_every_reason_of_quarantine(ports: Any) -> None:
    flights = status.summary(ports)["datasets"]["flights"]["flights"]
    assert flights == {
        "partitions": 2,
        "first": "2013-01-01",
        "last": "2013-01-02",
        "accepted": 3,
        "quarantined": 2,
        "reasons": {"no tail number": 2, "distance below 1": 1},
        "not_ingested": [],
        "refused": [],
        "not_validated": [],
        "outside": [],
    }


def landed(ports: Any, *keys: str) -> None:
    for key in keys:
        ports.store.put(f"landing/flights/flights/{key}/_manifest.json", b"{}")


def test_what_landed_and_is_in_no_table_is_told_with_why(ports: Any, capsys: pytest.CaptureFixture[str]) -> None:
    landed(ports, "2013-01-01", "2013-01-03", "2013-01-04", "2013-01-05", "2014-02-01", "january")
    ports.store.put("landing/flights/flights/2013-01-06/flights.csv", b"the manifest is not there yet")
    for key in ("2013-01-01", "2013-01-03"):
        ports.store.put(f"receipts/raw/flights.flights/{key}.json", b"{}")
    ports.store.put("receipts/flights/2013-01-05.json", b'{"outcome": "refused"}')
    facts = status.summary(ports)["datasets"]["flights"]["flights"]
    assert facts["not_ingested"] == ["2013-01-04", "2013-01-05"]
    assert facts["refused"] == ["2013-01-05"]
    assert facts["not_validated"] == ["2013-01-03"]
    assert facts["outside"] == ["2014-02-01", "january"]
    shown = page(ports)
    for text in (
        "flights landed, not ingested: 2013-01-04",
        "flights landed, and refused: 2013-01-05",
        "flights ingested, not validated: 2013-01-03",
        "flights landed outside the declared partitions, so that nothing reads them: 2 partitions, 2014-02-01 to",
    ):
        assert text in shown, text
    assert "weather landed" not in shown


def test_a_dataset_is_told_alone_with_every_partition_that_waits(
    ports: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    landed(ports, *(f"2013-01-{day:02}" for day in range(3, 20)))
    assert status.run(argparse.Namespace(json=False, name="flights"), ports) == 0
    shown = capsys.readouterr().out
    assert "Data: flights" in shown
    assert all(f"2013-01-{day:02}" in shown for day in range(3, 20))
    assert "Model:" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert status.run(argparse.Namespace(json=True, name="flights"), ports) == 0
    assert len(json.loads(capsys.readouterr().out)["datasets"]["flights"]["flights"]["not_ingested"]) == 17


def test_a_source_that_never_arrived_has_no_days(ports: Any) -> None:
    weather = status.summary(ports)["datasets"]["flights"]["weather"]
    assert (weather["partitions"], weather["first"], weather["accepted"]) == (0, None, 0)


def test_a_gate_asked_twice_is_told_by_its_last_answer(ports: Any) -> None:
    gates = status.summary(ports)["models"]["flight_delay"]["gates"]
    assert {one["gate"]: one["outcome"] for one in gates} == {"slice_gate": "pass", "minimum_metrics_gate": "pass"}


def test_the_last_checked_day_is_the_latest_data_day_whatever_the_order_of_checking(ports: Any) -> None:
    model = status.summary(ports)["models"]["flight_delay"]
    assert model["monitoring"]["drift_check"]["day"] == "2013-02-02"
    assert model["drifted"] == {"temp": 2, "(predictions)": 2, "dewp": 1}
    assert model["retrain_requests"][0]["day"] == "2013-02-02"


def released(version: str, previous: str | None = None) -> tuple[str, str, dict[str, Any]]:
    return "release", version, {"previous": previous}


def test_a_verdict_names_its_version_window_and_age_and_one_of_a_former_version_is_history(ports: Any) -> None:
    former = checked("2013-02-03", "fail", "temp")
    window = {"window": ["2013-01-27", "2013-02-02"]}
    own = checked("2013-02-02", "pass")
    ports.ledger = Lines(
        [released("1"), (former[0], "1", former[2]), released("2", "1"), (own[0], "2", own[2] | window)]
    )
    model = status.summary(ports)["models"]["flight_delay"]
    assert {check: (facts["version"], facts["outcome"]) for check, facts in model["monitoring"].items()} == {
        "drift_check": ("2", "pass")
    }
    assert [(facts["check"], facts["version"], facts["outcome"]) for facts in model["history"]] == [
        ("drift_check", "1", "fail")
    ]
    assert model["drifted"] == {}
    lines = "\n".join(map(str, render_summary(status.summary(ports), datetime(2013, 1, 5, tzinfo=UTC))))
    assert "(version 2, days 2013-01-27 to 2013-02-02, measured 2 days ago; 1 day judged)" in lines
    assert "history, of versions that are not live: drift_check FAIL of 2013-02-03 (version 1, measured 2 day" in lines


def test_a_version_that_was_taken_back_says_when_by_whom_and_why_and_what_a_rollback_would_do(ports: Any) -> None:
    back = {"from": "2", "to": "1", "reason": "late flights look punctual", "traffic": 10_000}
    ports.ledger = Lines([released("1"), released("2", "1"), ("rollback", "2", back), released("3", "1")])
    ports.endpoint = SimpleNamespace(
        state=lambda model: LiveState(model=model, version="3", previous="1"),
        rollout=lambda model: RolloutState(
            model=model, generation=5, champion="3", previous="1", split={}, rollout_id="r3", phase="SUCCEEDED"
        ),
    )
    shown = page(ports)
    assert "version 2: rolled back 2013-01-03 00:00 UTC by test: late flights look punctual" in shown
    assert "a rollback now: takes version 3 back, version 1 answers next" in shown
    ports.endpoint.rollout = lambda model: RolloutState(
        model=model, generation=5, champion="3", previous="2", split={}, rollout_id="r3", phase="SUCCEEDED"
    )
    assert "version 2 was itself taken back 2013-01-03 00:00 UTC by test: late flights" in page(ports)


def test_a_registry_that_disagrees_with_the_target_is_named(ports: Any) -> None:
    ports.ledger = Lines([released("1"), released("2", "1")])
    ports.registry.versions = lambda model: []
    told = status.summary(ports)["models"]["flight_delay"]["disagreements"]
    assert [text.partition(":")[0] for text in told] == [
        "version 2 in the registry is missing, but the target serves version 2"
    ]
    shown = page(ports)
    assert "disagreement: version 2 in the registry is missing" in shown


def test_the_newest_rollout_names_its_version_also_when_it_has_ended(ports: Any) -> None:
    prepared = {"practice": "candidate_preparation", "outcome": "pass", "rollout_id": "r-7", "champion": "2"}
    ports.ledger = Lines([released("2"), ("rollout", "3", prepared)])
    ended: dict[str, Any] = {"rollout_id": "r-7", "phase": "ROLLED_BACK", "reason": "30 of 100 failed"}
    ports.endpoint.rollout = lambda model: RolloutState(model=model, generation=6, champion="2", split={}, **ended)
    shown = page(ports)
    assert "rollout r-7: ROLLED_BACK: version 3 (30 of 100 failed)" in shown
    assert "disagreement: the ledger's staged version is 3, but rollout r-7 is ROLLED_BACK" in shown


def test_a_rollout_that_failed_in_the_shadow_says_why_once_on_one_screen(ports: Any) -> None:
    why = "compare_in_shadow failed: nobody asked the gateway for flight_delay in the 121 s of its shadow"
    prepared = {"practice": "candidate_preparation", "outcome": "pass", "rollout_id": "r-7", "champion": "2"}
    back = {"from": "3", "to": "2", "reason": why, "traffic": 0, "rollout_id": "r-7", "by": "run"}
    ports.ledger = Lines([released("2"), ("rollout", "3", prepared), ("rollback", "3", back)])
    registered = VersionInfo(model="flight_delay", version="3", run_id="r", source="s")
    ports.registry.versions = lambda model: [registered, *Versions().versions(model)]
    ended: dict[str, Any] = {"rollout_id": "r-7", "phase": "ROLLED_BACK", "reason": why}
    ports.endpoint.rollout = lambda model: RolloutState(model=model, generation=6, champion="2", split={}, **ended)
    for shown in (page(ports, width=80), page_of_model(ports, width=80)):
        assert max(map(len, shown.splitlines())) <= 80
        text = " ".join(shown.split())
        assert f"version 3: failed before traffic 2013-01-03 00:00 UTC by run: {why}" in text
        assert text.count("nobody asked the gateway") == 1
        assert "rollout r-7: ROLLED_BACK: version 3" in text


def test_a_ledger_that_does_not_answer_is_no_disagreement(ports: Any) -> None:
    ports.ledger = Silent()
    told = status.summary(ports)
    model = told["models"]["flight_delay"]
    assert set(told["unreachable"]) == {"ledger"}
    assert (model["disagreements"], model["outdated_tags"], model["live"]["version"]) == ([], [], "2")
    assert model["worth"] is None, "a ledger that does not answer is not one without releases"
    assert "releases a month" not in page_of_model(ports)


def test_what_does_not_answer_is_named_and_the_rest_is_told(ports: Any) -> None:
    ports.registry, ports.endpoint = Silent(), Silent()
    told = status.summary(ports)
    assert set(told["unreachable"]) == {"registry", "endpoint (flight_delay)"}
    assert told["models"]["flight_delay"]["versions"] == []
    assert told["datasets"]["flights"]["flights"]["accepted"] == 3
    assert "nobody answers" in page(ports)
    assert "live: not known, the endpoint did not answer\n" in page(ports)
    ports.ledger = Lines([released("1"), released("2", "1"), *LEDGER])
    assert "live: not known, the endpoint did not answer; by the ledger version 2\n" in page(ports)


def test_a_person_reads_rows_metrics_gates_the_live_version_and_what_drifted(ports: Any) -> None:
    shown = page(ports)
    for part in (
        "no tail number 2",
        "2 (1.0.1)",
        "champion",
        "0.7012",
        "2/4",
        "live: version 2, previous 1",
        "rollout r-7: PAUSED: version 3 at 5 % of the traffic (too few [keys])",
        "drift_check of 2013-02-02: FAIL",
        "drifted (days): temp 2",
        "retraining requested on 2013-02-02: data_drift detected on 3 checked days",
        "models/typo.yaml is left out:",
    ):
        assert part in shown


def test_records_of_the_prediction_log_that_cannot_be_converted_are_shown(ports: Any) -> None:
    assert "prediction log" not in page(ports)
    ports.endpoint = SimpleNamespace(
        state=lambda model: LiveState(model=model, version="2", log_set_aside=3), rollout=Live().rollout
    )
    assert "prediction log: 3 records cannot be converted; they are kept in the gateway's state folder" in page(ports)


def test_text_that_looks_like_markup_is_shown_as_it_is(ports: Any) -> None:
    ports.ledger = Lines([gate("slice_gate", "fail", "interval [-0.1, 0.2] reaches below [red]")])
    assert "interval [-0.1, 0.2] reaches below [red]" in page(ports)


def test_nothing_at_all_is_told_as_nothing(ports: Any) -> None:
    ports.store, ports.ledger, ports.registry = MemoryStore(), Lines([]), Versions()
    ports.endpoint = SimpleNamespace(state=lambda model: LiveState(model=model))
    shown = page(ports)
    assert "live: nothing" in shown
    assert "no day was checked yet" in shown


def test_the_json_is_for_a_program(ports: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.run(argparse.Namespace(json=True, name=None), ports) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(status.summary(ports), default=str))


def test_the_secret_of_a_candidates_probes_is_told_to_nobody(ports: Any) -> None:
    assert "secret" not in json.dumps(status.summary(ports), default=str)


def test_every_part_of_the_summary_is_drawn(ports: Any) -> None:
    assert len(list(render_summary(status.summary(ports)))) >= 5


def test_gates_are_counted_on_the_screen_of_all_models_and_only_failures_are_named(ports: Any) -> None:
    ports.ledger = Lines([gate("slice_gate", "pass"), gate("minimum_metrics_gate", "fail", "pr_auc 0.27 < 0.30", "x")])
    shown = page(ports)
    assert "1/4" in shown
    assert "version 2, minimum_metrics_gate: FAIL: pr_auc 0.27 < 0.30" in shown
    assert "slice_gate" not in shown


def test_gates_are_ticked_once_none_is_missing_and_a_rollback_is_no_gate(ports: Any) -> None:
    passed = [gate(name, "pass") for name in REQUIRED_GATES]
    ports.ledger = Lines([*passed, gate("release_rollback", "fail", "there is no version to go back to")])
    assert "4/4 ✓" in page(ports)
    assert "release_rollback" not in page(ports) + page_of_model(ports)
    ports.ledger = Lines(passed[1:])
    assert "3/4" in page(ports)


def test_a_check_says_on_how_many_days_it_has_judged_and_not_how_often_others_have(ports: Any) -> None:
    waiting = ("monitoring_verdict", "2", {"check": "performance_check", "day": "2013-02-01", "outcome": "unknown"})
    judged = ("monitoring_verdict", "2", {"check": "performance_check", "day": "2013-02-02", "outcome": "pass"})
    ports.ledger = Lines([checked("2013-02-01", "pass"), checked("2013-02-02", "fail"), waiting, judged])
    shown = page(ports)
    assert re.search(r"drift_check of 2013-02-02: FAIL \(.*; 2 days judged\)", shown)
    assert re.search(r"performance_check of 2013-02-02: PASS \(.*; 1 day judged\)", shown)


def test_one_model_is_told_in_full(ports: Any) -> None:
    ports.ledger = Lines([*LEDGER, gate("minimum_metrics_gate", "fail", "pr_auc 0.27 < 0.30", "log_loss 0.7 > 0.6")])
    shown = page_of_model(ports)
    for part in (
        "version 2 (1.0.1): live, champion",
        "test: roc_auc 0.7012, log_loss 0.4100",
        "slice_gate: PASS",
        "minimum_metrics_gate: FAIL",
        "- pr_auc 0.27 < 0.30",
        "- log_loss 0.7 > 0.6",
        "drift_check of 2013-02-02: FAIL",
        "serving cost: not known, the model declares no worth.serving_day",
        "models/typo.yaml is left out:",
    ):
        assert part in shown, part
    assert "Data:" not in shown


def many(ports: Any) -> None:
    """A model with twelve versions that six gates judged, and a check with twenty reasons."""
    facts = {"run_id": "r", "source": "s", "tags": {"airworthy.status": "failed_before_traffic"}}
    metrics = {f"test_{name}": 0.123456 for name in ("roc_auc", "pr_auc", "log_loss", "f1", "accuracy", "recall")}
    names = [str(number) for number in range(12, 0, -1)]
    versions = [
        VersionInfo(model="flight_delay", version=name, semantic=f"10.20.{name}", metrics=metrics, **facts)
        for name in names
    ]
    ports.registry.versions = lambda model: versions
    outcomes = [("preflight_checklist", "pass"), ("champion_comparison_gate", "fail"), ("slice_gate", "unknown")]
    judged = [("gate", name, {**gate(*each)[2], "reasons": ["a reason"]}) for name in names for each in outcomes]
    drifting = [f"carrier_departure_delay_mean_{number}h" for number in range(20)]
    ports.ledger = Lines([*judged, checked("2013-02-02", "fail", *drifting)])


def test_all_models_fit_one_screen_of_80_columns(ports: Any) -> None:
    many(ports)
    lines = page(ports, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40, "with every list at its longest"
    rows = [line for line in lines if line.strip().startswith(("12 (", "11 (", "10 ("))]
    assert [len(row.split("0.1235")) for row in rows] == [2, 2, 2], "a version is one row, and no cell is cut off"
    assert "…" not in "".join(lines)
    assert "and 9 older" in "".join(lines)
    assert "- and 18 more" in "".join(lines)


def test_an_older_version_that_an_alias_names_is_on_the_screen(ports: Any) -> None:
    many(ports)
    versions = ports.registry.versions("flight_delay")
    versions[9] = versions[9].model_copy(update={"aliases": ("champion",)})
    shown = page(ports, width=80)
    assert "3 (10.20.3)" in shown
    assert "and 8 older" in shown


def test_a_pipe_of_a_declared_width_gets_that_width(ports: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    many(ports)
    monkeypatch.setenv("COLUMNS", "80")
    assert status.run(argparse.Namespace(json=False, name=None), ports) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_model_that_there_is_not_is_refused(ports: Any) -> None:
    ports.catalog = Catalog.read(Path(__file__).parents[2] / "include")
    with pytest.raises(
        Refused,
        match="no model or dataset nosuch; there are arrival_delay_minutes, buys_again, flight_delay, flights, shop",
    ):
        status.run(argparse.Namespace(json=False, name="nosuch"), ports)


@pytest.mark.parametrize("width", [30, 80, 200])
def test_what_does_not_fit_a_line_goes_on_below_it_indented_more_and_loses_no_word(
    capsys: pytest.CaptureFixture[str], width: int
) -> None:
    words = "performance_check of 2013-03-05: PASS (version 1, days 2013-02-27 to 2013-03-05, measured just now)"
    console = Console(width=width, color_system=None)
    print_hanging(f"  {words}", console)
    first, *further = capsys.readouterr().out.splitlines()
    assert first.startswith("  perf")
    assert all(line.startswith("    ") and line[4] != " " for line in further)
    assert " ".join([first, *further]).split() == words.split()
    assert max(map(len, [first, *further])) <= width


def test_features_that_are_stale_refused_or_not_built_are_told_with_why(tmp_path: Path) -> None:
    days = [date(2013, 6, 3) + timedelta(number) for number in range(4)]
    frames = random_days(4, days[0], days=4, per_day=5)
    made = FakePorts.make(tmp_path, catalog=catalog(view=limited(distance=Constraints(min=1))))

    def publish(day: date, distance: int) -> None:
        rows = frames["flights"].filter(day=day).drop("day").with_columns(distance=pl.lit(distance))
        made.store.replace_partition("validated/flights.flights", day, rows)

    for day, distance in zip(days[:3], (100, -5, 100), strict=True):
        publish(day, distance)
        build_view(made, "flight_delay", day)
    publish(days[0], 200)
    publish(days[3], 100)
    facts = view_facts(made.catalog.view("flight_delay"), made)
    assert next(iter(facts["stale"])) == f"{days[0]}"
    assert [*facts["refused"]] == [f"{days[1]}"]
    assert facts["not_built"] == [f"{days[3]}"]
    lines = [Text.from_markup(line).plain for line in render_view("flight_delay", facts)]
    assert lines[0].startswith("  features flight_delay stale: ")
    assert lines[0].endswith("built before validated/flights.flights changed; the next build takes them up")
    assert lines[1].startswith(f"  features flight_delay refused: {days[1]}: distance: minimum -5 < ")
    assert lines[2] == f"  features flight_delay validated, not built: {days[3]}"

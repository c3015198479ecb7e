"""A shadow and an A/B test from the first request to the verdict, on a gateway that really answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from airflow.sdk.exceptions import TaskDeferred

from pipelines import store_paths
from pipelines.adapters.gateway.rollouts import GatewayRollouts
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Refused
from pipelines.messages.rollout import RolloutTicket
from pipelines.rollout.from_spec import target_plan
from pipelines.spec.deployment import Deployment, RoutingSpec
from pipelines.spec.strategy import AbTestSpec as Experiment
from pipelines.spec.strategy import Analysis, Shadow
from pipelines.steps import measure_experiment, measure_shadow
from practices._rollouts.stage_operator import ComparisonPractice
from practices.ab_test import AbTest
from practices.shadow_comparison import ShadowComparison
from tests.practices.practice_harness import MODEL, PracticeHarness
from tests.serving.candidates import write_candidate
from tests.serving.gateway_process import COLUMNS, PATIENCE, Gateway

DAY = date(2013, 3, 1)
HOUR = datetime(2013, 3, 1, 17, tzinfo=UTC)
ROW = ["UA", 500.0, 7.0]


class Comparison:
    """A version is prepared beside version 4, which answers 0.5 to everybody."""

    def __init__(
        self, harness: PracticeHarness, gateway: Gateway, declared: Deployment, version: str, answer: float
    ) -> None:
        folder, self.version, self.rollout_id = gateway.folder, version, f"r{version}"
        self.field, self.gateway, self.http = harness, gateway, httpx.Client(base_url=gateway.base)
        self.target = GatewayRollouts(gateway.base, gateway.admin)
        harness.rollouts = harness.endpoint = self.target  # type: ignore[assignment]
        harness.store = DeltaStore(str(gateway.store))  # type: ignore[assignment]
        harness.clock = lambda: datetime.now(UTC)  # type: ignore[assignment]
        harness.answers["measure_shadow"] = lambda request: measure_shadow.run(request, harness)  # type: ignore[arg-type]
        harness.answers["measure_experiment"] = lambda request: measure_experiment.run(request, harness)  # type: ignore[arg-type]
        spec = harness.declare(deployment=declared)
        if self.target.state(MODEL).version is None:
            gateway.release("4", write_candidate(folder, "4", answer=0.5)).raise_for_status()
        plan, state = target_plan(spec, supersede=True), self.target.rollout(MODEL)
        key, (bundle, sha256) = self.rollout_id, write_candidate(folder, version, answer=answer)
        state = self.target.create_rollout(MODEL, key, plan, expect=state.generation, key=f"{key}/create")
        self.target.prepare(MODEL, key, version, bundle, sha256, expect=state.generation, key=f"{key}/prepare")
        named = {"version": version, "bundle": bundle, "sha256": sha256, "model_digest": "d"}
        self.ticket = RolloutTicket(model=MODEL, rollout_id=key, champion="4", **named)
        harness.pass_checklist(self.ticket)

    def ask(self, user: str = "", entity: str | None = None) -> str:
        """Ask once, about an entity two hours ahead; returns the arm that answered."""
        content: dict[str, Any] = {"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}
        headers = {"x-user-id": user}
        if entity:
            content["ids"], headers["x-prediction-time"] = [entity], (HOUR - timedelta(hours=2)).isoformat()
        answer = self.http.post("/invocations", content=json.dumps(content), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-model-arm"]

    def try_once(self, practice: type[ComparisonPractice]) -> dict[str, Any] | None:
        """The verdict of one try; None: it waits for its next look."""
        task = practice(task_id="compare", model=MODEL, ticket=self.ticket.model_dump(mode="json", by_alias=True))
        try:
            return task.execute(self.field.context("deploy", "compare"))
        except TaskDeferred:
            return None

    def until(self, practice: type[ComparisonPractice], seconds: float = PATIENCE) -> dict[str, Any]:
        """The verdict, however many looks it takes."""
        deadline = time.monotonic() + seconds
        while (verdict := self.try_once(practice)) is None:
            assert time.monotonic() < deadline, self.target.counts(MODEL, self.rollout_id)
            time.sleep(0.2)
        return verdict


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway")).start()
    yield running
    running.stop()


@pytest.fixture
def compare(harness: PracticeHarness, gateway: Gateway) -> Iterator[Callable[..., Comparison]]:
    begun: list[Comparison] = []

    def begin(declared: Deployment, version: str, *, answer: float) -> Comparison:
        begun.append(Comparison(harness, gateway, declared, version, answer))
        return begun[-1]

    yield begin
    for one in begun:
        one.http.close()
        one.target.close()


def shadowing(**changes: Any) -> Deployment:
    return Deployment(strategy="shadow", shadow=Shadow(duration=0.5, minimum_compared=300, **changes))


def test_a_candidate_that_agrees_with_the_champion_leaves_the_shadow_with_a_report(
    compare: Callable[..., Comparison],
) -> None:
    one = compare(shadowing(), "5", answer=0.52)
    assert one.try_once(ShadowComparison) is None
    assert {one.ask() for _ in range(400)} == {"champion"}
    verdict = one.until(ShadowComparison)
    facts = verdict["facts"]
    assert (verdict["outcome"], facts["compared"], facts["disagreed"], facts["coverage"]) == ("pass", 400, 0, 1.0)
    assert one.field.store.get(facts["picture"]).startswith(b"\x89PNG")
    assert json.loads(one.field.store.get(facts["report"]))["flipped"] == 0
    state = one.target.rollout(MODEL)
    assert (state.phase, state.mirror, state.split) == ("READY", None, {"4": 10_000})


def test_a_candidate_that_differs_is_taken_back_while_nobody_has_heard_it(compare: Callable[..., Comparison]) -> None:
    one = compare(shadowing(), "6", answer=0.9)
    one.try_once(ShadowComparison)
    assert {one.ask() for _ in range(100)} == {"champion"}
    with pytest.raises(Refused, match=r"answers differ by more than 0\.05: more than 0\.05"):
        one.until(ShadowComparison)
    assert (one.target.rollout(MODEL).phase, one.target.rollout(MODEL).mirror) == ("ROLLED_BACK", None)


def test_users_keep_their_version_and_the_better_one_wins_by_what_came_true_for_them(
    compare: Callable[..., Comparison],
) -> None:
    """A third of the flights is late. The champion calls all of them late, the variant none; some users ask often."""
    declared = Deployment(
        strategy="ab",
        ab=Experiment(metrics=["accuracy", "error_rate"], margin=0.2, minimum_sample_size=60, max_duration=600),
        routing=RoutingSpec(key="header:x-user-id"),
        analysis=Analysis(interval=1),
    )
    one = compare(declared, "7", answer=0.1)
    late = np.arange(1500) % 3 == 0
    flights = pl.DataFrame(
        {
            "time_hour": pl.Series([HOUR] * 1500, dtype=pl.Datetime("us", "UTC")),
            "carrier": ["UA"] * 1500,
            "flight": np.arange(1500),
            "origin": ["JFK"] * 1500,
            "dest": ["LAX"] * 1500,
            "arr_delay": np.where(late, 30.0, -5.0),
        }
    )
    one.field.store.replace_partition(store_paths.validated("flights", "flights"), DAY, flights)
    key = one.field.catalog.view_of(MODEL).key
    entities = [
        "|".join("2013-03-01T17:00:00Z" if name == "time_hour" else str(row[name]) for name in key)
        for row in flights.iter_rows(named=True)
    ]
    assert one.try_once(AbTest) is None
    rng, arms = np.random.default_rng(5), {f"user-{number}": set[str]() for number in range(240)}
    flight = iter(rng.permutation(1500))
    for user, asked in zip(arms, rng.geometric(0.35, 240), strict=True):
        for _ in range(min(asked, 12)):
            arms[user].add(one.ask(user, entities[next(flight)]))
    assert all(len(seen) == 1 for seen in arms.values())
    verdict = one.until(AbTest)
    facts = verdict["facts"]
    variant = sum(seen == {"variant"} for seen in arms.values())
    assert (facts["answer"], facts["variant_units"], facts["control_units"]) == ("variant wins", variant, 240 - variant)
    accuracy, errors = facts["metrics"]
    assert (accuracy["variant_units"], accuracy["control_units"]) == (variant, 240 - variant)
    assert accuracy["variant"] == pytest.approx(2 / 3, abs=0.15)
    assert (errors["control"], errors["variant"]) == (0.0, 0.0)
    told = json.loads(one.field.store.get(store_paths.rollout(MODEL, "r7", "experiment.json")))
    assert told["facts"]["recommendation"].startswith("Promote version 7: accuracy: better")
    assert one.field.store.get(facts["picture"]).startswith(b"\x89PNG")
    assert one.target.rollout(MODEL).split == {"4": 5000, "7": 5000}

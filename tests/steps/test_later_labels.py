"""A label that another source delivers later, by the row's key, counts what was known of it, and matures."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipelines import store_paths
from pipelines.messages.training import SnapshotRequest
from pipelines.spec.catalog import Catalog
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.inputs import ViewInputs
from pipelines.steps.labels.read_labels import read_labels
from pipelines.steps.rollouts.log import with_outcomes
from pipelines.steps.take_snapshot import read_snapshot
from pipelines.steps.take_snapshot import run as take_snapshot
from pipelines.tables.entity_id import entity_id
from pipelines.testing.ports import FakePorts

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START, DAYS, WITHIN = date(2024, 3, 1), 40, timedelta(days=5)
END = START + (DAYS - 1) * DAY
SHOP: dict[str, Any] = {
    "schema": 2,
    "dataset": "shop",
    "partition": {"every": "day", "start": START, "end": END, "due": "6h"},
    "sources": {
        "orders": {
            "files": "{source}/{partition}/orders.csv",
            "key": ["order_id"],
            "event_time": "at",
            "known": {"after": "0m"},
            "columns": {"order_id": "string", "customer": "string", "at": "timestamp", "amount": "number"},
        },
        "claims": {
            "files": "{source}/{partition}/claims.csv",
            "key": "row",
            "event_time": "claimed",
            "empty": "allowed",
            "columns": {
                "order_id": "string",
                "customer": "string",
                "claimed": "timestamp",
                "verdict": "string or null",
                "refund": "number or null",
            },
        },
    },
}
VIEW: dict[str, Any] = {
    "schema": 2,
    "view": "order_claim",
    "entity": ["order_id"],
    "rows": {"per": "orders"},
    "label": {"is_claimed": "exists(claims)", "within": "5d"},
    "features": {
        "amount": "own",
        "customer_claim_count_14d": {"aggregate": "count", "of": "claims", "by": "customer", "window": "14d"},
    },
}
MODEL: dict[str, Any] = {"schema": 2, "model": "claim", "view": "order_claim", "target": "is_claimed"}
MOMENT = pl.Datetime("us", "UTC")


def catalog(folder: Path, view: Any = VIEW, model: Any = MODEL) -> Catalog:
    declared = {"datasets/shop": SHOP, "features/order_claim": view, "models/claim": model}
    for name, content in declared.items():
        path = folder / "include" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    return Catalog.read(folder / "include")


def random_shop(seed: int, orders: int = 160) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Some orders are claimed: at once, just within, at and just after five days, twice, without a verdict."""
    chance, begin = random.Random(seed), datetime(*START.timetuple()[:3], tzinfo=UTC)
    delays = [timedelta(0), timedelta(microseconds=1), HOUR, WITHIN, WITHIN + timedelta(microseconds=1), 9 * DAY]
    bought, claimed = [], []
    for number in range(orders):
        at = begin + chance.randrange(30 * 24) * HOUR
        row = {"order_id": f"o{number:03d}", "customer": f"c{number % 9}"}
        bought.append(row | {"at": at, "amount": float(number)})
        claimed += [
            row
            | {
                "claimed": at + delay,
                "verdict": chance.choice(["fraud", "late", None]),
                "refund": chance.choice([None, 0.1, 7.5]),
            }
            for delay in chance.sample(delays, chance.choice([0, 0, 1, 2]))
        ]
    return (
        pl.DataFrame(bought, schema_overrides={"at": MOMENT}),
        pl.DataFrame(claimed, schema_overrides={"claimed": MOMENT, "verdict": pl.String, "refund": pl.Float64}),
    )


ORDERS, CLAIMS = random_shop(5)


def world(folder: Path, last: date = END, view: Any = VIEW, model: Any = MODEL) -> FakePorts:
    """All days up to ``last`` are held, and the rows of all of them are built."""
    known = catalog(folder, view, model)
    assert known.refused == {}
    ports = FakePorts.make(folder, catalog=known)
    days = [START + number * DAY for number in range((last - START).days + 1)]
    for name, rows, column in (("orders", ORDERS, "at"), ("claims", CLAIMS, "claimed")):
        for day in days:
            of_day = rows.filter(pl.col(column).dt.date() == day)
            if of_day.height:
                ports.store.replace_partition(store_paths.validated("shop", name), day, of_day)
            ports.store.put(store_paths.profile(store_paths.validated("shop", name), day), b"{}")
    declared, dataset = ports.catalog.view("order_claim"), ports.catalog.dataset("shop")
    for day, frames in ViewInputs(ports.store, declared, dataset).frames(days):
        features = compute_features(declared, frames, [day], dataset)
        if features.height:
            ports.store.replace_partition(store_paths.features("order_claim"), day, features.drop("day"))
    return ports


def labels_of(ports: FakePorts) -> dict[str, tuple[float | None, datetime | None]]:
    spec = ports.catalog.model("claim")
    view, dataset = ports.catalog.view("order_claim"), ports.catalog.dataset("shop")
    rows = read_labels(ports.store, view, dataset, spec.target.expression, None)
    return {row["order_id"]: (row["label"], row["label_time"]) for row in rows.iter_rows(named=True)}


def claims_of(order: dict[str, Any]) -> list[dict[str, Any]]:
    """Those in ``(t, t + 5 days]``, oldest first."""
    rows = CLAIMS.filter(pl.col("order_id") == order["order_id"]).sort("claimed").to_dicts()
    return [claim for claim in rows if order["at"] < claim["claimed"] <= order["at"] + WITHIN]


@pytest.mark.parametrize(
    ("label", "by_hand"),
    [
        ({"is_claimed": "exists(claims)"}, lambda claims: float(bool(claims))),
        ({"is_fraud": "last(claims.verdict) = 'fraud'"}, lambda claims: claims and _is_fraud(claims[-1]["verdict"])),
        ({"refunded": "sum(claims.refund)"}, lambda claims: sum(claim["refund"] or 0.0 for claim in claims)),
        (
            {"late_claims": "count(claims)", "where": "verdict = 'late'"},
            lambda claims: float(sum(claim["verdict"] == "late" for claim in claims)),
        ),
    ],
)
def test_a_label_is_what_another_source_says_of_the_key_in_the_time_after_t(
    tmp_path: Path, label: dict[str, Any], by_hand: Any
) -> None:
    name = next(iter(label))
    ports = world(tmp_path, view=VIEW | {"label": label | {"within": "5d"}}, model=MODEL | {"target": name})
    labels = labels_of(ports)
    for order in ORDERS.iter_rows(named=True):
        value = by_hand(claims_of(order))
        assert labels[order["order_id"]][0] == (None if value in (None, []) else pytest.approx(value)), order
    assert len({value for value, _ in labels.values()}) > 1


def _is_fraud(verdict: str | None) -> float | None:
    return None if verdict is None else float(verdict == "fraud")


def test_a_label_is_null_until_all_days_of_its_window_are_held_and_known_when_the_last_of_them_is_due(
    tmp_path: Path,
) -> None:
    last = START + 20 * DAY
    labels = labels_of(world(tmp_path, last))
    for order in ORDERS.filter(pl.col("at").dt.date() <= last).iter_rows(named=True):
        end = (order["at"] + WITHIN).date()
        known = datetime(*(end + DAY).timetuple()[:3], 6, tzinfo=UTC)
        label, label_time = labels[order["order_id"]]
        assert (label is None, label_time) == ((True, None) if end > last else (False, known))


def test_a_snapshot_holds_known_labels_and_leaves_their_horizon_between_its_parts(tmp_path: Path) -> None:
    model = MODEL | {"training": {"minimum_rows": 20}}
    ports, as_of = world(tmp_path, model=model), datetime(2024, 3, 28, 6, tzinfo=UTC)
    taken = take_snapshot(SnapshotRequest(model="claim", as_of=as_of), ports)
    frame = read_snapshot(ports.store, "claim", taken.digest)
    assert set(taken.table_versions) == {"features/order_claim", "validated/shop.claims"}
    assert frame["label_time"].max() <= as_of  # type: ignore[operator]
    parts = {part: rows["prediction_time"] for (part,), rows in frame.group_by(["part"])}
    for earlier, later in (("train", "validation"), ("validation", "test")):
        assert parts[earlier].max() + WITHIN <= parts[later].min()  # type: ignore[operator]
    assert ports.catalog.view("order_claim").label_lag == 8


def test_answers_of_a_rollout_get_the_later_label_and_the_columns_of_their_own_row(tmp_path: Path) -> None:
    ports = world(tmp_path)
    orders = ports.store.read("features/order_claim").select(
        entity_id(ports.catalog.view("order_claim")), "prediction_time", "amount"
    )
    joined = with_outcomes(orders, ports, ports.catalog.model("claim"), ["amount"])
    assert joined["outcome_amount"].to_list() == joined["amount"].to_list()
    labels = labels_of(ports)
    assert joined["label"].to_list() == [labels[name][0] for name in joined["entity_id"]]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"label": {"claimed": "exists(claims)"}}, "write within, too"),
        ({"label": {"claimed": "amount > 1", "on": "order_id"}}, "on is of the events of a window; write within"),
        ({"label": {"claimed": "exists(claims)", "within": "5d", "on": "customer"}}, "customer is no column of the"),
        ({"label": {"claimed": "exists(claims)", "within": "5d", "on": 3}}, "on is no list of columns"),
        ({"label": {"verdict": "last(claims.verdict)", "within": "5d"}}, "is a text, and a label is a condition"),
        (
            {"label": {"again": "count(orders) >= 1", "within": "5d"}, "rows": {"per": "orders", "lead": "1h"}},
            "the row's own event would count among orders",
        ),
    ],
)
def test_a_later_label_that_cannot_be_meant_is_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    refusal = catalog(tmp_path, view=VIEW | change).refused["features/order_claim.yaml"]
    assert any(fault in reason for reason in refusal.reasons), refusal.reasons


def test_a_target_of_a_row_whose_label_follows_is_that_label(tmp_path: Path) -> None:
    refusal = catalog(tmp_path, model=MODEL | {"target": "amount > 3"}).refused["models/claim.yaml"]
    assert "'amount' is not the label is_claimed" in " ".join(refusal.reasons)


def test_the_customers_next_order_is_a_label_in_which_the_row_itself_does_not_count(tmp_path: Path) -> None:
    view = VIEW | {
        "entity": ["order_id", "customer"],
        "label": {"next_orders": "count(orders)", "within": "5d", "on": "customer"},
    }
    ports = world(tmp_path, view=view, model=MODEL | {"target": "next_orders"})
    labels = labels_of(ports)
    for order in ORDERS.iter_rows(named=True):
        after = ORDERS.filter((pl.col("customer") == order["customer"]) & (pl.col("at") > order["at"]))
        assert labels[order["order_id"]][0] == after.filter(pl.col("at") <= order["at"] + WITHIN).height

"""The live feed asks about each flight at its moment, with what was known then, whether or not its day was ingested."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo import replay as feed
from pipelines.demo.past_days import take_days
from pipelines.demo.purchases import purchases_file
from pipelines.demo.replay import live_features, replay
from pipelines.errors import Refused, Unavailable
from pipelines.testing.ports import FakeEndpoint, FakePorts, FixedClock

DAY = date(2013, 1, 2)
MODEL = "flight_delay"


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    found = FakePorts.make(tmp_path)
    for model in (MODEL, "arrival_delay_minutes"):
        found.endpoint.release(model, "1", "bundle", "0" * 64, key=model)
    found.endpoint.calls.clear()
    return found


def asked(ports: FakePorts, model: str = MODEL) -> list[dict[str, Any]]:
    return [call for verb, call in ports.endpoint.calls if verb == "predict" and call["model"] == model]


def test_every_flight_of_the_day_is_asked_once_in_order_of_time_under_its_id(ports: FakePorts) -> None:
    summary = replay([DAY], [MODEL], ports)
    calls = asked(ports)
    ids = [one for call in calls for one in call["ids"]]
    assert summary.answered == {MODEL: 943}
    assert (len(ids), len(set(ids))) == (943, 943)
    assert "2013-01-02T10:00:00Z|UA|1453" in ids
    moments = [call["prediction_time"] for call in calls]
    assert moments == sorted(moments)
    assert moments[0].tzinfo is not None


def test_a_flight_is_asked_about_two_hours_before_its_scheduled_departure(ports: FakePorts) -> None:
    replay([DAY], [MODEL], ports)
    (moment,) = [call["prediction_time"] for call in asked(ports) if "2013-01-02T10:00:00Z|US|1030" in call["ids"]]
    assert moment == datetime(2013, 1, 2, 10, 0, tzinfo=UTC) - timedelta(hours=2)


def test_every_live_model_is_asked_when_none_is_named(ports: FakePorts) -> None:
    summary = replay([DAY], None, ports)
    assert summary.answered == {MODEL: 943, "arrival_delay_minutes": 943}
    assert summary.versions == {MODEL: "1", "arrival_delay_minutes": "1"}


def test_a_live_model_of_another_dataset_is_left_out_and_refused_by_its_dataset_when_it_is_named(
    ports: FakePorts,
) -> None:
    catalog, own = ports.catalog, "punctual_buses"
    dataset = catalog.dataset("flights").model_copy(update={"dataset": "buses"})
    view = catalog.view(MODEL).model_copy(update={"view": own, "dataset": "buses"})
    ports.catalog = replace(
        catalog,
        datasets={**catalog.datasets, "buses": dataset},
        views={**catalog.views, own: view},
        models={**catalog.models, own: catalog.model(MODEL).model_copy(update={"model": own, "view": own})},
    )
    ports.endpoint.release(own, "1", "bundle", "0" * 64, key=own)
    assert set(replay([DAY], None, ports).answered) == {MODEL, "arrival_delay_minutes"}
    with pytest.raises(Refused, match="punctual_buses is of dataset buses; send its rows to the gateway"):
        replay([DAY], [MODEL, own], ports)


def test_the_columns_are_those_that_the_live_versions_bundle_names(ports: FakePorts) -> None:
    ports.store.put(f"bundles/{MODEL}/1/schema.json", b'{"columns": [{"name": "distance"}, {"name": "carrier"}]}')
    replay([DAY], [MODEL], ports)
    assert asked(ports)[0]["columns"] == ["distance", "carrier"]
    assert {type(value) for call in asked(ports) for row in call["rows"] for value in row} == {float, str}


def test_single_sends_one_row_at_a_time(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    feed.add_parser(parser.add_subparsers())
    options = parser.parse_args(["replay", "--from", "2013-01-02", "--to", "2013-01-02", "--single", "--model", MODEL])
    assert options.run(options, ports) == 0
    assert {len(call["ids"]) for call in asked(ports)} == {1}
    assert "flight_delay: 943 rows answered by version 1" in capsys.readouterr().out


def test_until_now_leaves_out_what_cannot_be_asked_yet(ports: FakePorts) -> None:
    now = datetime(2013, 1, 2, 15, tzinfo=UTC)
    replay([DAY], [MODEL], ports, until=now)
    moments = [call["prediction_time"] for call in asked(ports)]
    assert moments
    assert max(moments) <= now


def test_a_model_that_is_not_live_is_refused_by_name(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path, clock=FixedClock())
    with pytest.raises(Refused, match="flight_delay has no live version"):
        replay([DAY], [MODEL], ports)
    with pytest.raises(Refused, match="arrival_delay_minutes has no live version"):
        replay([DAY], None, ports)


def test_a_gateway_away_for_a_moment_is_waited_for_and_one_away_for_good_is_unavailable(
    ports: FakePorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "FIRST_WAIT_SECONDS", 0.001)

    class Faltering(FakeEndpoint):
        away = 3

        def predict(self, *arguments: Any, **named: Any) -> list[float]:
            self.away -= 1
            if self.away >= 0:
                raise Unavailable("away")
            return super().predict(*arguments, **named)

    endpoint = Faltering()
    endpoint.release(MODEL, "1", "bundle", "0", key="k")
    ports.endpoint = endpoint
    assert replay([DAY], [MODEL], ports).answered == {MODEL: 943}
    endpoint.away = 1000
    with pytest.raises(Unavailable):
        replay([DAY], [MODEL], ports)


def test_a_days_features_are_the_same_whether_asked_for_alone_or_with_its_neighbours(ports: FakePorts) -> None:
    view, dataset = ports.catalog.view("flight_delay"), ports.catalog.dataset("flights")
    alone = live_features(view, dataset, [DAY])
    together = live_features(view, dataset, [DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)])
    assert together.filter(together["day"] == DAY).equals(alone)
    assert alone["origin_departure_delay_mean_3h"].null_count() < alone.height / 4


def test_days_the_wrong_way_round_are_refused(ports: FakePorts) -> None:
    options = argparse.Namespace(first=DAY, last=DAY - timedelta(days=1))
    with pytest.raises(Refused, match="later than the last"):
        feed.run(options, ports)


MONDAY, WEEKLY = date(1997, 1, 13), "buys_again"


@pytest.fixture
def shop(ports: FakePorts) -> FakePorts:
    """The model of the customers is live beside those of the flights."""
    ports.endpoint.release(WEEKLY, "1", "bundle", "0" * 64, key=WEEKLY)
    ports.endpoint.calls.clear()
    return ports


def test_each_active_customer_is_asked_about_on_monday_at_six_under_customer_and_monday(shop: FakePorts) -> None:
    week = [MONDAY + timedelta(days=number) for number in range(7)]
    lines = [line.split() for line in purchases_file().decode().splitlines()]
    customers = sorted({customer for _, customer, day, *_ in lines if day < "19970113"})
    assert replay(week, None, shop).answered == {WEEKLY: len(customers)}
    calls = asked(shop, WEEKLY)
    assert {call["prediction_time"] for call in calls} == {datetime(1997, 1, 13, 6, tzinfo=UTC)}
    assert [entity for call in calls for entity in call["ids"]] == [f"{customer}|{MONDAY}" for customer in customers]


def test_a_model_is_left_out_on_days_that_its_dataset_does_not_have_and_refused_when_it_is_named(
    shop: FakePorts,
) -> None:
    assert set(replay([DAY], None, shop).answered) == {MODEL, "arrival_delay_minutes"}
    with pytest.raises(Refused, match="buys_again is of dataset shop, which has no 2013-01-02"):
        replay([DAY], [MODEL, WEEKLY], shop)
    with pytest.raises(Refused, match="asked about once a week, and none begins on these days"):
        replay([MONDAY + timedelta(days=1)], None, shop)


def test_what_a_caller_sends_of_a_week_is_what_the_days_of_the_week_build(shop: FakePorts) -> None:
    first, view = date(1997, 1, 1), shop.catalog.view("customer_week")
    take_days([first + timedelta(days=number) for number in range((MONDAY - first).days)], shop, "shop")
    live = live_features(view, shop.catalog.dataset("shop"), [MONDAY])
    stored = shop.store.read("features/customer_week", days=[MONDAY])
    assert stored.equals(live.select(stored.columns))

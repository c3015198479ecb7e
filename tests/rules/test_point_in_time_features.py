"""The features of a day pass only if every constraint was measured and holds."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from pipelines.messages.features import BuiltPartition, FeatureFacts
from pipelines.rules.point_in_time_features import judge_definitions, judge_features
from pipelines.spec.features import Constraints, FeatureView
from pipelines.verdict import Outcome
from tests.declared import shipped_view

VIEW = shipped_view()


def good(name: str) -> FeatureFacts:
    limits = VIEW.features[name].constraints
    return FeatureFacts(name=name, rows=100, nulls=0, minimum=limits.minimum, maximum=limits.maximum)


def result(without: str = "", rows: int = 100, **changed: dict[str, Any]) -> BuiltPartition:
    facts = [good(name).model_copy(update=changed.get(name, {})) for name in VIEW.features if name != without]
    return BuiltPartition(
        day=date(2013, 3, 1),
        rows=rows,
        features=facts,
        digest="d1",
        staged="staged_features/flight_delay/2013-03-01/d1.parquet",
        inputs={"validated/flights.flights": 4},
        definition_digests=VIEW.definition_digests(),
    )


def test_features_within_their_constraints_pass() -> None:
    verdict = judge_features(result(), VIEW)
    assert verdict.outcome is Outcome.PASS
    assert verdict.facts["rows"] == 100


@pytest.mark.parametrize(
    ("changed", "outcome", "reason"),
    [
        ({"humid": {"maximum": 100.5}}, Outcome.FAIL, "humid: maximum 100.5 > 100"),
        ({"wind_speed": {"minimum": -1.0}}, Outcome.FAIL, "wind_speed: minimum -1 < 0"),
        ({"carrier": {"nulls": 1}}, Outcome.FAIL, "carrier: share of nulls 0.0100 > 0"),
        ({"temp": {"nulls": 51}}, Outcome.FAIL, "temp: share of nulls 0.5100 > 0.5"),
        ({"temp": {"nulls": 100, "minimum": None, "maximum": None}}, Outcome.FAIL, "temp: share of nulls 1.0000 > 0.5"),
        ({"humid": {"minimum": None}}, Outcome.UNKNOWN, "humid: minimum was not measured"),
        ({"humid": {"rows": 0}}, Outcome.UNKNOWN, "humid was not measured"),
        ({"wind_gust": {"nulls": 100, "minimum": None, "maximum": None}}, Outcome.PASS, None),
    ],
)
def test_a_broken_or_unmeasured_constraint_is_named(
    changed: dict[str, Any], outcome: Outcome, reason: str | None
) -> None:
    verdict = judge_features(result(**changed), VIEW)
    assert verdict.outcome is outcome
    assert verdict.reasons == ((reason,) if reason else ())


def test_every_broken_constraint_is_listed_at_once() -> None:
    verdict = judge_features(result(humid={"minimum": -1.0, "maximum": 101.0}, carrier={"nulls": 100}), VIEW)
    assert len(verdict.reasons) == 3


@pytest.mark.parametrize(("without", "rows"), [("temp", 100), ("", 0)])
def test_a_missing_feature_or_an_empty_day_is_unknown(without: str, rows: int) -> None:
    assert judge_features(result(without, rows), VIEW).outcome is Outcome.UNKNOWN


def test_features_built_by_another_definition_fail() -> None:
    other = result().model_copy(update={"definition_digests": {"temp": "0" * 64}})
    assert judge_features(other, VIEW).reasons == (
        "temp was built by another definition than the declared one; build 2013-03-01 again",
    )


def changed(name: str, version: int, **transformation: Any) -> FeatureView:
    feature = VIEW.features[name]
    how = feature.transformation.model_copy(update=transformation)
    other = feature.model_copy(update={"version": version, "transformation": how})
    return VIEW.model_copy(update={"features": VIEW.features | {name: other}})


REGISTERED = {name: (2, digest) for name, digest in VIEW.definition_digests().items()}


@pytest.mark.parametrize(
    ("view", "reasons"),
    [
        (
            changed("temp", 2, max_age=timedelta(hours=9)),
            ("feature 'temp' changed but is still version 2; raise it to 3",),
        ),
        (changed("temp", 3, max_age=timedelta(hours=9)), ()),
        (changed("temp", 1), ("feature 'temp' has version 1 < 2 built before; raise it",)),
        (changed("temp", 3), ()),
    ],
)
def test_a_changed_definition_needs_a_higher_version(view: FeatureView, reasons: tuple[str, ...]) -> None:
    registered = {name: found for name, found in REGISTERED.items() if name == "temp"}
    verdict = judge_definitions(view, registered)
    assert verdict.reasons == reasons
    assert verdict.passed == (not reasons)


def test_before_the_first_build_every_definition_passes() -> None:
    assert judge_definitions(VIEW, {}).passed


def test_the_facts_give_the_share_of_nulls_with_four_decimals() -> None:
    shares: Any = judge_features(result(temp={"nulls": 1, "rows": 3}, humid={"rows": 0}), VIEW).facts["null_shares"]
    assert (shares["temp"], shares["carrier"], "humid" in shares) == (0.3333, 0.0, False)


def test_a_minimum_above_and_a_maximum_below_their_limits_pass() -> None:
    assert judge_features(result(humid={"minimum": 50.0, "maximum": 60.0}), VIEW).passed


def with_limits(name: str, limits: Constraints) -> FeatureView:
    changed_features = VIEW.features | {name: VIEW.features[name].model_copy(update={"constraints": limits})}
    return VIEW.model_copy(update={"features": changed_features})


FRESH, ALLOWED = Constraints(freshness=timedelta(hours=6)), Constraints(allowed=["UA"])


@pytest.mark.parametrize(
    ("name", "limits", "measured", "outcome", "reason"),
    [
        ("temp", FRESH, {"stale_rows": 0}, Outcome.PASS, None),
        ("temp", FRESH, {}, Outcome.UNKNOWN, "temp: freshness was not measured"),
        (
            "temp",
            FRESH,
            {"stale_rows": 3, "oldest": timedelta(hours=9)},
            Outcome.FAIL,
            "temp: 3 of 100 rows read what is older than 6h (freshness), up to 9h",
        ),
        (
            "temp",
            FRESH,
            {"stale_rows": 3},
            Outcome.FAIL,
            "temp: 3 of 100 rows read nothing that was known within 6h (freshness)",
        ),
        ("carrier", ALLOWED, {"other_values": {}}, Outcome.PASS, None),
        ("carrier", ALLOWED, {}, Outcome.UNKNOWN, "carrier: values beside those allowed were not measured"),
        (
            "carrier",
            ALLOWED,
            {"other_values": {"XX": 2, "": 1}},
            Outcome.FAIL,
            "carrier: has values that are not allowed: 'XX' in 2 rows, '' in 1 rows",
        ),
    ],
)
def test_old_sources_and_values_that_are_not_allowed_are_named(
    name: str, limits: Constraints, measured: dict[str, Any], outcome: Outcome, reason: str | None
) -> None:
    verdict = judge_features(result(**{name: measured}), with_limits(name, limits))
    assert (verdict.outcome, verdict.reasons) == (outcome, (reason,) if reason else ())

"""Who hears of an incident, how severe its declaration makes it, and which limits are reached, by table."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.messages.incident import Event
from pipelines.rules.alert_routing import limit_findings, route, with_declared_severity
from pipelines.spec.alerts import AlertRule, AlertsSpec
from tests.rules.test_incidents import finding, opened

POLICY = AlertsSpec.model_validate(
    {
        "channels": {
            "log": {"kind": "file"},
            "chat": {"kind": "slack", "connection": "c"},
            "pager": {"kind": "pagerduty", "connection": "p", "least_severity": "critical"},
        },
        "escalation": {"channels": ["pager"]},
    }
)


def rule(**fields: Any) -> AlertRule:
    return AlertRule.model_validate(fields)


CHAT = rule(when="drift_fault", channels=["chat"])


@pytest.mark.parametrize(
    ("rules", "severity", "event", "channels"),
    [
        ([], "warning", "opened", ["log"]),
        ([rule(when="drift_fault", channels=["chat"])], "warning", "opened", ["chat"]),
        ([rule(when="performance", channels=["chat"])], "warning", "opened", ["log"]),
        ([rule(when="drift_fault", channels=["chat", "pager"])], "warning", "opened", ["chat"]),
        ([rule(when="drift_fault", channels=["chat", "pager"])], "critical", "opened", ["chat", "pager"]),
        ([], "critical", "escalated", ["log", "pager"]),
        ([], "warning", "escalated", ["log"]),
        ([rule(when="drift_fault", channels=["chat", "log"]), CHAT], "info", "opened", ["chat", "log"]),
    ],
)
def test_an_incident_goes_to_the_channels_of_its_rules_else_to_the_default_ones(
    rules: list[AlertRule], severity: str, event: Event, channels: list[str]
) -> None:
    assert route(opened(severity=severity), event, rules, POLICY) == channels


@pytest.mark.parametrize(
    ("rules", "severity"),
    [
        ([], "warning"),
        ([rule(when="drift_fault", severity="critical")], "critical"),
        ([rule(when="gate_no", severity="critical")], "warning"),
        ([rule(when="drift_fault", channels=["log"])], "warning"),
    ],
)
def test_a_rule_says_how_severe_its_kind_is(rules: list[AlertRule], severity: str) -> None:
    assert with_declared_severity(finding(), rules).severity == severity


@pytest.mark.parametrize(
    ("declared", "numbers", "firing"),
    [
        ({"when": "drift", "at": 0.3}, {"value": 0.3}, True),
        ({"when": "drift", "at": 0.3}, {"value": 0.29}, False),
        ({"when": "drift", "above": 0.3}, {"value": 0.3}, False),
        ({"when": "performance", "drop": 0.05}, {"value": 0.7, "drop": 0.05}, True),
        ({"when": "performance", "drop": 0.05}, {"value": 0.7, "drop": 0.04}, False),
        ({"when": "performance", "below": 0.7}, {"value": 0.69}, True),
        ({"when": "performance", "below": "0.9x baseline"}, {"value": 0.71, "baseline": 0.8}, True),
        ({"when": "performance", "below": "0.9x baseline"}, {"value": 0.73, "baseline": 0.8}, False),
        ({"when": "performance", "below": "0.9x baseline"}, {"value": 0.71}, None),
        ({"when": "performance", "drop": 0.05}, {"value": 0.7}, None),
    ],
)
def test_a_limit_fires_where_it_is_reached_and_says_nothing_where_its_number_is_missing(
    declared: dict[str, Any], numbers: dict[str, float], firing: bool | None
) -> None:
    made = limit_findings(declared["when"], numbers, [rule(**declared, severity="critical")], finding())
    assert [one.firing for one in made] == ([] if firing is None else [firing])
    assert {one.severity for one in made} <= {"critical"}


def test_a_limit_without_a_severity_has_that_of_its_kind() -> None:
    limit = rule(when="performance", below=0.7)
    [made] = limit_findings("performance", {"value": 0.1}, [limit], finding())
    assert made.severity == "critical"


def test_a_rule_without_a_limit_or_of_another_kind_measures_nothing() -> None:
    rules = [rule(when="performance", severity="info"), rule(when="drift", at=0.1)]
    assert limit_findings("performance", {"value": 0.1}, rules, finding()) == []

"""Every field of an alert acts, or is refused with its file and line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.settings import REPOSITORY
from pipelines.spec.alerts import AlertRule, AlertsSpec, Channel, alert_faults
from pipelines.spec.catalog import Catalog


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"when": "nosuch"}, "when is 'nosuch'; there are data_refused"),
        ({"when": "gate_no"}, "the rule says nothing"),
        ({"when": "drift", "severity": "info"}, "drift needs a limit, such as at: 0.3"),
        ({"when": "drift", "drop": 0.1}, "drop is no limit of drift; it has at or above"),
        ({"when": "gate_no", "above": 0.1}, "above is no limit of gate_no; it has none"),
        ({"when": "drift", "at": 0.1, "above": 0.2}, "at and above are two limits"),
        ({"when": "performance", "below": "2 baseline"}, "baseline"),
        ({"when": "gate_no", "channels": []}, "at least 1"),
        ({"when": "gate_no", "severity": "loud"}, "'info', 'warning' or 'critical'"),
    ],
)
def test_a_rule_that_cannot_act_is_refused(rule: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        AlertRule.model_validate(rule)


@pytest.mark.parametrize(
    ("channel", "fault"),
    [
        ({"kind": "slack"}, "connection is needed"),
        ({"kind": "file", "connection": "c"}, "connection is needed for apprise's kinds and for nothing else"),
        ({"kind": "alertmanager"}, "url is needed"),
        ({"kind": "slack", "connection": "c", "url": "http://x"}, "url is needed for an alertmanager and for nothing"),
        ({"kind": "alertmanager", "url": "alertmanager:9093"}, "write http:// or https:// and a host"),
    ],
)
def test_a_channel_has_the_address_of_its_kind(channel: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Channel.model_validate(channel)


def test_default_and_escalation_name_channels_that_are_declared() -> None:
    with pytest.raises(ValidationError) as caught:
        AlertsSpec.model_validate({"default_channels": ["a"], "escalation": {"channels": ["b"]}})
    assert "default_channels names 'a'; channels has log" in str(caught.value)
    assert "escalation.channels names 'b'; channels has log" in str(caught.value)


def test_rules_name_declared_channels_and_say_a_thing_once() -> None:
    rules = [
        AlertRule(when="gate_no", channels=["chat"]),
        AlertRule(when="gate_no", severity="info"),
        AlertRule(when="data_refused", severity="info"),
    ]
    assert alert_faults(rules, AlertsSpec(), "dataset") == [
        "alerts.0.channels: 'chat' is not declared in alerts.yaml; it has log",
        "alerts.0.when: gate_no is about a model; declare it there",
        "alerts.1.when: gate_no is about a model; declare it there",
        "alerts: two rules are about gate_no; write one",
    ]


def test_a_channel_that_nobody_declared_is_refused_with_its_line_in_the_models_file(tmp_path: Path) -> None:
    include = Path(shutil.copytree(REPOSITORY / "include", tmp_path / "include"))
    file = include / "models" / "flight_delay.yaml"
    text = file.read_text() + "\nalerts:\n  - when: gate_no\n    channels: [chat]\n"
    file.write_text(text)
    catalog = Catalog.read(include)
    [fault] = catalog.refused["models/flight_delay.yaml"].reasons
    line = text.splitlines().index("    channels: [chat]") + 1
    assert fault == f"alerts.0.channels: 'chat' is not declared in alerts.yaml; it has log (line {line})"


def test_a_faulty_file_of_channels_is_refused_and_the_models_are_there_all_the_same(tmp_path: Path) -> None:
    include = Path(shutil.copytree(REPOSITORY / "include", tmp_path / "include"))
    (include / "alerts.yaml").write_text("schema: 1\ndigest_secs: 3\n")
    catalog = Catalog.read(include)
    assert "digest_secs" in str(catalog.refused["alerts.yaml"])
    assert "(line 2)" in str(catalog.refused["alerts.yaml"])
    assert catalog.models
    assert catalog.alerts == AlertsSpec()

"""Which channels hear of an incident, how severe its declaration makes it, and which declared limits are reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.messages.incident import Event, Finding, Incident
from pipelines.rules.incident_kinds import KINDS
from pipelines.spec.alerts import AlertRule, AlertsSpec
from pipelines.spec.relative_limit import baseline_factor
from pipelines.verdict import SEVERITIES


def route(incident: Incident, event: Event, rules: Sequence[AlertRule], policy: AlertsSpec) -> list[str]:
    """Names of the channels that hear of this event, each once.

    The rules about the incident's kind name them, else ``default_channels``; an escalation goes to
    ``escalation.channels``, too. A channel hears nothing below its ``least_severity``.
    """
    named = [name for rule in rules if rule.when == incident.kind for name in rule.channels or ()]
    names = named or policy.default_channels
    names = [*names, *(policy.escalation.channels if event == "escalated" else ())]
    severity = SEVERITIES.index(incident.severity)
    return [
        name
        for name in dict.fromkeys(names)
        if name in policy.channels and SEVERITIES.index(policy.channels[name].least_severity) <= severity
    ]


def with_declared_severity(finding: Finding, rules: Sequence[AlertRule]) -> Finding:
    """The finding as severe as a rule without a limit says of its kind."""
    declared = [rule.severity for rule in rules if rule.when == finding.kind and not rule.limits and rule.severity]
    return finding.model_copy(update={"severity": declared[0]}) if declared else finding


def limit_findings(
    kind: str, numbers: Mapping[str, float], rules: Sequence[AlertRule], template: Finding
) -> list[Finding]:
    """One finding for each rule with a limit of this kind: it fires where the limit is reached.

    ``numbers`` has ``value``, and where there is one ``baseline`` (what ``2x baseline`` multiplies) and ``drop``. A
    rule whose numbers were not measured gives no finding: not measured is neither good nor bad.
    """
    findings = []
    for rule in rules:
        if rule.when != kind or not rule.limits:
            continue
        name = rule.limits[0]
        limit = _limit(getattr(rule, name), numbers.get("baseline"))
        value = numbers.get("drop" if name == "drop" else "value")
        if limit is None or value is None:
            continue
        fires = {"at": value >= limit, "above": value > limit, "below": value < limit, "drop": value >= limit}[name]
        sign = {"at": "≥", "above": ">", "below": "<", "drop": "≥"}[name]
        what = (
            f"{kind}{' lost' if name == 'drop' else ''} {value:.4g} {sign if fires else 'is not ' + sign} {limit:.4g}"
        )
        shown: dict[str, float | str] = {"value": value, "limit": limit}
        update = {
            "kind": kind,
            "subject": f"{name} {getattr(rule, name)}",
            "firing": fires,
            "severity": rule.severity or KINDS[kind].severity,
            "what": f"{what} (alerts)",
            "affects": KINDS[kind].affects,
            "numbers": shown,
        }
        findings.append(template.model_copy(update=update))
    return findings


def _limit(declared: float | str, baseline: float | None) -> float | None:
    if not isinstance(declared, str):
        return declared
    factor = baseline_factor(declared)
    return None if factor is None or baseline is None else factor * baseline

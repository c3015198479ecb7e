"""Measures what no ledger line says: who is silent, whether the ledger is whole, which drill did not come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pipelines.errors import Unavailable
from pipelines.incidents.look import last_look
from pipelines.messages.incident import Finding
from pipelines.ports import Ports
from pipelines.rules.incident_kinds import INSTALLATION, KINDS

LOG_LAG = "airworthy_log_lag_seconds"
LEDGER_EVERY = timedelta(hours=1)
"""How often the whole chain is checked."""
GATEWAY_ANSWERED, LEDGER_CHECKED = "gateway_answered", "ledger_checked"


def seen_by_the_watch(ports: Ports, started: datetime) -> list[Finding]:
    """What the watch outside of Airflow sees; ``started`` is when it began, before which nothing counts as silence."""
    return [airflow_silence(ports, started), *gateway_findings(ports, started)]


def seen_by_airflow(ports: Ports) -> list[Finding]:
    """What the run in Airflow sees."""
    return [*watch_silence(ports), *ledger_faults(ports), *overdue_drills(ports)]


def airflow_silence(ports: Ports, started: datetime) -> Finding:
    """Fires while no run of ``airworthy__incidents`` has come for ``silent_minutes``."""
    last = last_look(ports, "airflow")
    since = max(last or started, started)
    last_run = (
        f"the last run of airworthy__incidents was at {last:%Y-%m-%d %H:%M} UTC" if last else "it has not run yet"
    )
    return _finding(ports, "airflow_silent", "scheduler", _is_silent(ports, since), f"Airflow runs nothing: {last_run}")


def watch_silence(ports: Ports) -> Iterator[Finding]:
    """Fires while the watch does not look; not where there never was one, or Airflow was away until just now."""
    own, other = last_look(ports, "airflow"), last_look(ports, "watch")
    if own is None or other is None or _is_silent(ports, own):
        return
    what = f"`airworthy watch` looked last at {other:%Y-%m-%d %H:%M} UTC"
    yield _finding(ports, "watch_silent", "watch", _is_silent(ports, other), what)


def gateway_findings(ports: Ports, started: datetime) -> Iterator[Finding]:
    """Whether the gateway answers, and how far its prediction log is behind; nothing without a model that it serves."""
    served = [name for name, spec in ports.catalog.models.items() if spec.deployment.target.kind == "embedded"]
    if not served:
        return
    try:
        ports.endpoint.state(served[0])
    except Unavailable as error:
        note = ports.incidents.note(GATEWAY_ANSWERED)
        since = max(datetime.fromisoformat(note) if note else started, started)
        yield _finding(ports, "gateway_silent", "gateway", _is_silent(ports, since), str(error))
        return
    ports.incidents.set_note(GATEWAY_ANSWERED, ports.clock().isoformat())
    yield _finding(ports, "gateway_silent", "gateway", False, "")
    lag = read_log_lag(ports.settings.gateway)
    if lag is not None:
        limit = ports.catalog.alerts.log_lag_seconds
        what = f"the newest answer in the prediction log is {lag:.0f} s old > {limit:g} s (log_lag_seconds)"
        yield _finding(ports, "log_behind", "gateway", lag > limit, what)


def read_log_lag(gateway: str) -> float | None:
    """Seconds by its page ``/metrics``; None: it shows nobody, or no such number."""
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    try:
        page = httpx.get(f"{gateway}/metrics", timeout=5)
    except httpx.HTTPError:
        return None
    if not page.is_success:
        return None
    values = [
        sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
        if sample.name == LOG_LAG
    ]
    return max(values, default=None)


def ledger_faults(ports: Ports) -> Iterator[Finding]:
    """Whether the chain is whole, once an hour."""
    note = ports.incidents.note(LEDGER_CHECKED)
    if note and ports.clock() - datetime.fromisoformat(note) < LEDGER_EVERY:
        return
    faults = ports.ledger.faults()
    ports.incidents.set_note(LEDGER_CHECKED, ports.clock().isoformat())
    shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
    yield _finding(ports, "ledger_fault", "ledger", bool(faults), shown)


def overdue_drills(ports: Ports) -> Iterator[Finding]:
    """Models that declare rollback drills, could have one, and had none that passed for ``drill_days``."""
    limit = timedelta(days=ports.catalog.alerts.drill_days)
    for name, spec in ports.catalog.models.items():
        if spec.deployment.rollback.drill is None:
            continue
        releases = ports.ledger.entries(name, kind="release")
        if len({line.version for line in releases}) < 2:
            continue
        passed = [
            line.at for line in ports.ledger.entries(name, kind="rollback_drill") if line.details["outcome"] == "pass"
        ]
        since = max(passed, default=releases[0].at)
        what = (
            f"no rollback drill of {name} passed since {since:%Y-%m-%d}, for more than {limit.days} days (drill_days)"
        )
        yield _finding(ports, "drill_overdue", "drill", ports.clock() - since > limit, what, model=name)


def _is_silent(ports: Ports, since: datetime) -> bool:
    return ports.clock() - since > timedelta(minutes=ports.catalog.alerts.silent_minutes)


def _finding(ports: Ports, kind: str, subject: str, firing: bool, what: str, model: str = INSTALLATION) -> Finding:
    about = KINDS[kind]
    return Finding(
        model=model,
        kind=kind,
        subject=subject,
        firing=firing,
        at=ports.clock(),
        severity=about.severity,
        what=what,
        affects=about.affects,
    )

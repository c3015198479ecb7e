"""Every alert fires on its cause, stays silent below its limit, and is what promtool takes for a rule."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.observability.alert_rules import rule_groups
from pipelines.spec.serving_objective import ServingObjective
from tests.debian import debian_program

OBJECTIVES = {
    "loans": ServingObjective(availability=0.995),
    "parcels": ServingObjective(availability=0.99, max_latency_p95=100),
}
RULES = rule_groups(OBJECTIVES)
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
Series = dict[str, str]


def requests(model: str, good: str, bad: str) -> Series:
    """Counters of answered and failed requests a minute, as promtool writes series."""
    return {
        f'airworthy_requests_total{{model="{model}",version="1",code="200"}}': good,
        f'airworthy_requests_total{{model="{model}",version="1",code="500"}}': bad,
    }


def latency(model: str, fast: str, slow: str) -> Series:
    """Buckets up to 50 ms and up to 250 ms, cumulative; all requests are within the second."""
    name = "airworthy_request_seconds_bucket"
    return {
        f'{name}{{model="{model}",version="1",le="0.05"}}': fast,
        f'{name}{{model="{model}",version="1",le="0.25"}}': slow,
        f'{name}{{model="{model}",version="1",le="+Inf"}}': slow,
    } | requests(model, slow, "0x1000")


BUSY = "0+100x1000"
CASES: list[tuple[str, Series, str, set[str]]] = [
    ("healthy", requests("loans", BUSY, "0x1000") | latency("parcels", BUSY, BUSY), "1h", set()),
    (
        "an outage of some minutes",
        requests("loans", "0+100x60 6000+0x100", "0x60 0+100x100"),
        "1h20m",
        {"ErrorBudgetBurns", "ErrorsHigh"},
    ),
    ("errors within the budget", requests("loans", "0+1000x1000", "0+4x1000"), "2h", set()),
    ("a slow burn", requests("loans", "0+1000x6000", "0+10x6000"), "3h", {"ErrorBudgetBurns"}),
    ("one error in few requests", requests("loans", "0+0.1x1000", "0x100 0+0.1x600"), "2h30m", set()),
    (
        "slower than twice the hours before",
        latency("loans", "0+100x120 12000+0x100", "0+100x120 12000+100x100"),
        "2h30m",
        {"LatencyHigh"},
    ),
    ("slow as ever", latency("loans", "0x1000", BUSY), "3h", set()),
    ("slower than the absolute limit", latency("parcels", "0x1000", BUSY), "30m", {"LatencyHigh"}),
    ("gateway gone", {'up{job="airworthy-gateway",instance="g"}': "0x20"}, "5m", {"GatewayDown"}),
    ("gateway restarts", {'up{job="airworthy-gateway",instance="g"}': "1x4 0 1x20"}, "10m", set()),
    ("no worker", {'airworthy_workers{instance="g"}': "0x20"}, "5m", {"NoWorkers"}),
    (
        "memory nearly full",
        {
            'airworthy_process_resident_bytes{instance="g",process="worker-0"}': "500x20",
            'airworthy_process_resident_bytes{instance="g",process="worker-1"}': "400x20",
            'airworthy_memory_limit_bytes{instance="g"}': "1000x20",
        },
        "10m",
        {"MemoryHigh"},
    ),
    (
        "memory half full",
        {
            'airworthy_process_resident_bytes{instance="g",process="worker-0"}': "500x20",
            'airworthy_memory_limit_bytes{instance="g"}': "1000x20",
        },
        "10m",
        set(),
    ),
    (
        "all CPUs busy",
        {
            'airworthy_process_cpu_seconds_total{instance="g",process="worker-0"}': "0+110x30",
            'airworthy_cpus{instance="g"}': "2x30",
        },
        "25m",
        {"CpuHigh"},
    ),
    ("callers shed", {'airworthy_shed_total{instance="g",limit="connections"}': "0+5x30"}, "20m", {"RequestsShed"}),
    ("log behind", {'airworthy_log_lag_seconds{instance="g"}': "0+60x30"}, "12m", {"PredictionLogBehind"}),
    ("answers lost", {'airworthy_log_dropped_total{instance="g"}': "0x5 3x20"}, "8m", {"PredictionsLost"}),
    (
        "no way back after a second release",
        {
            'airworthy_way_back{instance="g",model="loans"}': "0x20",
            'airworthy_traffic_basis_points{instance="g",model="loans",version="2"}': "10000x20",
            'airworthy_releases_total{instance="e",model="loans"}': "2x20",
        },
        "10m",
        {"NoWayBack"},
    ),
    (
        "a first release has no way back",
        {
            'airworthy_way_back{instance="g",model="loans"}': "0x20",
            'airworthy_traffic_basis_points{instance="g",model="loans",version="1"}': "10000x20",
            'airworthy_releases_total{instance="e",model="loans"}': "1x20",
        },
        "10m",
        set(),
    ),
    ("exporter gone", {'up{job="airworthy",instance="e"}': "0x20"}, "5m", {"ExporterDown"}),
    ("Airflow gone", {'airworthy_airflow_up{instance="e"}': "0x20"}, "5m", {"AirflowDown"}),
    (
        "scheduler dead",
        {'airworthy_airflow_heartbeat_age_seconds{component="scheduler"}': "0+60x20"},
        "6m",
        {"AirflowSilent"},
    ),
    ("a broken DAG file", {"airworthy_airflow_import_errors": "1x20"}, "5m", {"DagsBroken"}),
    (
        "most runs fail",
        {
            'airworthy_airflow_runs{dag_id="d",state="failed"}': "3x20",
            'airworthy_airflow_runs{dag_id="d",state="success"}': "2x20",
        },
        "5m",
        {"RunsFail"},
    ),
    (
        "some runs fail",
        {
            'airworthy_airflow_runs{dag_id="d",state="failed"}': "3x20",
            'airworthy_airflow_runs{dag_id="d",state="success"}': "9x20",
        },
        "5m",
        set(),
    ),
    ("nobody answers", {'airworthy_airflow_waiting_seconds{dag_id="d"}': "3500+60x20"}, "5m", {"PersonAwaited"}),
    (
        "a tenth worse",
        {'airworthy_performance_loss_share{model="loans",version="1",metric="roc_auc"}': "0.12x20"},
        "5m",
        {"PerformanceLost"},
    ),
    (
        "a little worse",
        {'airworthy_performance_loss_share{model="loans",version="1",metric="roc_auc"}': "0.08x20"},
        "5m",
        set(),
    ),
]


@pytest.fixture(scope="module")
def promtool() -> str:
    return debian_program("promtool", "prometheus")


@pytest.fixture(scope="module")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text(yaml.safe_dump(RULES, sort_keys=False))
    return path


def test_promtool_takes_the_rules(promtool: str, rules_file: Path) -> None:
    """Every expression parses and no rule is written twice."""
    checked = subprocess.run([promtool, "check", "rules", str(rules_file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{sum(len(group['rules']) for group in RULES['groups'])} rules" in checked.stdout + checked.stderr


@pytest.mark.parametrize(("cause", "series", "moment", "alerts"), CASES, ids=[case[0] for case in CASES])
def test_an_alert_fires_on_its_cause_and_on_nothing_less(
    cause: str, series: Series, moment: str, alerts: set[str], promtool: str, rules_file: Path, tmp_path: Path
) -> None:
    """The alerts that fire at a moment are exactly the named ones."""
    firing = {name.removeprefix("Airworthy") for name in _firing(promtool, rules_file, tmp_path, series, moment)}
    assert firing == alerts


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    """No rule is written that nobody has seen fire."""
    fired = {f"Airworthy{name}" for _, _, _, alerts in CASES for name in alerts}
    assert {rule["alert"] for rule in ALERTS} == fired


def _firing(promtool: str, rules: Path, folder: Path, series: Series, moment: str) -> set[str]:
    """Names of the alerts that fire: each is expected to be silent, and promtool says which are not."""
    names = {rule["alert"] for rule in ALERTS}
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": moment, "alertname": name, "exp_alerts": []} for name in names],
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump(test))
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0 or "alertname:" in output, output
    return {name for name in names if f"alertname: {name}," in output}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels'].get('window', '')}")
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    """Its severity is one of those of incidents, and its runbook is a heading of the page."""
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = [line.lstrip("# ").lower() for line in Path(page).read_text().splitlines() if line.startswith("#")]
    assert anchor in headings

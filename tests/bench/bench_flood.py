"""A flood of findings beside a gateway: 10,000 in a minute about 50 models, in turns with seconds without any.

``python -m tests.bench.bench_flood [--rounds 6]``. A turn takes ten seconds, so that six floods are a minute of
findings. The gateway's p99 with the flood over that without is the median of the rounds' ratios. Both write to the same
disk; the flood has the core of the client, the gateway its own. At the end every finding must have been told, and each
model in no more messages than minutes passed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.adapters.notifier.file import FileNotifier, alerts_file, read_alerts
from pipelines.incidents.delivery import deliver
from pipelines.incidents.record import pass_time, take
from pipelines.messages.incident import Finding
from pipelines.testing.ports import FakePorts
from tests.bench.bench_serving import CLIENT, GUARDED, bundle, pin, request, say, serving, side_of, train

FINDINGS, MINUTE, MODELS = 10_000, 60, 50
TURN = 10.0
MOST = 1.2


class WallClock:
    """The time of this machine; nothing else of a fake clock is called."""

    def __call__(self):  # type: ignore[no-untyped-def]
        from datetime import UTC, datetime

        return datetime.now(UTC)


def flood_ports(folder: Path) -> FakePorts:
    ports = FakePorts.make(folder, incidents=SqlIncidents(f"sqlite:///{folder}/ledger.db"))
    ports.clock, ports.notifiers = WallClock(), {"log": FileNotifier(alerts_file(folder))}
    return ports


def flood(folder: Path, first: int, count: int, seconds: float) -> None:
    """Take ``count`` findings evenly over ``seconds``, and send what is due each second."""
    ports, began, taken = flood_ports(folder), time.monotonic(), 0
    about = {"kind": "drift_fault", "firing": True, "severity": "warning"}
    while taken < count:
        due = min(count, int(count * (time.monotonic() - began + 1) / seconds))
        numbers = range(first + taken, first + due)
        take(ports, [_finding(ports, number, about) for number in numbers])
        pass_time(ports)
        deliver(ports, "flood", airflow="")
        taken = due
        time.sleep(max(0.0, began + taken * seconds / count - time.monotonic()))
    print(json.dumps({"late_s": round(time.monotonic() - began - seconds, 2)}))


def _finding(ports: FakePorts, number: int, about: dict[str, object]) -> Finding:
    subject = {"model": f"m{number % MODELS}", "subject": f"column {number}", "what": f"column {number} broke"}
    return Finding.model_validate({**about, **subject, "at": ports.clock()})


def told(folder: Path, began: float) -> tuple[int, float]:
    """Findings that were told once all is sent, and the most messages that a model had a minute."""
    ports = flood_ports(folder)
    while ports.incidents.waiting():
        deliver(ports, "end", airflow="")
        time.sleep(1)
    minutes = (time.monotonic() - began) / MINUTE
    alerts = read_alerts(folder)
    numbers = [number for alert in alerts for number in alert["incidents"]]
    models = [alert["title"].split("] ")[1].split(":")[0] for alert in alerts]
    return len(set(numbers)), max(models.count(model) for model in set(models)) / (int(minutes) + 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_flood", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--flood", nargs=3, metavar=("FOLDER", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        flood(Path(options.flood[0]), int(options.flood[1]), int(options.flood[2]), TURN)
        return 0
    count = int(FINDINGS * TURN / MINUTE)
    ratios, late, began = [], [], time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, rows = train()
        content = request(rows, 1)
        with serving(folder / "serving", bundle(folder / "bundles", model, rows, "1"), GUARDED) as gateway:
            side = side_of("gateway", gateway)
            side.round(content, 1, 1.0)
            for number in range(options.rounds):
                quiet = side.round(content, 1, TURN)
                command = [sys.executable, "-m", "tests.bench.bench_flood", "--flood", f"{folder}/flood"]
                Path(f"{folder}/flood").mkdir(exist_ok=True)
                process = subprocess.Popen([*command, f"{number * count}", f"{count}"], stdout=subprocess.PIPE)
                pin(process.pid, CLIENT)
                time.sleep(2)  # it imports
                loud = side.round(content, 1, TURN)
                late.append(json.loads(process.communicate()[0])["late_s"])
                ratios.append(loud["p99_ms"] / quiet["p99_ms"])
                say(
                    bench="flood", round=number, quiet_p99_ms=round(quiet["p99_ms"], 3), p99_ms=round(loud["p99_ms"], 3)
                )
        number_told, most = told(folder / "flood", began)
    p99 = float(np.median(ratios))
    findings = options.rounds * count
    say(
        bench="flood_ratio",
        p99_times=round(p99, 2),
        least=round(min(ratios), 2),
        most=round(max(ratios), 2),
        target=MOST,
        met=p99 <= MOST and number_told == findings and most <= 1,
        findings=findings,
        told=number_told,
        messages_a_model_and_minute=round(most, 2),
        late_s=max(late),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

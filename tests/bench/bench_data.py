"""What it costs to ingest, audit and publish a day, and (``--full``) every day of the year one after the other."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.demo.land import land
from pipelines.errors import Refused
from pipelines.messages.ingestion import IngestRequest
from pipelines.messages.validation import PublishRequest, ValidateRequest
from pipelines.rules.contract_check import judge_contract
from pipelines.rules.quarantine import judge_audit
from pipelines.steps import ingest_partition, publish_partition
from pipelines.testing.ports import FakePorts

DATASET = "flights"
FIRST, LAST = date(2013, 1, 1), date(2013, 12, 31)
STEPS = ("ingest", "audit", "publish")


def one_day(day: date, ports: FakePorts) -> dict[str, float]:
    """Seconds of each step of one day, its two decisions included."""
    from pipelines.steps import audit_partition

    spec = ports.catalog.dataset(DATASET)
    started = perf_counter()
    ingested = judge_contract(ingest_partition.run(IngestRequest(dataset=DATASET, partition=f"{day}"), ports))
    after_ingest = perf_counter()
    audit = audit_partition.run(ValidateRequest(dataset=DATASET, partition=f"{day}"), ports)
    after_audit = perf_counter()
    audited = judge_audit(audit, spec.max_quarantined_share)
    publish_partition.run(PublishRequest(audit=audit, accept=audited.passed), ports)
    ended = perf_counter()
    if not (ingested.passed and audited.passed):
        raise Refused(f"{day} was refused, so there is nothing to measure", [*ingested.reasons, *audited.reasons])
    return dict(zip(STEPS, (after_ingest - started, after_audit - after_ingest, ended - after_audit), strict=True))


def run(full: bool = False) -> Iterator[dict[str, Any]]:
    """One dict per measurement; seconds are wall time, in one process."""
    with tempfile.TemporaryDirectory(prefix="airworthy-bench-") as folder:
        ports = FakePorts.make(Path(folder), store=DeltaStore(f"{folder}/store"))
        last = LAST if full else FIRST + timedelta(days=1)
        started = perf_counter()
        deliveries = len(land(FIRST, last, ports))
        yield _line("land", perf_counter() - started, deliveries=deliveries)

        started = perf_counter()
        import great_expectations  # noqa: F401 - paid once per process: named apart from the work itself

        yield _line("import_great_expectations", perf_counter() - started)
        yield _day_line("data_first_day", one_day(FIRST, ports))
        yield _day_line("data_next_day", one_day(FIRST + timedelta(days=1), ports))
        yield _day_line("data_same_day_again", one_day(FIRST, ports))
        if full:
            yield _year(ports)


def _year(ports: FakePorts) -> dict[str, Any]:
    totals = dict.fromkeys(STEPS, 0.0)
    days = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]
    for day in days:
        for step, seconds in one_day(day, ports).items():
            totals[step] += seconds
    published, quarantined = store_paths.validated("flights", "flights"), store_paths.quarantine("flights", "weather")
    return {
        **_day_line("data_year", totals),
        "days": len(days),
        "flights_published": ports.store.read(published, columns=["day"]).height,
        "weather_quarantined": ports.store.read(quarantined, columns=["day"]).height,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _day_line(bench: str, steps: dict[str, float]) -> dict[str, Any]:
    return _line(bench, sum(steps.values()), **{f"{step}_seconds": round(took, 3) for step, took in steps.items()})


def _line(bench: str, seconds: float, **facts: Any) -> dict[str, Any]:
    return {"bench": bench, "seconds": round(seconds, 3), **facts}


if __name__ == "__main__":
    for line in run(full="--full" in sys.argv[1:]):
        print(json.dumps(line), flush=True)

"""Paths of the tables and files in the store."""

from __future__ import annotations

import re
from datetime import date

MANIFEST = "_manifest.json"
"""Name of the file that a source writes last, which completes a delivery."""
FORMAT, FORMAT_FILE = 2, "store.json"
"""Number of the layout of these paths, and the file of the store that says it."""
REPORT = re.compile(r"(?:.*/)?(?P<path>reports/(?:validation|drift|live_inputs|evaluation)/[^/]+/.+)")
Key = str | date
"""Names a partition: its key (``pipelines.spec.partitions``), or the date of a day."""


def landing(dataset: str, source: str, partition: Key, name: str = "") -> str:
    return f"landing/{dataset}/{source}/{partition}/{name}"


def landing_of(dataset: str, source: str) -> str:
    """Folder of all deliveries of a source."""
    return f"landing/{dataset}/{source}/"


def delivered_partition(path: str) -> str | None:
    """The partition folder of ``landing/<dataset>/<source>/<partition>/<file>``, None for a path that has none."""
    parts = path.split("/")
    return parts[3] if len(parts) > 4 else None


def receipt(dataset: str, partition: Key) -> str:
    """Receipt of a partition's last ingested or refused delivery, which is ignored until it changes."""
    return f"receipts/{dataset}/{partition}.json"


def raw(dataset: str, source: str) -> str:
    return f"raw/{dataset}.{source}"


def raw_receipt(dataset: str, source: str, partition: Key) -> str:
    """Receipt of the raw partition: the delivery's digests and the version that wrote it."""
    return f"receipts/{raw(dataset, source)}/{partition}.json"


def raw_receipts_of(dataset: str, source: str) -> str:
    """Folder of the receipts of all raw partitions of a source."""
    return f"receipts/{raw(dataset, source)}/"


def late(dataset: str, source: str, partition: Key = "", delivery: Key = "") -> str:
    """Rows of a partition that came with the delivery of a later one; without a partition the folder of all.

    The file with the partition's own name has the rows of its own delivery, for when its landed files are gone.
    """
    folder = f"late/{dataset}/{source}/" + (f"{partition}/" if partition else "")
    return folder + (f"{delivery}.parquet" if delivery else "")


def delivery(dataset: str, source: str, partition: Key, version: int | str = "") -> str:
    """What a version of the raw table holds of a partition; without a version the folder of all. Kept for ever."""
    return f"deliveries/{dataset}.{source}/{partition}/" + (f"{version}.json" if version != "" else "")


def partition_of_file(path: str) -> str:
    """The partition of ``<folder>/<partition>.json``, such as a receipt or a profile."""
    return path.rpartition("/")[2].removesuffix(".json")


def validated(dataset: str, source: str) -> str:
    return f"validated/{dataset}.{source}"


def quarantine(dataset: str, source: str) -> str:
    return f"quarantine/{dataset}.{source}"


def features(view: str) -> str:
    return f"features/{view}"


def definitions(view: str) -> str:
    """The feature definitions of the view's last build: a ``FeatureDefinitions`` message."""
    return f"features/{view}/definitions.json"


def table_root(table: str) -> str:
    """Path of a Delta table below the store's root."""
    return f"tables/{table}"


def profile(table: str, partition: Key) -> str:
    return f"profiles/{table}/{partition}.json"


def profiles_of(table: str) -> str:
    """Folder of the profiles of all partitions; each that was published has one, also without a row."""
    return f"profiles/{table}/"


def training_profile(model: str, version: str) -> str:
    """The reference of drift: the profile of the version's training rows."""
    return f"profiles/training/{model}/{version}.json"


def caller_profile(model: str, day: date) -> str:
    """The profile of the rows that callers sent about events of a day."""
    return f"profiles/callers/{model}/{day:%Y-%m-%d}.json"


def estimate(model: str, day: date) -> str:
    """The performance that was estimated for the window up to a day, with its truth once that is known."""
    return f"monitoring/{model}/estimates/{day:%Y-%m-%d}.json"


def staged(dataset: str, partition: Key) -> str:
    return f"staged/{dataset}/{partition}"


def staged_features(view: str, partition: Key, digest: str = "") -> str:
    """Rows of a built partition, by their digest, until a rule has judged them; without it the folder of all."""
    return f"staged_features/{view}/{partition}/" + (f"{digest}.parquet" if digest else "")


def data_docs(dataset: str, partition: Key) -> str:
    return f"reports/validation/{dataset}/{partition}.html"


def drift_report(model: str, day: date) -> str:
    return f"reports/drift/{model}/{day:%Y-%m-%d}.html"


def live_input_report(model: str, day: date) -> str:
    return f"reports/live_inputs/{model}/{day:%Y-%m-%d}.html"


def plot(model: str, version: str, name: str) -> str:
    return f"reports/evaluation/{model}/{version}/{name}.png"


def report_path(address: str | None) -> str | None:
    """The path in the store of a report, by its path or its address, as steps return it; None: it is no report."""
    named = REPORT.fullmatch(address or "")
    return named["path"] if named else None


def snapshot(model: str, digest: str, name: str) -> str:
    return f"snapshots/{model}/{digest}/{name}"


def training_receipt(model: str, request_digest: str) -> str:
    """What a training made, written before its version is registered; by it a retry takes the version up."""
    return f"trainings/{model}/{request_digest}.json"


def checkpoint(model: str, run_key_digest: str, name: str = "") -> str:
    return f"checkpoints/{model}/{run_key_digest}/{name}"


def pod_run(dag_id: str, run: str, task: str, attempt: str, name: str = "") -> str:
    """One launch of one step in a pod: its ticket, log, result and manifest."""
    return f"runs/{dag_id}/{run}/{task}/{attempt}/{name}"


def declarations(digest: str) -> str:
    """The declarations of a launch: all files of the include folder in one file."""
    return f"declarations/{digest}.json"


def bundle(model: str, version: str, name: str = "") -> str:
    return f"bundles/{model}/{version}/{name}"


def predictions(model: str) -> str:
    """Parquet files below ``date=<UTC date of prediction>/``."""
    return f"predictions/{model}/"


def performance(model: str) -> str:
    """Table of one row per prediction day: predictions, labelled, metrics."""
    return f"monitoring/{model}_performance"


def rollout(model: str, rollout_id: str, name: str) -> str:
    """Reports and plots of one rollout."""
    return f"rollouts/{model}/{rollout_id}/{name}"


def approval_form(model: str, digest: str) -> str:
    """The text of an approval form, under its sha256."""
    return f"approvals/{model}/{digest}.md"


def ledger_heads(name: str = "") -> str:
    """Heads of the ledger, each file named by the line that was the newest when it was written."""
    return f"ledger/heads/{name}"

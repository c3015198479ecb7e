"""Paths of the tables and files in the store."""

from __future__ import annotations

from datetime import date

MANIFEST = "_manifest.json"
"""Name of the file that a source writes last, which completes a delivery."""


def landing(source: str, day: date, name: str = "") -> str:
    return f"landing/{source}/{day:%Y-%m-%d}/{name}"


def landing_of(source: str) -> str:
    """Folder of all deliveries of a source."""
    return f"landing/{source}/"


def delivered_day(path: str) -> date | None:
    """The day of ``landing/<source>/<day>/<file>``, None for a folder that is no day written ``YYYY-MM-DD``."""
    parts = path.split("/")
    return _day(parts[2]) if len(parts) > 3 else None


def receipt(dataset: str, day: date) -> str:
    """Receipt of a day's last ingested or refused delivery, which is ignored until it changes."""
    return f"receipts/{dataset}/{day:%Y-%m-%d}.json"


def raw(source: str) -> str:
    return f"raw/{source}"


def raw_receipt(source: str, day: date) -> str:
    """Receipt of the raw partition: the delivery's digests and the version that wrote it."""
    return f"receipts/raw/{source}/{day:%Y-%m-%d}.json"


def raw_receipts_of(source: str) -> str:
    """Folder of the receipts of all raw partitions of a source."""
    return f"receipts/raw/{source}/"


def received_day(path: str) -> date | None:
    """The day of ``receipts/raw/<source>/<day>.json``."""
    return _day(path.rpartition("/")[2].removesuffix(".json"))


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None  # 20130105 is a date of ISO 8601, too, and no folder of ours


def validated(source: str) -> str:
    return f"validated/{source}"


def quarantine(source: str) -> str:
    return f"quarantine/{source}"


def features(view: str) -> str:
    return f"features/{view}"


def definitions(view: str) -> str:
    """The feature definitions of the view's last build: a ``FeatureDefinitions`` message."""
    return f"features/{view}/definitions.json"


def table_root(table: str) -> str:
    """Path of a Delta table below the store's root."""
    return f"tables/{table}"


def profile(table: str, day: date) -> str:
    return f"profiles/{table}/{day:%Y-%m-%d}.json"


def training_profile(model: str, version: str) -> str:
    """The reference of drift: the profile of the version's training rows."""
    return f"profiles/training/{model}/{version}.json"


def staged(dataset: str, day: date) -> str:
    return f"staged/{dataset}/{day:%Y-%m-%d}"


def data_docs(dataset: str, day: date) -> str:
    return f"reports/validation/{dataset}/{day:%Y-%m-%d}.html"


def drift_report(model: str, day: date) -> str:
    return f"reports/drift/{model}/{day:%Y-%m-%d}.html"


def plot(model: str, version: str, name: str) -> str:
    return f"reports/evaluation/{model}/{version}/{name}.png"


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

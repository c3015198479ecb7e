"""Takes files through the steps and rules that Airflow runs, from landing to the gates, in a store in memory.

Nothing of the installation is written: store, registry and ledger are those of the trial alone.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateResult, Interval
from pipelines.messages.features import FeaturesRequest, PublishFeaturesRequest
from pipelines.messages.ingestion import IngestRequest
from pipelines.messages.training import SnapshotRequest, SnapshotResult, TrainRequest
from pipelines.messages.validation import AuditResult, SourceAudit
from pipelines.ports import Ports
from pipelines.rules.contract_check import judge_contract
from pipelines.rules.leaks import leak_reasons
from pipelines.rules.minimum_metrics_gate import judge_minimum_metrics
from pipelines.rules.point_in_time_features import judge_features
from pipelines.rules.quarantine import judge_audit
from pipelines.rules.training_snapshot import judge_snapshot
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.spec.partitions import FIRST_DATE
from pipelines.spec.source import OWN_REASONS_COLUMN, SourceSpec
from pipelines.tables.quarantined_rows import REASONS_COLUMN
from pipelines.verdict import Verdict, counted

if TYPE_CHECKING:
    import polars as pl

    from pipelines.steps.training.plan import TrainingResult
    from pipelines.testing.ports import FakePorts

RUN_KEY = "try"
LANDED = datetime(1970, 1, 1, tzinfo=UTC)
"""When the files of a trial were written: so long ago that they rest, where a source is complete by a quiet time."""


@dataclass
class SourceTrial:
    """``partitions``: those that were delivered. ``reasons``: rows in quarantine by why."""

    partitions: int = 0
    accepted: int = 0
    quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, audit: SourceAudit, *, accepted: bool) -> None:
        self.accepted += audit.accepted if accepted else 0
        self.quarantined += audit.quarantined
        for reason, rows in audit.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + rows


@dataclass
class Trial:
    """What a trial has shown, as far as it came. ``refused``: stage to why."""

    sources: dict[str, SourceTrial] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    null_shares: dict[str, float] = field(default_factory=dict)
    snapshot: SnapshotResult | None = None
    label_mean: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    baseline: dict[str, float | None] = field(default_factory=dict)
    interval: Interval | None = None
    """Of the gain over the baseline."""
    rounds: int | None = None
    leaks: dict[str, list[str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """As JSON takes them."""
        return {
            "sources": {name: vars(source) for name, source in self.sources.items()},
            "refused": [{"stage": stage, "reason": reason} for stage, reason in self.refused],
            "null_shares": self.null_shares,
            "snapshot": None if self.snapshot is None else self.snapshot.model_dump(mode="json", by_alias=True),
            "metrics": self.metrics,
            "baseline": self.baseline,
            "interval": None if self.interval is None else self.interval.model_dump(mode="json", by_alias=True),
            "rounds": self.rounds,
            "leaks": self.leaks,
            "notes": self.notes,
        }

    def refuse(self, stage: str, verdict: Verdict, about: str = "") -> None:
        self.refused += [(stage, f"{about}{reason}") for reason in verdict.reasons]


@contextmanager
def scratch_ports(ports: Ports, model: str, changes: Mapping[str, Any]) -> Iterator[FakePorts]:
    """Ports of a temporary home with the installation's declarations; ``changes``: dotted field of the model to value.

    Raises ``Refused`` with every fault of the changed model.
    """
    from pipelines.testing.memory_store import MemoryStore
    from pipelines.testing.ports import FakePorts

    with tempfile.TemporaryDirectory(prefix="airworthy-try-") as folder:
        home, include = Path(folder), ports.settings.include
        catalog = ports.catalog
        if changes:
            include = home / "include"
            shutil.copytree(ports.settings.include, include)
            _change_model(include / "models" / f"{model}.yaml", changes)
            catalog = Catalog.read(include)
        settings = ports.settings.model_copy(update={"home": home, "include": include, "store": str(home / "store")})
        yield FakePorts(settings=settings, catalog=catalog, clock=ports.clock, store=MemoryStore(lambda: LANDED))


def _change_model(path: Path, changes: Mapping[str, Any]) -> None:
    import yaml

    from pipelines.spec.plain_yaml import load

    fields = load(path.read_text(encoding="utf-8"))
    for place, value in changes.items():
        *blocks, name = place.split(".")
        block = fields
        for part in blocks:
            block = block.setdefault(part, {})
            if not isinstance(block, dict):
                raise Refused(f"--set {place}: {part} has no fields; name one that has")
        block[name] = value
    path.write_text(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), encoding="utf-8")


def run_trial(model: str, deliveries: Mapping[str, Sequence[str]], ports: FakePorts, *, as_of: datetime) -> Trial:
    """Ingest, validate, build, freeze, train and judge, until a stage has nothing left to go on with."""
    trial = build_trial(ports.catalog.view_of(model), deliveries, ports)
    if ports.store.partitions(store_paths.features(ports.catalog.view_of(model).view)):
        _train(ports.catalog.model(model), as_of, trial, ports)
    return trial


def build_trial(view: FeatureView, deliveries: Mapping[str, Sequence[str]], ports: FakePorts) -> Trial:
    """Ingest, validate and build the rows of a view.

    ``deliveries``: source to the partitions that lie in the store of the trial.
    """
    trial = Trial(sources={source: SourceTrial(partitions=len(keys)) for source, keys in deliveries.items()})
    dataset = ports.catalog.dataset(view.dataset)
    whole = _whole_partitions(dataset, deliveries, trial)
    if not whole:
        trial.refused.append(("data", "no partition was delivered by every source"))
    days = _ingest(dataset, whole, trial, ports)
    if days:
        _build(view, days, trial, ports)
    return trial


def _ingest(dataset: DatasetSpec, keys: Sequence[str], trial: Trial, ports: FakePorts) -> list[str]:
    """Those of the partitions that were published, ascending."""
    from pipelines.steps import ingest_partition

    verdicts = {}
    for key in reversed(keys):  # late rows come with a later partition
        result = ingest_partition.run(IngestRequest(dataset=dataset.dataset, partition=key), ports)
        verdicts[key] = judge_contract(result)
    held = []
    for key, verdict in sorted(verdicts.items()):
        trial.refuse(f"contract {key}", verdict)
        held += [key] if verdict.passed else []
    published = []
    for key, partition in _judged_partitions(dataset, held, trial, ports):
        audits = [source.audit for source in partition]
        audit = AuditResult(dataset=dataset.dataset, partition=key, sources=audits, staged="")
        verdict = judge_audit(audit, dataset.max_quarantined_share)
        trial.refuse(f"quarantine {key}", verdict)
        for source in partition:
            trial.sources[source.audit.source].add(source.audit, accepted=verdict.passed)
            if verdict.passed:
                _publish(dataset.dataset, source, ports)
        published += [key] if verdict.passed else []
    return published


def _publish(dataset: str, judged: JudgedPartition, ports: FakePorts) -> None:
    """Write the accepted rows. Their profile is empty: it says that they are held, and a trial reads nothing of it."""
    table, key = store_paths.validated(dataset, judged.audit.source), judged.audit.landed
    ports.store.replace_partition(table, key, judged.accepted, input_version=judged.audit.raw_version)
    ports.store.put(store_paths.profile(table, key), b"{}")


def _whole_partitions(dataset: DatasetSpec, deliveries: Mapping[str, Sequence[str]], trial: Trial) -> list[str]:
    """Those that every source has delivered, with a copy of each reference for it or before, ascending."""
    parts = [{*deliveries[name]} for name, source in dataset.sources.items() if source.cadence == "partition"]
    copies = [min(deliveries[name]) for name in dataset.reference()]
    every = set().union(*parts) or {*copies}
    keys = {key for key in every if all(key in part for part in parts) and all(copy <= key for copy in copies)}
    if partial := sorted(every - keys):
        trial.notes.append(f"{counted(len(partial), 'partition')}, {partial[0]} to {partial[-1]}, not of every source")
    return sorted(keys)


@dataclass(frozen=True)
class JudgedRows:
    """Part (accepted, quarantined) to its rows: of each partition of a source, and those of one without rows."""

    of_partition: Mapping[str, Mapping[str, pl.DataFrame]]
    none: Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class JudgedPartition:
    """One partition of a source: what its suite accepts, and the counts."""

    accepted: pl.DataFrame
    audit: SourceAudit


def _judged_partitions(
    dataset: DatasetSpec, keys: Sequence[str], trial: Trial, ports: FakePorts
) -> Iterator[tuple[str, list[JudgedPartition]]]:
    """The sources of each partition; a copy of a reference is judged with the first."""
    judged: dict[str, JudgedRows] = {}
    for name, source in dataset.sources.items():
        table = store_paths.raw(dataset.dataset, name)
        if ports.store.version(table) is not None:
            judged[name] = _judge_rows(ports.store.read(table), source, name, trial, ports)
    copies = {name: min(judged[name].of_partition, default="") for name in dataset.reference() if name in judged}
    for number, key in enumerate(keys):
        yield (
            key,
            [
                _judged_partition(dataset.dataset, name, copies.get(name, key), rows, ports)
                for name, rows in judged.items()
                if number == 0 or name not in copies
            ],
        )


def _judged_partition(dataset: str, name: str, landed: str, judged: JudgedRows, ports: FakePorts) -> JudgedPartition:
    rows = judged.of_partition.get(landed, judged.none)
    reasons = rows["quarantined"][REASONS_COLUMN].explode().drop_nulls().value_counts()
    audit = SourceAudit(
        source=name,
        landed=landed,
        received=rows["accepted"].height + rows["quarantined"].height,
        accepted=rows["accepted"].height,
        quarantined=rows["quarantined"].height,
        reasons=dict(reasons.iter_rows()),
        raw_version=ports.store.version(store_paths.raw(dataset, name)) or 0,
    )
    return JudgedPartition(rows["accepted"], audit)


def _judge_rows(rows: pl.DataFrame, source: SourceSpec, name: str, trial: Trial, ports: FakePorts) -> JudgedRows:
    """All raw rows of a source by its suite at once: it judges each row by itself. The last column is the partition."""
    import polars as pl

    own = rows.columns[-1]
    suite = source.suite
    if suite is None:
        no_rows = rows.clear().rename({REASONS_COLUMN: OWN_REASONS_COLUMN}, strict=False)
        no_rows = no_rows.with_columns(pl.lit(None, pl.List(pl.String)).alias(REASONS_COLUMN))
        parts = {"accepted": rows, "quarantined": no_rows}
    else:
        from pipelines.steps.auditing.suite import read_suite
        from pipelines.steps.auditing.validation import split_by_suite

        judged = read_suite(ports.settings.include / "expectations" / f"{suite}.yaml")
        findings = split_by_suite(rows, judged, source.stored_personal)
        trial.refused += [("expectations", f"{name}: {failure}") for failure in findings.failures]
        parts = {"accepted": findings.accepted, "quarantined": findings.quarantined}
    keyed = {
        part: {str(key): frame.drop(own) for (key,), frame in table.partition_by(own, as_dict=True).items()}
        for part, table in parts.items()
    }
    none = {part: table.clear().drop(own) for part, table in parts.items()}
    keys = map(str, rows[own].unique())
    return JudgedRows({key: {part: keyed[part].get(key, none[part]) for part in parts} for key in keys}, none)


def _build(view: FeatureView, keys: Sequence[str], trial: Trial, ports: FakePorts) -> None:
    """Features of all days at once; a day that breaks a constraint is left out, as it would be."""
    from pipelines.steps import build_features, publish_features

    panel = view.panel
    held = [FIRST_DATE] if view.is_table else [date.fromisoformat(key) for key in keys]
    present = held if view.is_table else ports.store.days(store_paths.validated(view.dataset, view.entity_source))
    if panel is None:
        days = [day for day in held if day in present]
    else:
        days = [day for day in view.days(held[0], held[-1]) if panel.last_day(day) <= held[-1]]
    if not days or not present:
        trial.refused.append(("features", f"no row of {view.view} can be built of {len(held)} day(s)"))
        return
    built = build_features.run(FeaturesRequest(view=view.view, day=present[0], days=days), ports)
    refused: dict[date, list[str]] = {}
    rows: dict[str, int] = {}
    nulls: dict[str, int] = {}
    for partition in built.partitions:
        verdict = judge_features(partition, view)
        if not verdict.passed:
            refused[partition.day] = list(verdict.reasons)
            trial.refuse(f"features {partition.day}", verdict)
        for facts in partition.features:
            rows[facts.name] = rows.get(facts.name, 0) + facts.rows
            nulls[facts.name] = nulls.get(facts.name, 0) + facts.nulls
    trial.null_shares = {name: nulls[name] / count for name, count in rows.items() if count}
    publish_features.run(PublishFeaturesRequest(view=view.view, partitions=built.partitions, refused=refused), ports)


def _train(spec: ModelSpec, as_of: datetime, trial: Trial, ports: FakePorts) -> None:
    """Freeze the rows whose label is known, fit the judged model, and measure it on its test part."""
    import polars as pl

    from pipelines.steps import take_snapshot
    from pipelines.steps.training.plan import execute_plan, plan_training
    from pipelines.steps.training.snapshot import open_snapshot

    result = take_snapshot.run(SnapshotRequest(model=spec.model, as_of=as_of), ports)
    trial.snapshot = result
    verdict = judge_snapshot(result, spec)
    trial.refuse("snapshot", verdict)
    frame = take_snapshot.read_snapshot(ports.store, spec.model, result.digest)
    trial.label_mean = float(frame["target"].cast(pl.Float64).mean() or 0.0) if frame.height else None  # type: ignore[arg-type]
    _look_for_leaks(spec, result.features, trial, ports)
    request = TrainRequest(model=spec.model, snapshot=result.digest, run_key=RUN_KEY)
    try:
        plan = plan_training(request, result.features, ports)
        training = plan.training.model_copy(update={"search": None, "cross_validation": None})
        if plan.training.search or plan.training.cross_validation:
            trial.notes.append("search and cross-validation were left out")
        plan = plan.model_copy(update={"training": training, "refit": False, "device": "cpu", "workers": 1})
        trained = execute_plan(plan, open_snapshot(ports.store, spec.model, result.digest))
    except Refused as error:
        trial.refused += [("training", reason) for reason in [str(error.subject), *error.reasons]]
        return
    trial.rounds = trained.fitted.rounds
    _measure(spec, frame, trained, trial, ports)


def _look_for_leaks(spec: ModelSpec, features: Sequence[str], trial: Trial, ports: FakePorts) -> None:
    from pipelines.steps.leakage.view_leaks import feature_leaks, labelled_features

    view = ports.catalog.view_of(spec.model)
    dataset = ports.catalog.dataset(view.dataset)
    frame = labelled_features(ports.store, view, dataset, spec.target.expression, features)
    facts = feature_leaks(frame, view, features, is_condition=spec.problem == "classification")
    trial.leaks = {fact.name: reasons for fact in facts if (reasons := leak_reasons(fact))}


def _measure(spec: ModelSpec, frame: pl.DataFrame, trained: TrainingResult, trial: Trial, ports: FakePorts) -> None:
    """Metrics of the test part, those of answering with the mean label of the training rows, and the gain between."""
    import numpy as np
    import polars as pl

    from pipelines.steps.evaluation.comparison_units import unit_blocks
    from pipelines.steps.evaluation.metrics import measure
    from pipelines.steps.evaluation.paired_gain import PairedAnswers, paired_gain
    from pipelines.tables.encoding import encode

    test = frame.filter(part="test").filter(pl.col("target").is_not_null())
    target = test["target"].cast(pl.Float64).to_numpy()
    known = frame.filter(part="train")["target"].cast(pl.Float64).mean()
    baseline = np.full(test.height, known if isinstance(known, float) else 0.0)
    answers = trained.fitted.predict(encode(test, trained.features))
    threshold, comparison = spec.evaluation.threshold, spec.evaluation.comparison
    trial.metrics = measure(spec.problem, target, answers, threshold)
    trial.baseline = measure(spec.problem, target, baseline, threshold)
    if test.height:
        paired = PairedAnswers(target, answers, baseline, unit_blocks(test, spec, ports))
        trial.interval = paired_gain(spec.problem, comparison, paired, threshold=threshold)
    assert trial.snapshot is not None
    result = EvaluateResult(
        model=spec.model, version=RUN_KEY, snapshot=trial.snapshot.digest, rows=test.height, metrics=trial.metrics
    )
    verdict = judge_minimum_metrics(result, spec)
    trial.findings += verdict.findings
    trial.refuse("gate", verdict)

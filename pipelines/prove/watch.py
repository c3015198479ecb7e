"""Watches a stream day by day as Airflow does, and says which incidents a version opens; decides by the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import polars as pl

from pipelines.messages.monitoring import DayValue, DriftResult, PerformanceResult
from pipelines.prove.fleet import Version
from pipelines.prove.ground import Ground
from pipelines.rules.drift_check import judge_drift
from pipelines.rules.performance_check import judge_performance
from pipelines.steps.drift.findings import READ_DAYS, find_moved_columns
from pipelines.steps.drift.shifts import HISTORY_DAYS
from pipelines.steps.evaluation.metrics import measure
from pipelines.steps.measure_performance import WATCHED_DAYS
from pipelines.steps.monitoring.certificate_comparison import compare_days
from pipelines.steps.monitoring.day_values import day_values
from pipelines.tables.profile import TableProfile, profile_features
from pipelines.verdict import Verdict


@dataclass(frozen=True)
class Checked:
    """The verdicts of one virtual day. ``performance``: of the newest day whose labels are known by then."""

    number: int
    drift: Verdict
    performance: Verdict

    @property
    def broken(self) -> list[str]:
        """Columns that are broken."""
        columns = self.drift.facts["faults"]
        assert isinstance(columns, list)
        return [str(column) for column in columns]

    @property
    def is_worse(self) -> bool:
        """Whether the version is shown to answer worse than its certificate."""
        return bool(self.performance.facts["alarm"])


@dataclass(frozen=True)
class _Answered:
    """The answers about one day: ``day``, ``label`` and ``prediction``, and its values."""

    version: Version
    day: date
    answers: pl.DataFrame
    values: list[DayValue]


@dataclass
class Watch:
    """What was seen of a stream so far. The window is not held against training."""

    ground: Ground
    _profiles: list[tuple[date, TableProfile | None]] = field(default_factory=list)
    _answered: list[_Answered] = field(default_factory=list)

    def see(self, number: int, rows: pl.DataFrame, version: Version | None) -> None:
        """Take a day in: its profile and, with a version, its answers."""
        profile = profile_features(rows, self.ground.kinds) if rows.height else None
        self._profiles = [*self._profiles, (self.ground.day(number), profile)][-READ_DAYS:]
        if version is None or rows.is_empty():
            return
        answers = rows.select("day", pl.col("target").alias("label")).with_columns(
            prediction=pl.Series(version.predict(rows))
        )
        of_day = _Answered(version, self.ground.day(number), answers, day_values(answers, self.ground.spec))
        self._answered = [*self._answered, of_day][-WATCHED_DAYS:]

    def judge(self, number: int, version: Version) -> Checked:
        return Checked(number, self._drift(number, version), self._performance(number, version))

    def _drift(self, number: int, version: Version) -> Verdict:
        spec, names, reference = self.ground.spec, list(self.ground.kinds), version.reference
        names = [name for name in names if name not in spec.monitoring.drift.exclude]
        window = self._profiles[-spec.monitoring.drift.window_days :]
        result = DriftResult(
            model=spec.model,
            day=self.ground.day(number),
            window=[day for day, _ in window],
            version=str(version.trained),
            reference="",
            features=[],
            findings=find_moved_columns(self._profiles, names, reference, reference.influence),
            history_days=sum(profile is not None for _, profile in self._profiles[-HISTORY_DAYS - 2 : -2]),
        )
        return judge_drift(result, spec)

    def _performance(self, number: int, version: Version) -> Verdict:
        spec, performance = self.ground.spec, self.ground.spec.monitoring.performance
        last = self.ground.day(number - self.ground.view.label_lag)
        own = [each for each in self._answered if each.version is version and each.day <= last]
        values = [value for each in own for value in each.values]
        in_window = own[-performance.window_days :]
        empty = pl.DataFrame(schema={"day": pl.Date, "label": pl.Float64, "prediction": pl.Float64})
        answers = pl.concat([empty, *(each.answers for each in in_window)])
        metrics = measure(
            spec.problem, answers["label"].to_numpy(), answers["prediction"].to_numpy(), spec.evaluation.threshold
        )
        certificate = [value.metrics.get(performance.metric, 0.0) for value in version.certificate]
        result = PerformanceResult(
            model=spec.model,
            day=self.ground.day(number),
            window=[each.day for each in in_window],
            days=[],
            window_metrics=metrics,
            window_predictions=answers.height,
            window_labelled=answers.height,
            version=str(version.trained) if own else None,
            reference={performance.metric: sum(certificate) / len(certificate)} if certificate else {},
            comparison=compare_days(spec, version.certificate, values, last),
        )
        return judge_performance(result, spec)

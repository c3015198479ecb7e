"""Watches a stream day by day as Airflow does, and says which incidents a version opens; decides by the same rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from pipelines.messages.monitoring import ColumnFinding, DayValue, DriftResult, PerformanceResult
from pipelines.prove.fleet import Version
from pipelines.prove.ground import Ground
from pipelines.rules.drift_check import judge_drift
from pipelines.rules.performance_check import judge_performance
from pipelines.steps.drift.findings import READ_DAYS
from pipelines.steps.drift.many_days import find_moved_by_day
from pipelines.steps.drift.shifts import HISTORY_DAYS
from pipelines.steps.evaluation.metrics import Array
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
    """The answers about one day: how many there are, and its values."""

    version: Version
    day: date
    rows: int
    values: list[DayValue]


@dataclass
class Watch:
    """What was seen of a stream so far. The window is not held against training."""

    ground: Ground
    _profiles: list[tuple[date, TableProfile | None]] = field(default_factory=list)
    _answered: list[_Answered] = field(default_factory=list)

    def see(self, days: Sequence[pl.DataFrame], first: int, version: Version | None) -> None:
        """Take consecutive days in: the profile of each and, with a version, its answers."""
        for number, rows in enumerate(days, first):
            profile = profile_features(rows, self.ground.kinds) if rows.height else None
            self._profiles.append((self.ground.day(number), profile))
        together = pl.concat(days)
        if version is None or together.is_empty():
            return
        predictions = np.split(version.predict(together), np.cumsum([rows.height for rows in days])[:-1])
        for rows, prediction in zip(days, predictions, strict=True):
            if rows.height:
                self._answered.append(self._answers(rows, prediction, version))
        del self._answered[: -WATCHED_DAYS - len(days)]

    def _answers(self, rows: pl.DataFrame, prediction: Array, version: Version) -> _Answered:
        answers = rows.select("day", pl.col("target").alias("label"), pl.Series("prediction", prediction))
        spec = self.ground.spec
        values = day_values(answers, spec, spec.monitoring.performance.metric)
        return _Answered(version, rows["day"][0], rows.height, values)

    def judge(self, days: int, last: int, version: Version) -> list[Checked]:
        """The verdicts of so many days up to ``last``, the last that was seen; this version is live on all of them."""
        names = [name for name in self.ground.kinds if name not in self.ground.spec.monitoring.drift.exclude]
        reference = version.reference
        first, number = len(self._profiles) - days, last - days + 1
        findings = find_moved_by_day(self._profiles, first, names, reference, reference.influence)
        checked = [
            Checked(number + place, self._drift(first + place, of_day), self._performance(number + place, version))
            for place, of_day in enumerate(findings)
        ]
        del self._profiles[:-READ_DAYS]
        return checked

    def _drift(self, row: int, findings: list[ColumnFinding]) -> Verdict:
        spec = self.ground.spec
        past = [profile for _, profile in self._profiles[max(row - 1 - HISTORY_DAYS, 0) : row - 1]]
        window = self._profiles[max(row + 1 - spec.monitoring.drift.window_days, 0) : row + 1]
        result = DriftResult(
            model=spec.model,
            day=self._profiles[row][0],
            window=[day for day, _ in window],
            version="live",
            reference="",
            features=[],
            findings=findings,
            history_days=sum(profile is not None for profile in past),
        )
        return judge_drift(result, spec)

    def _performance(self, number: int, version: Version) -> Verdict:
        spec, performance = self.ground.spec, self.ground.spec.monitoring.performance
        last, until = self.ground.day(number - self.ground.view.label_lag), self.ground.day(number)
        answered = [each for each in self._answered if each.day <= until][-WATCHED_DAYS:]
        own = [each for each in answered if each.version is version and each.day <= last]
        values = [value for each in own for value in each.values]
        in_window = own[-performance.window_days :]
        rows = sum(each.rows for each in in_window)
        # The rule asks whether the window's metric was measured; its number is shown to people alone.
        measured = [value.metrics[performance.metric] for each in in_window for value in each.values if value.metrics]
        certificate = [value.metrics.get(performance.metric, 0.0) for value in version.certificate]
        result = PerformanceResult(
            model=spec.model,
            day=self.ground.day(number),
            window=[each.day for each in in_window],
            days=[],
            window_metrics={performance.metric: sum(measured) / len(measured) if measured else None},
            window_predictions=rows,
            window_labelled=rows,
            version=str(version.trained) if own else None,
            reference={performance.metric: sum(certificate) / len(certificate)} if certificate else {},
            comparison=compare_days(spec, version.certificate, values, last),
        )
        return judge_performance(result, spec)

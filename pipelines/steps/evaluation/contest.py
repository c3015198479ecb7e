"""Brings a candidate and another version to answers on the same rows, of which neither has learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from pipelines.errors import Refused
from pipelines.messages.evaluation import Method
from pipelines.ports import Ports, VersionInfo
from pipelines.spec.model import MINIMUM_UNITS, ModelSpec
from pipelines.steps.evaluation.comparison_units import row_entities, unit_blocks
from pipelines.steps.evaluation.forward_chaining import (
    CROSS_FITTED_PARTS,
    Recipe,
    Stretch,
    entity_parts,
    has_shorter_history,
    known_rows,
    later_stretches,
    read_recipe,
    train_again,
)
from pipelines.steps.evaluation.metrics import Array
from pipelines.steps.evaluation.paired_gain import PairedAnswers
from pipelines.steps.evaluation.rows import (
    FormerVersionMissing,
    SnapshotFacts,
    add_columns,
    event_days,
    former_columns,
    later_rows,
    snapshot_ends,
    time_span,
    with_meanings,
)
from pipelines.tables.entity_id import entity_id
from pipelines.verdict import significant

Predict = Callable[[VersionInfo, pl.DataFrame], Array]


@dataclass(frozen=True)
class Compared:
    """The compared rows with both answers (None: they could not be compared, and ``notes`` say why).

    ``held_out``: the rows of the test part that are later than both trainings, where there are any.
    """

    rows: pl.DataFrame
    answers: PairedAnswers | None
    method: Method = "held_out"
    trained_until: datetime | None = None
    notes: list[str] = field(default_factory=list)
    held_out: Compared | None = None


@dataclass
class Contest:
    """One candidate with its snapshot, which any number of versions can be compared with.

    ``test`` holds the candidate's answers in the column ``_candidate``.
    """

    spec: ModelSpec
    candidate: VersionInfo
    facts: SnapshotFacts
    test: pl.DataFrame
    predict: Predict
    ports: Ports
    _chained: dict[int, Array] = field(default_factory=dict)
    """The candidate's answers of each stretch or part, for the next opponent."""

    def against(self, version: str, role: str) -> Compared:
        """Compare on the test rows later than both trainings; where those have too few units, by models trained again.

        ``role`` names the other version in the notes. A version that cannot answer is not compared.
        """
        until = None
        try:
            info = self.ports.registry.get(self.spec.model, version)
            until, end = snapshot_ends(info, self.ports)
            held_out = self._held_out(info, until)
        except FormerVersionMissing as refusal:
            note = f"{role} {version} does not answer itself: {_reason(refusal)}"
            held_out = Compared(self.test.clear(), None, trained_until=until, notes=[note])
        except Refused as refusal:
            note = f"{role} {version} was not compared: {_reason(refusal)}"
            return Compared(self.test.clear(), None, trained_until=until, notes=[note])
        if held_out.answers is not None and held_out.answers.units >= MINIMUM_UNITS:
            return held_out
        unit = self.spec.evaluation.comparison.unit
        units = held_out.answers.units if held_out.answers else 0
        few = f"{role} {version}: {units} {unit} units of the test part are later than both trainings"
        try:
            again = self._train_again(info, until, end)
        except Refused as refusal:
            notes = [*held_out.notes, f"{few}, and they were not trained again: {_reason(refusal)}"]
            return replace(held_out, notes=notes)
        if again.answers is None or again.answers.units <= units:
            return replace(held_out, notes=[*held_out.notes, f"{few}, and training again gives no more"])
        why = [] if held_out.answers is not None else held_out.notes
        return replace(again, notes=[*why, *(f"{few}; {note}" for note in again.notes)], held_out=held_out)

    def _held_out(self, info: VersionInfo, until: datetime | None) -> Compared:
        rows = later_rows(self.test, self.facts.trained_until, until)
        if rows.is_empty():
            ends = [moment for moment in (self.facts.trained_until, until) if moment is not None]
            note = f"none of {self.test.height} test rows is later than {max(ends)}, the end of both trainings"
            self.predict(info, self.test.head(1))  # a version that cannot answer at all is not compared
            return Compared(rows, None, trained_until=until, notes=[note] if ends else [])
        notes = []
        if rows.height < self.test.height:
            count = f"compared on {rows.height} of {self.test.height} test rows"
            notes.append(f"{count}: those later than the training of both")
        answers = self._answers(
            rows, rows.get_column("_candidate").to_numpy(), self.predict(info, self._as_read_by(info, rows))
        )
        return Compared(rows, answers, trained_until=until, notes=notes)

    def _answers(self, rows: pl.DataFrame, candidate: Array, other: Array) -> PairedAnswers:
        target = rows.get_column("target").cast(pl.Float64).to_numpy()
        return PairedAnswers(target, candidate, other, unit_blocks(rows, self.spec, self.ports))

    def _as_read_by(self, info: VersionInfo, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with each feature as the other version was trained on it, whatever the declaration says now."""
        columns = former_columns(self.candidate, info, self.ports)
        return with_meanings(rows, columns, self.spec.model, self.ports)

    def days(self, rows: pl.DataFrame) -> pl.Series:
        """The local day of each row's event."""
        return event_days(rows, self.spec.model, self.ports)

    def _train_again(self, info: VersionInfo, until: datetime | None, end: datetime | None) -> Compared:
        """Forward chaining; for a table without time (``random`` or ``stratified``, entities) cross-fitting."""
        ours, theirs = read_recipe(self.candidate, self.ports), read_recipe(info, self.ports)
        frame = self.facts.whole_table()
        view = self.ports.catalog.view_of(self.spec.model)
        frame = add_columns(frame, [*ours.features, *theirs.features], self.spec.model, self.ports)
        frame = frame.with_columns(entity_id(view)).sort("prediction_time", maintain_order=True)
        try:
            theirs_frame, answers_itself = self._as_read_by(info, frame), True
        except FormerVersionMissing:  # the recipe is compared, on the values that there are
            theirs_frame, answers_itself = frame, False
        unit = self.spec.evaluation.comparison.unit
        days = self.days(frame)
        has_time = self.spec.training.split.strategy == "time_ordered" or days.n_unique() >= 2 * MINIMUM_UNITS
        if unit != "day" and not has_time:
            compared = self._cross_fit(frame, theirs_frame, unit, info, (ours, theirs))
            return replace(compared, trained_until=until)
        stretches = later_stretches(days, frame["prediction_time"], by_day=unit == "day")
        newest = time_span(self.facts.test)[1]
        lag = max(newest - end, timedelta(0)) if newest and end else timedelta(0)
        return self._chain(
            (frame, theirs_frame), stretches, info, (until if answers_itself else None, lag), (ours, theirs)
        )

    def _chain(
        self,
        frames: tuple[pl.DataFrame, pl.DataFrame],
        stretches: Sequence[Stretch],
        info: VersionInfo,
        age: tuple[datetime | None, timedelta],
        recipes: tuple[Recipe, Recipe],
    ) -> Compared:
        """Each recipe is trained before each stretch, the other version's on rows as much older as its own are today.

        Where so old rows are too few, or the candidate has a shorter history than the other version's recipe needs,
        the version itself answers, if it was trained before. ``age``: the end of its training, and how much older its
        snapshot is. ``frames``: the rows as the candidate and as the other version read them.
        """
        frame, theirs_frame = frames
        (until, lag), (ours, theirs) = age, recipes
        lacks_rows = has_shorter_history(ours.training, theirs.training)
        candidate, other, itself = [], [], 0
        for number, stretch in enumerate(stretches):
            rows = frame[stretch.places]
            if number not in self._chained:
                known = known_rows(frame, stretch.start, ours.training)
                what = f"version {self.candidate.version} on {stretch.start:%Y-%m-%d}"
                self._chained[number] = train_again(ours, known, what)(rows)
            candidate.append(self._chained[number])
            if info.version == self.candidate.version:
                other.append(self._chained[number])
                continue
            known = known_rows(theirs_frame, stretch.start - lag, theirs.training)
            too_few = lacks_rows or known.height < theirs.training.minimum_rows
            if too_few and until is not None and until < stretch.start:
                itself += 1
                other.append(self.predict(info, theirs_frame[stretch.places]))
            else:
                what = f"version {info.version} on {stretch.start - lag:%Y-%m-%d}"
                other.append(train_again(theirs, known, what)(theirs_frame[stretch.places]))
        rows = frame[np.concatenate([stretch.places for stretch in stretches])]
        answers = self._answers(rows, np.concatenate(candidate), np.concatenate(other))
        older = (
            f", those of version {info.version} on rows {significant(lag / timedelta(days=1))} days older"
            if lag
            else ""
        )
        alone = f" ({itself} stretches by version {info.version} itself)" if itself else ""
        note = (
            f"compared by forward chaining over {self.days(rows).n_unique()} days in {len(stretches)} stretches, each "
            f"answered by models trained on what was known before it{older}{alone}"
        )
        return Compared(rows, answers, "forward_chaining", until, [note])

    def _cross_fit(
        self,
        frame: pl.DataFrame,
        theirs_frame: pl.DataFrame,
        unit: str,
        info: VersionInfo,
        recipes: tuple[Recipe, Recipe],
    ) -> Compared:
        ours, theirs = recipes
        entities = row_entities(frame, self.spec, self.ports)
        candidate, other = np.empty(frame.height), np.empty(frame.height)
        parts = entity_parts(entities)
        if len(parts) < CROSS_FITTED_PARTS:
            raise Refused(f"cross-fitting needs {CROSS_FITTED_PARTS} parts of entities; {unit} gives {len(parts)}")
        for number, places in enumerate(parts):
            rest = np.setdiff1d(np.arange(frame.height), places)
            if number not in self._chained:
                fitted = train_again(ours, frame[rest], f"version {self.candidate.version}")
                self._chained[number] = fitted(frame[places])
            candidate[places] = self._chained[number]
            fitted = train_again(theirs, theirs_frame[rest], f"version {info.version}")
            other[places] = fitted(theirs_frame[places])
        note = f"compared by cross-fitting: each fifth by {unit} answered by models trained on the other four"
        return Compared(frame, self._answers(frame, candidate, other), "cross_fitting", notes=[note])


def _reason(refusal: Refused) -> str:
    return "; ".join([refusal.subject, *refusal.reasons])

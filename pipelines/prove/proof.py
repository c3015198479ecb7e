"""How often a harmless year disturbs a person, and how soon harm is found: seeded streams, watched day by day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from pipelines.errors import Refused
from pipelines.prove.fleet import Fleet, Version
from pipelines.prove.ground import WEEK, Ground
from pipelines.prove.streams import HARMFUL, HARMLESS, Kind, Stream, draw_stream, possible_kinds
from pipelines.prove.watch import Watch
from pipelines.spec.model import LOWER_IS_BETTER
from pipelines.steps.drift.findings import READ_DAYS
from pipelines.steps.evaluation.metrics import measure

YEAR = 52 * WEEK
TRAINED_EVERY = 28
FIRST_TRAINED = 12 * WEEK
WARM_UP = READ_DAYS - WEEK
"""Days before the year whose profiles are the columns' past."""
FOLLOWED = 90
"""Days after its onset on which harm is looked for."""
HARM_DAYS = 14
MOST_DRAWS, DRAWS_OF_A_KIND = 60, 10
"""Of a kind that costs nothing in so many draws the next one is planted."""
DRIFT, PERFORMANCE = "drift_fault", "performance"


class Outcome(BaseModel):
    """What became of a stream. Days count from the onset, which is day 1; None: not on any day that was looked at."""

    model_config = ConfigDict(frozen=True)

    number: int
    kind: Kind
    what: str
    is_harmful: bool
    loss: float | None = None
    """What the harm costs in the watched metric, over its first two weeks."""
    warnings: int = 0
    """Of a harmless year: incidents of a column that broke."""
    pages: int = 0
    """Of a harmless year: critical incidents, of performance."""
    found_after: int | None = None
    by: str | None = None


@dataclass(frozen=True)
class Proof:
    """Watches streams of a ground with the versions of a calendar, none of which has learnt from what is planted."""

    ground: Ground
    fleet: Fleet
    seed: int
    days: int = YEAR
    """Of a harmless year."""
    trained_every: int = TRAINED_EVERY
    """Days between the versions of the calendar."""

    @property
    def begins(self) -> int:
        """The first watched day: the columns have their past by then, and a version has been live for weeks."""
        return max(FIRST_TRAINED + self.trained_every, WARM_UP)

    def live(self, number: int) -> Version | None:
        """The version of the calendar that answers on a day; None before the first."""
        since = number - FIRST_TRAINED
        if since < 0:
            return None
        return self.fleet.version(FIRST_TRAINED + since // self.trained_every * self.trained_every)

    def harmless(self, number: int) -> Outcome:
        """One year of a stream without harm."""
        kinds = possible_kinds(self.ground, HARMLESS)
        kind = kinds[number % len(kinds)]
        stream = draw_stream(self.ground, (self.seed, number), kind, self.begins + self.days // 3)
        watch, warned, paged = Watch(self.ground), 0, 0
        broken: set[str] = set()
        was_worse = False
        for day in range(self.begins - WARM_UP, self.begins + self.days):
            version = self.live(day)
            watch.see(day, stream.rows_of(day), version)
            if day < self.begins or version is None:
                continue
            checked = watch.judge(day, version)
            warned += len(set(checked.broken) - broken)
            paged += checked.is_worse and not was_worse
            broken, was_worse = set(checked.broken), checked.is_worse
        return Outcome(number=number, kind=kind, what=stream.name, is_harmful=False, warnings=warned, pages=paged)

    def harmful(self, number: int) -> Outcome:
        """A stream in which harm is planted that costs half of the allowed loss or more; watched until it is found."""
        stream, loss = self._drawn_harm(number)
        watch, found_after, by = Watch(self.ground), None, None
        before: set[str] = set()
        for day in range(stream.onset - WARM_UP, stream.onset + FOLLOWED):
            version = self.live(day)
            watch.see(day, stream.rows_of(day), version)
            if day < stream.onset - 1 or version is None:
                continue
            checked = watch.judge(day, version)
            if day < stream.onset:
                before = set(checked.broken)
                continue
            columns = [name for name in checked.broken if name in stream.columns and name not in before]
            if columns or checked.is_worse:
                found_after, by = day - stream.onset + 1, DRIFT if columns else PERFORMANCE
                break
        facts = {"kind": stream.kind, "what": stream.name, "is_harmful": True, "loss": loss}
        return Outcome(number=number, found_after=found_after, by=by, **facts)

    def _drawn_harm(self, number: int) -> tuple[Stream, float]:
        """The first draw that costs enough to be called harm, of the stream's kind if it can."""
        kinds, spec = possible_kinds(self.ground, HARMFUL), self.ground.spec
        rng = np.random.default_rng([self.seed, number, 9])
        for attempt in range(MOST_DRAWS):
            kind = kinds[(number + attempt // DRAWS_OF_A_KIND) % len(kinds)]
            onset = self.begins + int(rng.integers(0, max(self.ground.length - self.begins - HARM_DAYS, 1)))
            stream = draw_stream(self.ground, (self.seed, number * MOST_DRAWS + attempt + 10**6), kind, onset)
            good, bad = (self._metric(stream, planted=planted) for planted in (False, True))
            if good is not None and bad is not None:
                loss = (bad - good) if spec.monitoring.performance.metric in LOWER_IS_BETTER else good - bad
                if loss >= spec.evaluation.comparison.allowed_loss(good) / 2:
                    return stream, loss
        raise Refused(f"none of {MOST_DRAWS} draws costs this model enough to be called harm")

    def _metric(self, stream: Stream, *, planted: bool) -> float | None:
        spec = self.ground.spec
        rows = pl.concat([stream.rows_of(stream.onset + day, planted=planted) for day in range(HARM_DAYS)])
        version = self.live(stream.onset)
        if rows.is_empty() or version is None:
            return None
        answers = version.predict(rows)
        measured = measure(spec.problem, rows["target"].to_numpy(), answers, spec.evaluation.threshold)
        return measured[spec.monitoring.performance.metric]


def prove(proof: Proof, streams: range) -> Iterator[Outcome]:
    """Watch these streams, every second one harmful."""
    for number in streams:
        yield proof.harmful(number // 2) if number % 2 else proof.harmless(number // 2)

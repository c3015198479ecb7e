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
from pipelines.prove.watch import Checked, Watch
from pipelines.spec.model import LOWER_IS_BETTER
from pipelines.steps.drift.findings import READ_DAYS
from pipelines.steps.evaluation.metrics import measure_one

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
BLOCK, FIRST_BLOCK = 28, 6
"""Days that are judged together; of harm, which is mostly found at once, fewer at first."""
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
        warned = paged = 0
        broken: set[str] = set()
        was_worse = False
        for checked in self._watched(stream, self.begins - WARM_UP, self.begins, self.begins + self.days):
            warned += len(set(checked.broken) - broken)
            paged += checked.is_worse and not was_worse
            broken, was_worse = set(checked.broken), checked.is_worse
        return Outcome(number=number, kind=kind, what=stream.name, is_harmful=False, warnings=warned, pages=paged)

    def harmful(self, number: int) -> Outcome:
        """A stream in which harm is planted that costs half of the allowed loss or more; watched until it is found."""
        stream, loss = self._drawn_harm(number)
        found_after, by = None, None
        before: set[str] = set()
        for checked in self._watched(stream, stream.onset - WARM_UP, stream.onset - 1, stream.onset + FOLLOWED):
            if checked.number < stream.onset:
                before = set(checked.broken)
                continue
            columns = [name for name in checked.broken if name in stream.columns and name not in before]
            if columns or checked.is_worse:
                found_after, by = checked.number - stream.onset + 1, DRIFT if columns else PERFORMANCE
                break
        facts = {"kind": stream.kind, "what": stream.name, "is_harmful": True, "loss": loss}
        return Outcome(number=number, found_after=found_after, by=by, **facts)

    def _watched(self, stream: Stream, seen: int, first: int, stop: int) -> Iterator[Checked]:
        """The verdicts of each day from ``first`` on, with the days from ``seen`` on as the past."""
        watch, live = Watch(self.ground), self.live(first)
        for start, end in self._blocks(seen, first, BLOCK):
            # Of the days before, only the answers of the version that is live on the first one are read.
            version = live if self.live(start) is live else None
            watch.see([stream.rows_of(number) for number in range(start, end)], start, version)
        for start, end in self._blocks(first, stop, FIRST_BLOCK if stream.is_harmful else BLOCK):
            version = self.live(start)
            watch.see([stream.rows_of(number) for number in range(start, end)], start, version)
            if version is not None:
                yield from watch.judge(end - start, end - 1, version)

    def _blocks(self, first: int, stop: int, days: int) -> Iterator[tuple[int, int]]:
        """Consecutive days that one version answers; so many in the first block."""
        while first < stop:
            since = first - FIRST_TRAINED
            next_version = FIRST_TRAINED + (since // self.trained_every + 1) * self.trained_every
            end = min(first + days, stop, FIRST_TRAINED if since < 0 else next_version)
            yield first, end
            first, days = end, BLOCK

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
        metric, threshold = spec.monitoring.performance.metric, spec.evaluation.threshold
        return measure_one(spec.problem, metric, rows["target"].to_numpy(), answers, threshold)


def prove(proof: Proof, streams: range) -> Iterator[Outcome]:
    """Watch these streams, every second one harmful."""
    for number in streams:
        yield proof.harmful(number // 2) if number % 2 else proof.harmless(number // 2)

"""Writes what a proof measured as Markdown: how many harmless years disturb a person, how soon each harm is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from pipelines.prove.proof import DRIFT, FOLLOWED, Outcome
from pipelines.prove.streams import HARMFUL, HARMLESS

MOST_PAGED, LEAST_FOUND = 0.05, 0.9


def report_text(model: str, seed: int, days: int, outcomes: Sequence[Outcome]) -> str:
    """A page of its own, in Markdown."""
    lines = [f"# {model}: {len(outcomes)} streams, seed {seed}", "", *harmless_lines(days, outcomes), ""]
    return "\n".join([*lines, *harmful_lines(outcomes), ""])


def harmless_lines(days: int, outcomes: Sequence[Outcome]) -> Iterator[str]:
    own = [outcome for outcome in outcomes if not outcome.is_harmful]
    heads = "streams | with a page (critical) | with a warning (a column broke) | warnings"
    yield f"| harmless, {days} days each | {heads} |"
    yield "|---|---|---|---|---|"
    for kind in (*HARMLESS, None):
        streams = [outcome for outcome in own if kind is None or outcome.kind == kind]
        if streams:
            paged, warned = (sum(getattr(each, name) > 0 for each in streams) for name in ("pages", "warnings"))
            together = sum(each.warnings for each in streams)
            yield f"| {kind or 'all'} | {len(streams)} | {paged} | {warned} | {together} |"


def harmful_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    own = [outcome for outcome in outcomes if outcome.is_harmful]
    yield f"| harmful | streams | found in {FOLLOWED} days | by the inputs | by the labels | median day | slowest |"
    yield "|---|---|---|---|---|---|---|"
    for kind in (*HARMFUL, None):
        streams = [outcome for outcome in own if kind is None or outcome.kind == kind]
        delays = sorted(each.found_after for each in streams if each.found_after is not None)
        if streams:
            by_inputs = sum(each.by == DRIFT for each in streams)
            shown = f"{median(delays):g} | {delays[-1]}" if delays else "- | -"
            counts = f"{len(streams)} | {len(delays)} | {by_inputs} | {len(delays) - by_inputs}"
            yield f"| {kind or 'all'} | {counts} | {shown} |"
    missed = [outcome for outcome in own if outcome.found_after is None]
    if missed:
        yield ""
        yield "Not found: " + "; ".join(f"{each.what} (costs {each.loss or 0:.3f})" for each in missed) + "."


def goal_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Each goal with what was measured, and whether it holds."""
    harmless = [outcome for outcome in outcomes if not outcome.is_harmful]
    harmful = [outcome for outcome in outcomes if outcome.is_harmful]
    if harmless:
        paged_years = sum(outcome.pages > 0 for outcome in harmless)
        holds = paged_years <= MOST_PAGED * len(harmless)
        yield f"{'holds' if holds else 'MISSED'}: {paged_years} of {len(harmless)} harmless years page, at most 5 %"
    if harmful:
        detected = sum(outcome.found_after is not None for outcome in harmful)
        holds = detected >= LEAST_FOUND * len(harmful)
        yield f"{'holds' if holds else 'MISSED'}: {detected} of {len(harmful)} harmful streams are found, at least 90 %"

"""A day's features pass only if every feature was measured and satisfies its declared constraints."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.messages.features import BuiltPartition, FeatureFacts
from pipelines.spec.durations import written_duration
from pipelines.spec.features import Feature, FeatureView
from pipelines.verdict import Verdict

RULE = "point_in_time_features"


def judge_features(built: BuiltPartition, view: FeatureView) -> Verdict:
    """FAIL on a broken constraint or another definition than the view's, UNKNOWN on a feature that was not measured.

    A stale source produces nulls (an observation older than its ``max_age`` is null), so the share of nulls detects it.
    """
    if built.without_entities:
        no_rows: dict[str, object] = {"day": str(built.day), "rows": built.rows, "null_shares": {}}
        return Verdict.of(RULE, findings=[f"{built.day} was published without entities"], facts=no_rows)
    failures: list[str] = []
    unknowns = [] if built.rows else [f"{view.view} has no row of {built.day}"]
    measured = {facts.name: facts for facts in built.features}
    for name, feature in view.features.items():
        facts = measured.get(name)
        if facts is None or not facts.rows:
            unknowns.append(f"{name} was not measured")
            continue
        broken, open_questions = _constraint_faults(name, feature, facts)
        failures += broken
        unknowns += open_questions
    digests = view.definition_digests()
    failures += [
        f"{name} was built by another definition than the declared one; build {built.day} again"
        for name, digest in built.definition_digests.items()
        if digests.get(name, digest) != digest
    ]
    shares = {facts.name: round(facts.nulls / facts.rows, 4) for facts in built.features if facts.rows}
    facts_seen = {"day": str(built.day), "rows": built.rows, "null_shares": shares}
    findings = [f"{built.rows} rows of {built.day}, {len(shares)} features"]
    if shares:
        name = max(shares, key=lambda feature: shares[feature])
        findings.append(f"largest share of nulls {shares[name]:.4f} ({name})")
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts_seen)


def _constraint_faults(name: str, feature: Feature, facts: FeatureFacts) -> tuple[list[str], list[str]]:
    """(failures, unknowns) of one feature."""
    limits = feature.constraints
    failures: list[str] = []
    unknowns: list[str] = []
    share = facts.nulls / facts.rows
    if share > limits.max_null_share:
        failures.append(f"{name}: share of nulls {share:.4f} > {limits.max_null_share:g}")
    if limits.freshness is not None:
        if facts.stale_rows is None:
            unknowns.append(f"{name}: freshness was not measured")
        elif facts.stale_rows:
            longest, rows = written_duration(limits.freshness), f"{facts.stale_rows} of {facts.rows} rows"
            if facts.oldest is None:
                failures.append(f"{name}: {rows} read nothing that was known within {longest} (freshness)")
            else:
                age = written_duration(facts.oldest)
                failures.append(f"{name}: {rows} read what is older than {longest} (freshness), up to {age}")
    if facts.nulls == facts.rows:
        return failures, unknowns
    if limits.allowed is not None:
        if facts.other_values is None:
            unknowns.append(f"{name}: values beside those allowed were not measured")
        elif facts.other_values:
            listed = ", ".join(f"{value!r} in {rows} rows" for value, rows in facts.other_values.items())
            failures.append(f"{name}: has values that are not allowed: {listed}")
    for limit, value, word in ((limits.minimum, facts.minimum, "minimum"), (limits.maximum, facts.maximum, "maximum")):
        if limit is None:
            continue
        if value is None:
            unknowns.append(f"{name}: {word} was not measured")
        elif word == "minimum" and value < limit:
            failures.append(f"{name}: minimum {value:g} < {limit:g}")
        elif word == "maximum" and value > limit:
            failures.append(f"{name}: maximum {value:g} > {limit:g}")
    return failures, unknowns


def judge_definitions(view: FeatureView, registered: Mapping[str, tuple[int, str]]) -> Verdict:
    """FAIL if a feature's definition changed since it was last built, and its version did not rise.

    ``registered``: feature to (version, digest), as in ``FeatureDefinitions``; empty before the first build.
    """
    versions: dict[str, object] = {name: feature.version for name, feature in view.features.items()}
    return Verdict.of(RULE, failures=view.definition_faults(registered), facts=versions)

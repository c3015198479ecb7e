"""A partition has arrived only when every expected source has delivered it completely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.verdict import Verdict


def judge_arrival(expected: Sequence[str], arrived: Mapping[str, int | None], lacking: Mapping[str, str]) -> Verdict:
    """PASS when all expected sources have delivered; UNKNOWN, naming each missing one, as long as they have not.

    ``arrived``: rows by source, None: nobody has counted them. ``lacking``: source to what its delivery lacks.
    """
    missing = [source for source in expected if source not in arrived]
    return Verdict.of(
        "partition_arrival",
        unknowns=[f"{source}: {lacking.get(source, 'its delivery was not complete; wait')}" for source in missing],
        facts={"arrived": {source: arrived[source] for source in sorted(arrived)}},
    )

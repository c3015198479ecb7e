"""Says why a regular expression cannot be a pattern of texts: it is none, may take any time, or is read otherwise.

Texts are matched by an engine of linear time, whose language is smaller than Python's: what both read alike is allowed.
"""

from __future__ import annotations

import math
import re
import warnings

NOT_LINEAR = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|\\[1-9]")
"""Look-around, conditions, atomic groups and back-references: they make a search take any time."""
ESCAPES = set("dDwWsSbBnrtfvxuA")
"""Letters after a backslash that mean the same in both languages."""
GROUP = re.compile(r"\(\?(?::|P<[A-Za-z_][A-Za-z0-9_]*>|[ims]+[:)])")
COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}[?+]?")
LARGEST_COUNT = 1000
"""Of repetitions, those of a repeated group multiplied: each is a copy of its part in the engine's memory."""
TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[^:)>]*[:)>]?|.", re.DOTALL)


def pattern_faults(pattern: str) -> list[str]:
    """Each with what to write; empty: texts can be held against it."""
    try:
        with warnings.catch_warnings(action="ignore"):  # what Python may read otherwise one day is refused below
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return [f"pattern is no regular expression ({error}); correct it"]
    tokens = TOKEN.findall(pattern)
    faults = [fault for token in tokens if (fault := _fault(token))]
    plain = _without_classes(tokens)
    if "{" in COUNT.sub("", plain):
        faults.append("pattern has a { that counts nothing; write \\\\{ for the sign")
    counts = [int(upper or lower) for lower, upper in COUNT.findall(plain)]
    if math.prod(max(count, 1) for count in counts) > LARGEST_COUNT:
        faults.append(f"pattern repeats parts more than {LARGEST_COUNT:,} times; write it with `*` or `+`")
    return list(dict.fromkeys(faults))


def _fault(token: str) -> str | None:
    if NOT_LINEAR.match(token):
        return "pattern has look-around, a condition or a back-reference; write it without"
    if token.startswith("\\"):
        is_known = not token[1].isalnum() or token[1] in ESCAPES
        return None if is_known else f"pattern has {token}, which is not read; write it otherwise"
    if token.startswith("(?"):
        return None if GROUP.match(token) else f"pattern has {token}, which is not read; write (?: for a group"
    if token.startswith("[") and len(token) > 1:
        inside = token[1:-1]
        escapes = [fault for escape in re.findall(r"\\.", inside, re.DOTALL) if (fault := _fault(escape))]
        if "[" in re.sub(r"\\.", "", inside) or re.search(r"&&|--|~~|\|\|", inside):
            return "pattern has [, &&, --, ~~ or || within brackets; write \\ before each of its signs"
        return escapes[0] if escapes else None
    return None


def _without_classes(tokens: list[str]) -> str:
    return "".join(token for token in tokens if not token.startswith(("[", "\\")))

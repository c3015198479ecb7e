"""Reads YAML with only ``true`` and ``false`` as booleans, and refuses a field that is given twice."""

from __future__ import annotations

import re
from typing import Any

import yaml

_Safe: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOLEAN_TAG = "tag:yaml.org,2002:bool"
_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(_Safe):  # type: ignore[misc, valid-type]
    """The safe loader with the booleans of YAML 1.2 (``on``, ``no`` and ``NO`` are words) and unique keys."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN_TAG]
        for first, resolvers in _Safe.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called before a mapping's merges (``<<``) are resolved, and again when it is merged itself."""
        if not vars(node).get("unique"):
            vars(node)["unique"] = True
            _refuse_duplicates(node)
        super().flatten_mapping(node)


def _refuse_duplicates(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
            continue
        if key.value in seen:
            fault = f"{key.value!r} is given twice; remove one of them"
            raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
        seen.add(key.value)


_Loader.add_implicit_resolver(_BOOLEAN_TAG, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def load(text: str) -> Any:
    """Content of one YAML document. Raises ``yaml.YAMLError`` with the place of the fault."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - the safe loader, made stricter

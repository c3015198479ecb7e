"""Reads YAML with only ``true`` and ``false`` as booleans, refuses a field given twice, and finds a field's line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

_Safe: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOLEAN_TAG = "tag:yaml.org,2002:bool"
_INTEGER_TAG = "tag:yaml.org,2002:int"
_FLOAT_TAG = "tag:yaml.org,2002:float"
_REPLACED_TAGS = (_BOOLEAN_TAG, _INTEGER_TAG, _FLOAT_TAG)
_MERGE_TAG = "tag:yaml.org,2002:merge"
_PYTHON_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("binary", "omap", "pairs", "set"))
"""Types of YAML that no declaration has: they are refused as any other that ``!`` names."""
MAX_SHOWN = 20
LINE = re.compile(r" \(line (\d+)\)$")


class WrittenFault(yaml.constructor.ConstructorError):
    """What is wrong with a document that can be parsed, in words for people, with its place."""

    def __init__(self, fault: str, mark: yaml.Mark) -> None:
        super().__init__(None, None, fault, mark)


class _Loader(_Safe):  # type: ignore[misc, valid-type]
    """The safe loader with the booleans and numbers of YAML 1.2, and unique keys.

    ``on``, ``no`` and ``NO`` are words, ``22:30`` and ``007`` are texts and not 1350 and 7, ``1e-3`` is a number.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED_TAGS]
        for first, resolvers in _Safe.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called before a mapping's merges (``<<``) are resolved, and again when it is merged itself."""
        if not vars(node).get("unique"):
            vars(node)["unique"] = True
            _refuse_duplicates(node)
        super().flatten_mapping(node)

    yaml_constructors = {tag: how for tag, how in _Safe.yaml_constructors.items() if tag not in _PYTHON_TAGS}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            text = str(node.value)
            cut = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
            raise WrittenFault(
                f"{cut} is no value of its kind; correct it, or put it in quotes", node.start_mark
            ) from error

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> Any:
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError as error:
            fault = f"{node.value} is no date or time ({error}); correct it, or put it in quotes"
            raise WrittenFault(fault, node.start_mark) from error


def _refuse_duplicates(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
            continue
        if key.value in seen:
            raise WrittenFault(f"{key.value!r} is given twice; remove one of them", key.start_mark)
        seen.add(key.value)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_timestamp)
_Loader.add_implicit_resolver(_BOOLEAN_TAG, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    _INTEGER_TAG, re.compile(r"^(?:0x[0-9a-fA-F]+|[-+]?(?:0|[1-9][0-9]*))$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _FLOAT_TAG,
    re.compile(
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def load(text: str) -> Any:
    """Content of one YAML document. Raises ``yaml.YAMLError`` with the place of the fault."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 # nosec B506 - the safe loader, made stricter


def with_lines(text: str, faults: Sequence[str]) -> list[str]:
    """Each fault, ``<dotted place>: <words>``, with the line of that place in the document."""
    try:
        document = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return list(faults)
    lines = [_line_of(document, fault.partition(":")[0]) for fault in faults]
    return [f"{fault} (line {line})" if line else fault for fault, line in zip(faults, lines, strict=True)]


def split_line(fault: str) -> tuple[int | None, str]:
    """``owner: is required (line 4)`` as 4 and the text; None where the fault is of the whole file."""
    match = LINE.search(fault)
    return (int(match[1]), fault[: match.start()]) if match else (None, fault)


def _line_of(document: yaml.Node | None, place: str) -> int | None:
    """The line, from 1, of the deepest part of the place that is there; None if no part is.

    A part that is not there (a missing field, the kind of a target) is passed over. A list's entry is named by its
    number or by its ``name``.
    """
    node, line = document, None
    for part in place.split("."):
        if (found := _child(node, part)) is not None:
            mark, node = found
            line = mark.line + 1
    return line


def _child(node: yaml.Node | None, part: str) -> tuple[yaml.Mark, yaml.Node] | None:
    """Where an entry of a mapping or a list begins, and its value."""
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark, value) for key, value in node.value if key.value == part), None)
    if not isinstance(node, yaml.SequenceNode):
        return None
    if part.isdigit():
        entry = node.value[int(part)] if int(part) < len(node.value) else None
    else:
        named = ((entry, _child(entry, "name")) for entry in node.value)
        entry = next((entry for entry, name in named if name is not None and name[1].value == part), None)
    return None if entry is None else (entry.start_mark, entry)

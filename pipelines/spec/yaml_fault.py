"""Says why a text is no YAML, with its line and what to write: never in the words of the library that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.spec.plain_yaml import WrittenFault

QUOTE_IT = "put the whole value in quotes"
NEIGHBOURS = "align the line with those beside it"
WORDS: Mapping[str, str] = {
    "mapping values are not allowed": f"a second `: ` in one value: {QUOTE_IT}; or too deep an indent: {NEIGHBOURS}",
    "block sequence entries are not allowed": "a list begins on the line of its name; begin it on the next line",
    "could not find expected ':'": "the line has no `: `; write `name: value`",
    "did not find expected key": (
        f"text after a closing brace, bracket or quote: {QUOTE_IT}; or the line is indented unlike those beside it: "
        f"{NEIGHBOURS}"
    ),
    "did not find expected '-' indicator": "a list and fields `name: value` in one block; give the list a name",
    "did not find expected ',' or ']'": "a list that [ begins has no ] at its end, or lacks a comma; add it",
    "did not find expected ',' or '}'": "fields that { begins have no } at their end, or lack a comma; add it",
    "did not find expected node content": "a value is missing between two commas; write it, or remove a comma",
    "found unexpected end of stream": "a quote that begins here has no end; close it",
    "found unknown escape character": "a \\ in double quotes begins a sign that YAML does not know; use single quotes",
    "found undefined alias": f"a value that begins with * refers to an anchor, and there is none; {QUOTE_IT}",
    "did not find expected alphabetic": f"a value that begins with * or & is no text; {QUOTE_IT}",
    "did not find expected comment or line break": "text after | or >; begin it on the next line",
    "could not determine a constructor": f"a value that begins with ! names a type, and no file may; {QUOTE_IT}",
    "but found another document": "the file has a second part after ---; keep one part in a file",
    **dict.fromkeys(
        ("did not find expected hex", "found invalid Unicode character"),
        "a \\x or \\u in double quotes has no number of a character; write the character, or use single quotes",
    ),
    **dict.fromkeys(
        ("found undefined tag handle", "did not find expected tag URI", "did not find expected '!'"),
        f"a value that begins with ! names a type, and no file may; {QUOTE_IT}",
    ),
    "did not find expected whitespace or line break": f"a value that begins with ! names a type; {QUOTE_IT}",
    "found unexpected document indicator": "a quote that begins before --- or ... has no end; close it",
    "found an indentation indicator": "text after | or >; begin it on the next line",
    "mapping keys are not allowed": "a ? begins the line; write `name: value`",
    "did not find expected <document start>": f"text after the end of a value: {QUOTE_IT}, or {NEIGHBOURS}",
    "found duplicate anchor": f"a value that begins with & is named twice; {QUOTE_IT}",
    **dict.fromkeys(
        (
            "found unknown directive",
            "could not find expected directive",
            "found duplicate %",
            "found incompatible YAML",
        ),
        "a line begins with %, which is no field; remove it",
    ),
    "found unhashable key": "the name of a field is a list or a block; write a text",
}
"""Beginning of what the library says to what is said here."""

UNCLOSED = "a list that [ begins has no ] at its end, or fields that { begin have no }; add it"

MARKED_AT_THE_END = (
    "found unexpected end of stream",
    "found unexpected document indicator",
    "could not find expected ':'",
)
"""What the library notices after the place that is at fault, which it names as the context."""


def yaml_fault(error: Exception, text: str) -> str:
    """What is wrong with the text that ``error`` was raised for, with ``(line N)`` at its end where it is known."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8; save it as UTF-8 (line {error.object.count(bytes([10]), 0, error.start) + 1})"
    problem = str(getattr(error, "problem", None) or "")
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        sign = getattr(error, "character", None)
        if isinstance(sign, int) and chr(sign) in text:
            return (
                f"a control sign ({chr(sign)!r}); remove it (line {text[: text.index(chr(sign))].count(chr(10)) + 1})"
            )
        return "it is no YAML; compare it with another file"
    if problem in MARKED_AT_THE_END:
        mark = getattr(error, "context_mark", None) or mark
    if problem.startswith("did not find expected node content") and not text[mark.index :].strip():
        return f"{UNCLOSED} (line {text.rstrip().count(chr(10)) + 1})"
    words = problem if isinstance(error, WrittenFault) else _words(problem, text, mark)
    return f"{words} (line {mark.line + 1})"


def _words(problem: str, text: str, mark: Any) -> str:
    sign = text[mark.index : mark.index + 1]
    if sign == "\t" or "tab character" in problem:
        return "a tab indents the line, and YAML takes spaces alone; replace it by spaces"
    if problem.startswith("found character that cannot start any token"):
        return f"no value may begin with {sign}; {QUOTE_IT}"
    known = next((words for beginning, words in WORDS.items() if problem.startswith(beginning)), None)
    return known or "it is no YAML; compare the line with those of another file"

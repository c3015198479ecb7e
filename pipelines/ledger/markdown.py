"""Text that people, callers or the registry wrote, as Markdown that shows it letter for letter and is no markup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

BIDIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that are not seen and turn the order of what is."""
SPECIAL = re.compile(
    r"[\\`*~|]"
    r"|!(?=\[)"
    r"|\](?=[(\[:]|$)"  # of a link or of its definition; alone it is a bracket
    r"|(?<![A-Za-z0-9_])_+|_+(?![A-Za-z0-9_])"  # within a word it is no emphasis
    r"|&(?=#?[A-Za-z0-9]+;)"
)
TAG = re.compile(r"<(?=[A-Za-z/!?]|$)")
"""What begins an element of HTML; before a number it says less."""
BLOCK = re.compile(r"^(?=#{1,6}(?:\s|$)|[-+](?:\s|$)|-{3}|>|=+$)|^(\d{1,9})(?=[.)](?:\s|$))")
"""What would make a heading, a list or a quotation of a line."""
ADDRESS = re.compile(r"https?://|/(?!/)")
UNSAFE_IN_ADDRESS = re.compile(r"[\s<>()\[\]\\|`\"']")


class Markup(str):
    """Markdown made here, whose texts are escaped already."""

    __slots__ = ()


def text(content: str) -> Markup:
    """The content in one line, without any markup."""
    line = " ".join(BIDIRECTIONAL.sub("", content).split())
    line = SPECIAL.sub(lambda match: "".join(f"\\{mark}" for mark in match[0]), line)
    return Markup(BLOCK.sub(lambda match: f"{match[1] or ''}\\", TAG.sub("&lt;", line)))


def code(content: str) -> Markup:
    """The content as code; as text if it holds what could leave code or its cell."""
    return text(content) if re.search(r"[`|\\\r\n]|^\s*$", content) else Markup(f"`{BIDIRECTIONAL.sub('', content)}`")


def link(name: str, address: str) -> Markup:
    """A link to an address of http or of this site; only its name if it leads elsewhere, such as to a script."""
    if ADDRESS.match(address) is None:
        return text(name)
    quoted = UNSAFE_IN_ADDRESS.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), address)
    return Markup(f"[{text(name)}]({quoted})")


def cell(content: str) -> Markup:
    """A cell of a table: markup as it is, any other text escaped."""
    return content if isinstance(content, Markup) else text(content)


def fill(template: str, **facts: Any) -> str:
    """The template of a page with ``{description}`` and ``{owner}`` of ``spec`` as text; other facts as they are."""
    spec = facts["spec"]
    return template.format(**facts, description=text(spec.description), owner=text(spec.owner))


def rows(cells: Mapping[str, str]) -> str:
    """A table of two columns without a head."""
    lines = [f"| {text(name)} | {cell(value)} |" for name, value in cells.items() if value]
    return "\n".join(["| | |", "|---|---|", *lines])

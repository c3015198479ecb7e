"""The API as one HTML page without scripts: the live models with their columns, requests to copy, paths and answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pipelines.serving.http.response import Header
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.openapi import GATEWAY_VARIABLE, KEY_VARIABLE, ServedModel, id_text, openapi_document

SECURITY_HEADERS: Sequence[Header] = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""The page loads nothing and runs nothing."""
MAX_LISTED_VALUES = 12
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1rem; }
table { border-collapse: collapse; width: 100%; } caption { font-weight: 600; padding: .5rem 0; text-align: left; }
table + table { margin-top: 1.5rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; text-align: left; vertical-align: top; }
code, pre { font-family: ui-monospace, monospace; font-size: .875rem; overflow-wrap: anywhere; }
td code { overflow-wrap: normal; }
pre { background: var(--soft); overflow-x: auto; padding: .75rem; white-space: pre-wrap; }
"""


def api_page(served: Mapping[str, ServedModel], *, secured: bool, version: str) -> str:
    """The whole document. ``served``: the live models; ``secured``: callers need credentials."""
    document = openapi_document(served, secured=secured)
    invocation = document["paths"]["/invocations"]["post"]
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Airworthy gateway</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body><h1>Airworthy gateway</h1>",
        f"<p>Version {escape(version)}. {_introduction(secured)}</p>",
        *(_model_section(model, live, document["paths"]) for model, live in served.items()),
        "" if served else "<h2>Models</h2><p>No model is live yet.</p>",
        "<h2>All paths</h2>",
        _table("", ("method", "path", "what it does"), _path_rows(document["paths"])),
        _table("Headers of a request for predictions", ("header", "meaning"), _header_rows(invocation["parameters"])),
        _table("Answers", ("status", "meaning"), _answer_rows(invocation["responses"])),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _introduction(secured: bool) -> str:
    address = f"read this server's address from <code>{GATEWAY_VARIABLE}</code>"
    if secured:
        callers = "Callers send <code>x-api-key</code> or <code>authorization: Bearer</code>."
        address += f" and the key from <code>{KEY_VARIABLE}</code>"
    else:
        callers = "Callers need no credentials."
    return f'{callers} The requests below {address}. For programs: <a href="openapi.json">openapi.json</a>.'


def _model_section(model: str, live: ServedModel, paths: Mapping[str, Any]) -> str:
    columns = _table(
        "Columns", ("name", "type", "values"), [(_code(each.name), each.type, _values(each)) for each in live.features]
    )
    samples = [
        f"<h3>{title}</h3><pre>{escape(sample['source'])}</pre>"
        for title, path in (
            ("MLflow's scoring protocol", f"/models/{model}/invocations"),
            ("Open Inference Protocol", f"/v2/models/{model}/infer"),
        )
        for sample in paths[path]["post"]["x-codeSamples"]
        if sample["lang"] == "cURL"
    ]
    ids = f"<p><code>ids</code>: {escape(id_text(live.id_columns))}.</p>"
    return f"<h2>{escape(model)}, live version {escape(live.version)}</h2>\n{columns}\n{ids}\n{''.join(samples)}"


def _values(column: InputColumn) -> str:
    """The valid values of a column as text."""
    if column.allowed is not None:
        listed = ", ".join(column.allowed[:MAX_LISTED_VALUES])
        rest = len(column.allowed) - MAX_LISTED_VALUES
        return escape(f"{listed} and {rest} more" if rest > 0 else listed)
    bounds = [
        f"{word} {bound:g}" for word, bound in (("from", column.minimum), ("to", column.maximum)) if bound is not None
    ]
    return " ".join(bounds) or ("a text" if column.type == "categorical" else "a number")


def _path_rows(paths: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (method.upper(), _code(path), escape(operation["summary"]))
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]


def _header_rows(parameters: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [(_code(each["name"]), escape(each["description"])) for each in parameters]


def _answer_rows(responses: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(status, escape(response["description"])) for status, response in responses.items()]


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are escaped already."""
    title = f"<caption>{caption}</caption>" if caption else ""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

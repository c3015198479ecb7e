"""`airworthy features` lists the declared features: version, description, owner, and what they are read from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from pipelines.cli.terminal_text import print_line
from pipelines.errors import unknown_name
from pipelines.ports import Ports
from pipelines.spec.features import FeatureView, RowExpression


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("features", help="list the features of the views", description=__doc__)
    parser.add_argument("view", nargs="?", help="only those of this view")
    parser.add_argument("--json", action="store_true", help="an object per feature, for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print a block per view. ``Refused`` for a view that there is not."""
    if options.view is not None and options.view not in ports.catalog.views:
        raise unknown_name(f"there is no view {options.view}", sorted(ports.catalog.views))
    facts = feature_facts(ports, options.view)
    if options.json:
        for each in facts:
            print(json.dumps(each))
        return 0
    for line in feature_lines(facts):
        print_line(line)
    return 0


def feature_facts(ports: Ports, view: str | None = None) -> list[dict[str, Any]]:
    """The fields of each feature, in the order of the files: ``definition`` is its digest, ``models`` use it."""
    facts = []
    for name, spec in ports.catalog.views.items():
        digests = spec.definition_digests()
        models = [model for model in ports.catalog.models.values() if model.view == name]
        for feature, declared in spec.features.items() if view in (None, name) else ():
            users = [each.model for each in models if feature in (each.training.features or spec.features)]
            facts.append(
                {
                    "view": name,
                    "owner": spec.owner,
                    "feature": feature,
                    "version": declared.version,
                    "type": declared.type,
                    "description": declared.description,
                    "sources": list(declared.source_columns) or _features_read(spec, feature),
                    "definition": digests[feature],
                    "models": users,
                }
            )
    return facts


def _features_read(view: FeatureView, name: str) -> list[str]:
    """The features from which one that reads no column of a source is computed."""
    how = view.features[name].transformation
    return [other for other in how.names() if other in view.features] if isinstance(how, RowExpression) else []


def feature_lines(facts: list[dict[str, Any]]) -> Iterator[str]:
    """The view and its owner, then three lines a feature."""
    view = None
    for each in facts:
        if each["view"] != view:
            view = each["view"]
            yield f"{view}, owned by {each['owner']}"
        yield f"  {each['feature']}@{each['version']} ({each['type']})"
        yield f"    {each['description']}"
        used = f"; used by {', '.join(each['models'])}" if each["models"] else "; used by no model"
        yield f"    from {', '.join(each['sources'])}{used}"

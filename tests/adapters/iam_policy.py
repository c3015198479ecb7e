"""Decides requests by IAM policies as AWS documents it: a denial counts, else a permission, else nothing is allowed.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html; moto looks at no conditions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipelines.settings import REPOSITORY

Policy = Mapping[str, Any]
Request = tuple[str, str, Mapping[str, str]]
"""Action, resource and what conditions look at."""


def documented_policies(page: str) -> list[dict[str, Any]]:
    """All policies of a page in ``docs/``, in their order."""
    blocks = re.findall(r"```json\n(.*?)```", (REPOSITORY / "docs" / page).read_text(), re.DOTALL)
    return [policy for policy in map(json.loads, blocks) if "Statement" in policy]


def allows(policies: Sequence[Policy], action: str, resource: str, context: Mapping[str, str] | None = None) -> bool:
    """Whether all policies of an identity together allow the request."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in policy["Statement"]
        if _matches(statement["Action"], action)
        and _matches(statement["Resource"], resource)
        and _holds(statement.get("Condition", {}), context or {})
    }
    return effects == {"Allow"}


def s3_request(method: str, address: str) -> Request:
    """What a request to ``/<bucket>/<key>?<query>`` of S3 needs a right for."""
    parts = urlsplit(address)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    arn = f"arn:aws:s3:::{bucket}"
    if not key:
        actions = {"GET": "s3:ListBucket", "HEAD": "s3:ListBucket", "PUT": "s3:CreateBucket"}
        return actions[method], arn, {"s3:prefix": query["prefix"][0]} if "prefix" in query else {}
    if method == "DELETE":
        return ("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"), f"{arn}/{key}", {}
    reads = method in ("GET", "HEAD")
    return ("s3:GetObject" if reads else "s3:PutObject"), f"{arn}/{key}", {}


def _matches(patterns: str | Sequence[str], value: str) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), value, re.DOTALL) for pattern in listed)


def _holds(condition: Mapping[str, Mapping[str, str | Sequence[str]]], context: Mapping[str, str]) -> bool:
    """Whether every condition is met; a key that the request does not have meets none."""
    if unknown := condition.keys() - {"StringEquals", "StringLike"}:
        raise NotImplementedError(f"conditions {sorted(unknown)}")
    return all(
        name in context and _matches(expected, context[name])
        for tests in condition.values()
        for name, expected in tests.items()
    )

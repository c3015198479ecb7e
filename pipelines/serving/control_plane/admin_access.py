"""Who may use the admin listener: whoever has its token, by a host name of this machine, and no page in a browser."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any

from pipelines.loopback import names_this_machine
from pipelines.settings import GATEWAY_TOKEN_FILE

MIN_TOKEN_LENGTH = 24
"""Characters of a token that a person chose."""

Fault = tuple[int, dict[str, Any]]


class AdminAccess:
    """Checks a request's headers before its body is read. ``local_only``: the listener is bound to loopback."""

    def __init__(self, token: str, *, local_only: bool) -> None:
        self._token, self._local_only = token.encode(), local_only

    def fault(self, headers: Mapping[bytes, bytes]) -> Fault | None:
        """Status and content of the refusal; None if the request may be answered."""
        if b"origin" in headers:
            return 403, _content("a page in a browser may not use the admin listener", "remove the header Origin")
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local_only and not names_this_machine(host):
            return 403, _content(f"Host {host!r} is not this machine", "use 127.0.0.1, [::1] or localhost")
        if not hmac.compare_digest(_credential(headers.get(b"authorization", b"")), self._token):
            remedy = (
                f"send 'Authorization: Bearer …' with the content of {GATEWAY_TOKEN_FILE} in the gateway's state folder"
            )
            return 401, _content("the admin listener needs its bearer token", remedy)
        return None


def _content(subject: str, remedy: str) -> dict[str, Any]:
    return {"subject": subject, "reasons": [remedy]}


def _credential(header: bytes) -> bytes:
    """The token of ``Bearer <token>``, or the password of ``Basic`` (``curl -u :<token>``)."""
    scheme, _, value = header.partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""

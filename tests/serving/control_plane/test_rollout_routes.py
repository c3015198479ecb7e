"""What the admin listener is sent is read as what it has to be, or refused with the reason."""

from __future__ import annotations

import pytest

from pipelines.errors import Refused
from pipelines.rollout.transitions import Served
from pipelines.serving.control_plane.rollout_routes import parse


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"reason":' * 100_000])
def test_a_body_that_is_none_of_its_kind_is_refused_however_deep_it_is(body: bytes) -> None:
    with pytest.raises(Refused, match="the request body is not valid"):
        parse(body, Served)


def test_an_unknown_field_that_is_nested_too_deeply_is_refused_as_well() -> None:
    body = b'{"version": "1", "unknown": ' + b"[" * 100_000
    with pytest.raises(Refused, match="the request body is not valid"):
        parse(body, Served)

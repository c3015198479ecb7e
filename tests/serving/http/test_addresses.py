"""The address of a caller is that of its connection, unless a trusted proxy names another."""

from __future__ import annotations

import pytest

from pipelines.serving.http.addresses import TrustedProxies, share_of

PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("fields", "caller"),
    [
        ([], "10.0.0.1"),
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["2001:db9::1"], "2001:db9::1"),
        (["[2001:db9::1]:4711"], "2001:db9::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["198.51.100.7, 192.0.2.1"], "192.0.2.1"),
        (["198.51.100.7, 192.0.2.1, 10.0.0.9, 2001:db8::7"], "192.0.2.1"),
        (["198.51.100.7", "192.0.2.1"], "192.0.2.1"),
        (["10.0.0.7"], "10.0.0.7"),
        (["192.0.2.1, unknown"], "10.0.0.1"),
        (["192.0.2.1, "], "10.0.0.1"),
        (["192.0.2.1, unknown, 10.0.0.9"], "10.0.0.9"),
        (["198.51.100.7, " * 10_000 + "192.0.2.1"], "192.0.2.1"),
        (["\xff\x00"], "10.0.0.1"),
    ],
)
def test_the_caller_is_the_last_address_that_is_no_trusted_proxy(fields: list[str], caller: str) -> None:
    headers = [(b"host", b"a"), *((b"x-forwarded-for", field.encode("latin-1")) for field in fields)]
    assert PROXIES.caller("10.0.0.1", headers) == caller


@pytest.mark.parametrize(
    ("host", "trusted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("2001:db8::1", True), ("", False)],
)
def test_only_the_declared_networks_are_trusted(host: str, trusted: bool) -> None:
    assert PROXIES.include(host) == trusted
    assert not TrustedProxies().include(host)


@pytest.mark.parametrize(
    ("host", "share"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_is_counted_by_itself_and_one_of_ipv6_by_its_network(host: str, share: str) -> None:
    assert share_of(host) == share

"""Which address a request comes from: that of its connection, or the one that a trusted proxy names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from pipelines.serving.http.response import Header

FORWARDED_FOR = b"x-forwarded-for"
MAX_HOPS = 32
"""Addresses of ``X-Forwarded-For`` that are looked at, from the last on."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The networks whose ``X-Forwarded-For`` is believed."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def include(self, host: str) -> bool:
        """Whether a connection from ``host`` is one of a trusted proxy."""
        address = _parsed(host) if self._networks else None
        return address is not None and self._has(address)

    def caller(self, host: str, headers: Sequence[Header]) -> str:
        """The address that asked the trusted proxy at ``host``.

        It is the last one of the header that is no trusted proxy itself: what stands before it is the caller's own.
        Without such an address it is that of the furthest trusted proxy.
        """
        hops = b",".join(value for name, value in headers if name == FORWARDED_FOR).decode("latin-1").split(",")
        caller = _parsed(host)
        for hop in reversed(hops[-MAX_HOPS:]):
            address = _parsed(hop.strip())
            if address is None:
                break
            caller = address
            if not self._has(address):
                break
        return host if caller is None else str(caller)

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def share_of(host: str) -> str:
    """The name under which an address is counted: itself, of IPv6 its network of 64 bits, which one caller owns."""
    if ":" not in host:
        return host
    address = _parsed(host)
    if not isinstance(address, ipaddress.IPv6Address):
        return host if address is None else str(address)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def _parsed(text: str) -> Address | None:
    """The address of ``1.2.3.4``, ``1.2.3.4:567``, ``::1``, ``[::1]:567`` or an IPv6 one that stands for IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address

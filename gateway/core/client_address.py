"""The address of a client behind proxies: X-Forwarded-For, believed only as far as trusted proxies wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

_MOST_HOPS = 20
"""Entries of the header that are looked at, from its end; no real chain of proxies is longer."""


def client_address(peer: str, forwarded: Sequence[bytes], trusted: Sequence[Network]) -> str:
    """The client's address as text.

    ``peer``: where the connection comes from. ``forwarded``: the values of X-Forwarded-For, in order.
    ``trusted``: the networks of the proxies before the gateway.

    Each proxy appends the address it was asked from, so the header is read from its end: the first address that is no
    trusted proxy's is the client's. What stands before it was written by the client itself, and means nothing. An entry
    that is no address ends the reading at the proxy that passed it on.
    """
    known = peer
    if not trusted or not is_trusted(peer, trusted):
        return known
    entries = b",".join(forwarded).split(b",")
    for entry in reversed(entries[-_MOST_HOPS:]):
        found = _address(entry)
        if found is None:
            return known
        known = str(found)
        if not is_trusted(known, trusted):
            return known
    return known


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether an address, as a socket or a header has it, is that of a trusted proxy."""
    try:
        found = _unmapped(ip_address(address))
    except ValueError:
        return False
    return any(found in network for network in trusted)


def _address(entry: bytes) -> IPv4Address | IPv6Address | None:
    """An entry's address: ``203.0.113.7``, ``203.0.113.7:5512``, ``2001:db8::1``, ``[2001:db8::1]:443``."""
    text = entry.decode("ascii", "replace").strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return _unmapped(ip_address(text))
    except ValueError:
        return None


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that a listener for both families shows as ``::ffff:203.0.113.7``."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped

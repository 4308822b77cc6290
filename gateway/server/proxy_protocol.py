"""The PROXY protocol, versions 1 and 2: how a proxy that passes bytes on says whose they are.

HAProxy's `specification <https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>`_ wants a receiver to know
whether a header comes, not to guess. Here that depends on who connects: from the addresses in ``trusted_proxies`` a
header may come, from all others none is taken. Guessing does no harm beyond that: who may write the first bytes of such
a proxy's connection may write ``X-Forwarded-For`` as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol, cast

from gateway.core.client_address import Network, is_trusted

Source = tuple[str, int]
"""Address and port of the client."""

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
"""What a header of version 2 begins with: no request does."""

_OLD = b"PROXY "
_OLD_LONGEST = 107  # bytes with CRLF, by the specification
_OLD_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([0-9A-Fa-f.:]+) [0-9A-Fa-f.:]+ ([0-9]{1,5}) [0-9]{1,5})"
)
_HEAD = 16  # bytes of version 2 before the addresses
_LONGEST = 4096  # bytes of version 2: the addresses, and what load balancers add to them
_LOCAL, _PROXIED = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES = {0x00: 0, _TCP4: 12, 0x12: 12, _TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""Family and transport → bytes of both addresses and ports."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """``length``: its bytes; a request follows. ``source``: the client; None for a connection of the proxy's own."""

    length: int
    source: Source | None


class Malformed(ValueError):
    """It begins like a header, and is none."""


def begins_as_header(data: bytes) -> bool:
    """Whether bytes begin with what only a header begins with."""
    return data.startswith((_OLD, SIGNATURE))


def _may_become_header(data: bytes) -> bool:
    return begins_as_header(data) or _OLD.startswith(data) or SIGNATURE.startswith(data)


def read_header(data: bytes) -> ProxyHeader | None:
    """The header that ``data`` begins with; None while more of it must come. Raise Malformed."""
    if not begins_as_header(data):
        return None
    if data.startswith(SIGNATURE):
        return _read_new(data)
    end = data.find(b"\r\n", 0, _OLD_LONGEST)
    if end < 0:
        if len(data) >= _OLD_LONGEST:
            raise Malformed
        return None
    line = _OLD_LINE.fullmatch(data, 0, end)
    if line is None:
        raise Malformed
    if line[1] is None:  # UNKNOWN: a check of the proxy's own
        return ProxyHeader(end + 2, None)
    port = int(line[3])
    if port > 65535:
        raise Malformed
    try:
        address = (IPv4Address if line[1] == b"4" else IPv6Address)(line[2].decode("ascii"))
    except ValueError:
        raise Malformed from None
    return ProxyHeader(end + 2, (_text(address), port))


def _read_new(data: bytes) -> ProxyHeader | None:
    if len(data) < _HEAD:
        return None
    command, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXIED) or length > _LONGEST - _HEAD:
        raise Malformed
    if command == _PROXIED and length < _ADDRESSES.get(family, length + 1):
        raise Malformed
    if len(data) < _HEAD + length:
        return None
    source: Source | None = None
    if command == _PROXIED and family == _TCP4:
        source = (str(IPv4Address(data[16:20])), int.from_bytes(data[24:26], "big"))
    elif command == _PROXIED and family == _TCP6:
        source = (_text(IPv6Address(data[16:32])), int.from_bytes(data[48:50], "big"))
    return ProxyHeader(_HEAD + length, source)


def _text(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(address if mapped is None else mapped)


class ClientConnection(Protocol):
    """What a connection must be able to do to have such a header read before it: ``ServerProtocol``."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def comes_from(self, client: Source) -> None: ...


class ProxyHeaderReader(asyncio.Protocol):
    """The first bytes of a connection; then the transport is ``connection``'s alone, so that nothing stays in between.

    ``trusted``: the networks of the proxies that are believed. The connection's own timer bounds the wait for the
    header, as that for a request's first byte.
    """

    def __init__(self, connection: ClientConnection, trusted: Sequence[Network]) -> None:
        self._connection = connection
        self._trusted = trusted
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connection.connection_made(transport)
        if not self._may_say(transport):
            self._transport.set_protocol(cast("asyncio.Protocol", self._connection))

    def _may_say(self, transport: asyncio.BaseTransport) -> bool:
        """Whether who connects is believed about whose the connection is."""
        try:
            peer = transport.get_extra_info("peername")
        except OSError:  # it has left already
            return False
        return isinstance(peer, tuple) and is_trusted(peer[0], self._trusted)

    def data_received(self, data: bytes) -> None:
        self._came += data
        if _may_become_header(self._came):
            try:
                header = read_header(self._came)
            except Malformed:
                header = ProxyHeader(0, None)  # the reader of requests refuses it, and says so
            if header is None:
                return
            if header.source is not None:
                self._connection.comes_from(header.source)
            self._came = self._came[header.length :]
        self._transport.set_protocol(cast("asyncio.Protocol", self._connection))
        if self._came:
            self._connection.data_received(self._came)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


class PassedOn(ProxyHeaderReader):
    """A connection at a Unix socket that only a process of ours reaches, which is believed."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__(connection, ())

    def _may_say(self, transport: asyncio.BaseTransport) -> bool:
        return True

"""A tunnel through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6) on a socket that is connected to it."""

from __future__ import annotations

import asyncio
import re
import socket

from gateway.core.connection_options import Proxy

HEAD_LIMIT = 16 * 1024
"""Bytes of the proxy's answer."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?:[ \r\n]|$)")
_PIECE = 4096


class ProxyRefused(OSError):
    """The proxy opened no tunnel."""


async def open_tunnel(connected: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Make a socket that is connected to ``proxy`` lead to ``host`` and ``port``.

    The name is sent as it is, for the proxy to resolve. Raises ProxyRefused for any answer but 2xx, other OSErrors as
    sockets do; the socket stays open.
    """
    loop = asyncio.get_running_loop()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", "User-Agent: piapi-gateway"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(connected, "\r\n".join([*lines, "", ""]).encode("ascii"))
    status = await _answered(connected, proxy)
    if not 200 <= status < 300:
        advice = "; its user and password are missing or wrong" if status == 407 else ""
        raise ProxyRefused(f"the proxy {proxy} answered {status} to CONNECT {target}{advice}")


async def _answered(connected: socket.socket, proxy: Proxy) -> int:
    """The status of the proxy's answer, read to the end of its head and not beyond."""
    loop = asyncio.get_running_loop()
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > HEAD_LIMIT:
            raise ProxyRefused(f"the proxy {proxy} answered more than {HEAD_LIMIT} bytes to CONNECT")
        piece = await loop.sock_recv(connected, _PIECE)
        if not piece:
            raise ProxyRefused(f"the proxy {proxy} closed the connection without an answer to CONNECT")
        head += piece
    status = _STATUS.match(head)
    if status is None:
        raise ProxyRefused(f"what {proxy} answered to CONNECT is not HTTP")
    if 200 <= int(status[1]) < 300 and not head.endswith(b"\r\n\r\n"):
        # Both TLS and HTTP begin with this end's bytes, so these are the proxy's own.
        raise ProxyRefused(f"the proxy {proxy} sent more than the head of its answer to CONNECT")
    return int(status[1])

"""A client's connection as what serves its requests sees it; protocol.py implements it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.server.flow import FlowControl

Address = tuple[str, int] | None
"""Host and port of one end; None where there is none, as of a peer that has left, or of a Unix socket's."""


class Slots(Protocol):
    """What slots.py does with a connection that made a request."""

    def admit(self, connection: Connection) -> None: ...
    def renew(self, connection: Connection) -> None: ...


class Listening(Protocol):
    """``date``: the Date header of every answer at this moment, as a whole line."""

    date: bytes


class Connection(Protocol):
    """The connection of the request being served. One request is served at a time."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl

    @property
    def state(self) -> Listening:
        """What it has in common with the listener's other connections (state.py)."""
        ...

    @property
    def slots(self) -> Slots:
        """The open connections of the listener, of which this is one."""
        ...

    @property
    def idle(self) -> bool:
        """No request is being read or answered, and none has begun to come."""
        ...

    def answered(self) -> None:
        """The last byte of the present request's answer has been written."""
        ...

    def close_after_answer(self) -> None:
        """Say ``connection: close`` if the head is not out yet, and close after the answer."""
        ...

    def shutdown(self) -> None:
        """Close now if no request is being answered, else after the answer."""
        ...

    def abort(self) -> None:
        """Close at once; what was not sent yet is lost."""
        ...


def address_of(transport: asyncio.BaseTransport, end: str) -> Address:
    """Host and port of one end: ``sockname``, ``peername``."""
    try:
        found = transport.get_extra_info(end)
    except OSError:
        return None
    return (found[0], found[1]) if isinstance(found, tuple) else None

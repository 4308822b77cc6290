"""A large body on its way to an upstream: written in slices, so that an early answer is noticed between two of them."""

from __future__ import annotations

import asyncio

UPLOAD_SLICE = 256 * 1024
"""Bytes that are written at a time."""


class Upload:
    """The part of one body that is still to be written. ``done``: nothing is."""

    __slots__ = ("_loop", "_paused", "_transport", "_unsent")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, body: bytes, *, paused: bool
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._unsent: memoryview | None = memoryview(body)
        self._paused = paused

    @property
    def done(self) -> bool:
        return self._unsent is None

    def pause(self) -> None:
        """The transport holds enough."""
        self._paused = True

    def go_on(self) -> None:
        """The transport has room again."""
        self._paused = False
        self.write()

    def drop(self) -> None:
        """Write no more of it."""
        self._unsent = None

    def write(self) -> None:
        """Write the next slice unless the transport holds enough already."""
        if self._unsent is None or self._paused or self._transport.is_closing():
            return
        piece, rest = self._unsent[:UPLOAD_SLICE], self._unsent[UPLOAD_SLICE:]
        self._unsent = rest if len(rest) else None
        self._transport.write(piece)
        if self._unsent is not None and not self._paused:
            # A timer of nought and not call_soon: asyncio runs it after the sockets that became readable, so that an
            # early answer is read before a further write may fail and take the connection, and the answer, with it.
            self._loop.call_later(0, self.write)

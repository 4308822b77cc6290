"""Flow control of a client's connection: reading pauses when the application is behind, writing when the client is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.server.unsent import unsent_bytes


class FlowControl:
    """Both directions of one transport.

    ``stall``: seconds that a client with a full buffer may take nothing; then ``on_stall`` is called, once.
    ``writing_paused``: the transport's buffer is full (more than 64 KiB): ``drain`` before writing more.
    ``reading_paused``: what has come is still to be read.
    """

    __slots__ = (
        "_on_stall",
        "_stall",
        "_stall_timer",
        "_transport",
        "_unsent",
        "_writable",
        "reading_paused",
        "writing_paused",
    )

    def __init__(self, transport: asyncio.Transport, stall: float, on_stall: Callable[[], None]) -> None:
        self._transport = transport
        self._stall = stall
        self._on_stall: Callable[[], None] | None = on_stall
        self.reading_paused = False
        self.writing_paused = False
        self._writable: asyncio.Event | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._unsent = 0

    def pause_reading(self) -> None:
        if not self.reading_paused:
            self.reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.reading_paused:
            self.reading_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        if not self.writing_paused:
            self.writing_paused = True
            self._writable = asyncio.Event()
            self._unsent = unsent_bytes(self._transport)
            self._watch()

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self._writable is not None:
            self.writing_paused = False
            self._writable.set()
            self._writable = None

    async def drain(self) -> None:
        """Return when writing may go on, or the connection is lost."""
        if self._writable is not None:
            await self._writable.wait()

    def lost(self) -> None:
        """The connection is gone: end every wait, and forget the owner, which refers to this."""
        self.resume_writing()
        self._on_stall = None

    def _watch(self) -> None:
        self._stall_timer = asyncio.get_running_loop().call_later(self._stall, self._check_stall)

    def _check_stall(self) -> None:
        self._stall_timer = None
        unsent = unsent_bytes(self._transport)
        if unsent < self._unsent:
            self._unsent = unsent
            self._watch()
        elif self._on_stall is not None:
            self._on_stall()

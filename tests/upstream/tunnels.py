"""A forward proxy that speaks CONNECT, and notes what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from gateway.core.connection_options import Proxy


class ForwardProxy:
    """A proxy on a loopback port.

    ``answer``: what it says instead of opening a tunnel; None to open one. ``leads``: host → where it really leads,
    perhaps with a port after a blank. ``die``: cut every tunnel.
    ``targets``: what it was asked for; ``heads``: with which headers.
    """

    def __init__(self, answer: bytes | None = None, leads: Mapping[str, str] | None = None) -> None:
        self._answer = answer
        self._leads = leads or {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tunnels: set[asyncio.StreamWriter] = set()
        self.targets: list[str] = []
        self.heads: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.proxy = Proxy("127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def die(self, *, tunnels_only: bool = False) -> None:
        """Reset every tunnel and, unless told otherwise, listen no more."""
        if not tunnels_only:
            self._server.close()
        for client in self._tunnels:
            client.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            client.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            target = head.split()[1].decode()
            self.targets.append(target)
            if self._answer is not None:
                writer.write(self._answer)
                await writer.drain()
                if self._answer:
                    await reader.read()
                writer.close()
                return
            host, _, port = target.rpartition(":")
            leads, _, another = self._leads.get(host, host.strip("[]")).partition(" ")
            there, back = await asyncio.open_connection(leads, int(another or port))
            writer.write(b"HTTP/1.1 200 Connection established\r\nvia: 1.1 test\r\n\r\n")
            self._tunnels.add(writer)
            try:
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
            finally:
                self._tunnels.discard(writer)
                back.close()
        writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
    sink.close()

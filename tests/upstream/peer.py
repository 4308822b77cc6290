"""An upstream that plays scripts, step by step, on a loopback socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from enum import Enum
from types import TracebackType
from typing import Self

from gateway.core.types import Endpoint


class Do(Enum):
    """Steps of a script besides bytes (which are sent) and events (which are waited for)."""

    REQUEST = "read one whole request"
    HEAD = "read a request's head and none of its body"
    BODY = "read the body of the head read before"
    FIN = "say that nothing more will be sent, and read no more"
    EOF = "close"
    RST = "reset"


Script = Sequence[bytes | Do | asyncio.Event]


async def turns(count: int = 6) -> None:
    """Let both ends of the loopback do what they can do at once."""
    for _ in range(count):
        await asyncio.sleep(0)


class Peer:
    """Plays ``scripts`` to the connections it accepts, one each, in order; the last one again and again.

    A connection whose script is over stays open until the other side closes it. ``requests``: the requests read, as
    they came. ``accepted``: connections so far; ``gone``: those that the other side has left.
    """

    def __init__(self, *scripts: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._scripts = scripts
        self._context = context
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble: list[BaseException] = []
        self._changed = asyncio.Event()
        self.requests: list[bytes] = []
        self.accepted = 0
        self.gone = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, 0, ssl=self._context, limit=1 << 20, start_serving=True
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if self._trouble and error is None:
            raise self._trouble[0]

    def endpoint(self, host: str | None = None, base_path: str = "") -> Endpoint:
        name = host or self._host
        if self._context is not None:
            return Endpoint(f"https://{name}:{self.port}{base_path}", "https", name, self.port, base_path)
        return Endpoint(f"http://{name}:{self.port}{base_path}", "http", name, self.port, base_path)

    async def until_gone(self, count: int = 1) -> None:
        """Wait until the other side has left ``count`` connections."""
        await self._until(lambda: self.gone >= count)

    async def until_asked(self, count: int = 1) -> None:
        """Wait until ``count`` requests have been read."""
        await self._until(lambda: len(self.requests) >= count)

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
        self.accepted += 1
        try:
            await self._play(script, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            # The other side closed. If the script mattered after that, what the client saw tells.
            self.gone += 1
        except asyncio.CancelledError:
            return  # the test is over; asyncio.streams would log a cancelled handler as an error
        finally:
            self._changed.set()
            writer.transport.abort()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._trouble.append(error)

    async def _play(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        owed = 0
        for step in script:
            if isinstance(step, bytes):
                await self._send(step, writer)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step in (Do.HEAD, Do.BODY, Do.REQUEST):
                if step is not Do.BODY:
                    owed = await self._read_head(reader)
                if step is not Do.HEAD:
                    self.requests[-1] += await reader.readexactly(owed)
                self._changed.set()
            else:
                await self._end(step, writer)
                return
        while await reader.read(65536):
            pass
        self.gone += 1

    async def _send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if writer.is_closing():
            raise ConnectionResetError
        writer.write(data)
        await writer.drain()
        await turns()

    async def _end(self, how: Do, writer: asyncio.StreamWriter) -> None:
        if how is Do.EOF:
            writer.close()
        elif how is Do.RST:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.write_eof()
            await asyncio.Event().wait()

    async def _read_head(self, reader: asyncio.StreamReader) -> int:
        """Returns how many bytes of body follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                return int(value)
        return 0

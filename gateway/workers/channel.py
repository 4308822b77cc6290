"""The channel between the supervisor and one worker: a pair of sockets, and JSON in frames of known length.

The supervisor asks, the worker answers, and tells once that it is ready. The channel ends with either process, however
that ends, which is how each learns of it: nothing else needs to be watched, and no worker outlives its supervisor.

    frame   4 bytes: the size of what follows; JSON: [number, what, value]

``number`` is the question's, 0 for what is only told; ``what`` of an answer is ANSWER.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from gateway.core.errors import OperatorError
from gateway.runtime.tasks import TrackedTasks

ANSWER, FAILED = "answer", "failed"

LONGEST = 256 << 20
"""Bytes of a frame: what is told of tens of thousands of keys."""

_SIZE = struct.Struct("!I")

Answering = Callable[[str, Any], Awaitable[Any]]
"""What was asked, and its value → the answer, of JSON types. What it raises reaches the other end as ChannelError."""


class ChannelError(OperatorError):
    """The other end did not answer: it has ended, is busy for too long, or could not do it."""


class Channel:
    """One end. ``answer``: what is done for the other end's questions, each in a task of its own. ``told``: is given
    what that only tells.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Answering,
        told: Callable[[str, Any], None] = lambda what, value: None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._told = told
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering = TrackedTasks(lambda name, error: None)  # what fails is told to the end that asked
        self.ended = False

    def tell(self, what: str, value: Any = None) -> None:
        """Tell the other end; nothing comes back."""
        self._send(0, what, value)

    async def ask(self, what: str, value: Any = None, *, timeout: float) -> Any:
        """The answer of the other end. ``timeout``: seconds. Raises ChannelError."""
        number = next(self._numbers)
        waiting = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            if self.ended:
                raise ChannelError("it has ended")
            self._send(number, what, value)
            async with asyncio.timeout(timeout):
                return await waiting
        except TimeoutError:
            raise ChannelError(f"it did not answer within {timeout:g} s") from None
        finally:
            del self._asked[number]

    async def serve(self) -> None:
        """Take what comes, one after the other, until the other end is gone. What still waits for an answer fails."""
        try:
            while True:
                (size,) = _SIZE.unpack(await self._reader.readexactly(_SIZE.size))
                if size > LONGEST:
                    raise ConnectionError("no such frame is ever sent")
                number, what, value = orjson.loads(await self._reader.readexactly(size))
                self._take(number, what, value)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended = True
            await self._answering.cancel_all()
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_exception(ChannelError("it has ended"))
            self._writer.close()

    def _take(self, number: int, what: str, value: Any) -> None:
        if what in (ANSWER, FAILED):
            waiting = self._asked.get(number)
            if waiting is not None and not waiting.done():
                if what == ANSWER:
                    waiting.set_result(value)
                else:
                    waiting.set_exception(ChannelError(value))
        elif not number:
            self._told(what, value)
        else:
            self._answering.spawn(self._answer_one(number, what, value), what)

    async def _answer_one(self, number: int, what: str, value: Any) -> None:
        failure = f"it failed at '{what}'"
        try:
            answer = await self._answer(what, value)
        except OperatorError as error:
            failure = str(error)
        else:
            failure = ""
            self._send(number, ANSWER, answer)
        finally:
            if failure:
                self._send(number, FAILED, failure)

    def _send(self, number: int, what: str, value: Any) -> None:
        if self._writer.is_closing():
            return
        data = orjson.dumps([number, what, value])
        self._writer.write(_SIZE.pack(len(data)) + data)

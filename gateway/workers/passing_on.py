"""An admin request passed on to a worker, over its Unix socket, and the answer. Both are whole documents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.core.headers import Header, Headers
from gateway.runtime.tasks import TrackedTasks
from gateway.server.request import Request, SenderGone

MOST_HEAD = 64 * 1024
"""Bytes of an answer's head."""

ANSWER_WITHIN = 120.0
"""Seconds: sums over a year's usage take their time."""

_OURS = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"expect", b"x-request-id"),
    )
)
"""Headers that are about the client's own connection, or that are written anew."""


class NoAnswer(Exception):
    """The worker has ended, or does not answer. ``sent``: whether it may have got the request."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the worker did not answer")
        self.sent = sent


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """What a worker answered."""

    status: int
    headers: Headers
    body: bytes


async def pass_on(place: Path, request: Request, tasks: TrackedTasks) -> WorkerAnswer:
    """The answer of the worker at ``place``. Raises NoAnswer.

    A body follows as the worker takes it: of a request that it refuses by its head nothing else is read.
    HEAD is asked as GET: what writes the answer leaves the body out, and knows how long it would be.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(place))
    except OSError:
        raise NoAnswer(sent=False) from None
    chunked = b"transfer-encoding" in request.fields
    writer.write(_head(request, chunked=chunked))
    following = tasks.spawn(_send_body(request, writer, chunked=chunked), "admin-body")
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return await _read_answer(reader)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        raise NoAnswer(sent=True) from None
    finally:
        following.cancel()
        writer.close()


async def _send_body(request: Request, writer: asyncio.StreamWriter, *, chunked: bool) -> None:
    try:
        complete = False
        while not complete:
            piece = request.take() if request.complete else await request.receive()
            complete = request.complete
            if piece:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
    except SenderGone:
        writer.transport.abort()
    except OSError:  # the worker has answered, or is gone: the answer's reader finds out
        pass


def _head(request: Request, *, chunked: bool) -> bytes:
    method = "GET" if request.method == "HEAD" else request.method
    target = request.path + (b"?" + request.query if request.query else b"")
    lines = [_whose(request), b"%b %b HTTP/1.1" % (method.encode("ascii"), target)]
    lines += [b"%b: %b" % pair for pair in request.headers if pair[0] not in _OURS]
    lines += [b"x-request-id: " + request.id.encode("ascii"), b"connection: close"]
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    return b"\r\n".join([*lines, b"", b""])


def _whose(request: Request) -> bytes:
    """The PROXY header: the worker must know from where keys are guessed."""
    if request.peer is None:
        return b"PROXY UNKNOWN"
    host, port = request.peer[0].partition("%")[0], request.peer[1]
    family, own = ("TCP6", "::1") if ":" in host else ("TCP4", "127.0.0.1")
    return f"PROXY {family} {host} {own} {port} 1".encode("ascii")


async def _read_answer(reader: asyncio.StreamReader) -> WorkerAnswer:
    head = await reader.readuntil(b"\r\n\r\n")
    if len(head) > MOST_HEAD:
        raise ValueError("its head is too long")
    first, *lines = head[:-4].split(b"\r\n")
    status = int(first.split(b" ", 2)[1])
    headers = [_header(line) for line in lines]
    length = next((int(value) for name, value in headers if name == b"content-length"), 0)
    return WorkerAnswer(status, tuple(_passed(headers)), await reader.readexactly(length))


def _header(line: bytes) -> Header:
    name, colon, value = line.partition(b":")
    if not colon:
        raise ValueError("it is no header")
    return name.lower(), value.strip()


def _passed(headers: Iterable[Header]) -> Iterable[Header]:
    return (pair for pair in headers if pair[0] not in _OURS and pair[0] != b"content-length")

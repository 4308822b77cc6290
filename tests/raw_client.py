"""A client that sends exactly the bytes it is told to, sees every byte that comes, and has h11 judge them.

An ``Answer`` is one message as h11, which is strict about HTTP, reads it; ``Received`` is all that came, as it came.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import h11
from openai._streaming import SSEDecoder  # a reading of the standard that is not ours

from tests.base_config import ALICE

PATH = "/v1/chat/completions"
PATIENCE = 10.0
"""Seconds after which something that should have come is given up."""

READ_LIMIT = 1 << 20
"""Bytes of one head, and how many are read ahead before the sender is held back."""

ConnectionEnding = Literal["fin", "reset", "open"]


@dataclass
class Answer:
    """One answer as it came off the wire.

    ``complete``: the body ended as HTTP says it must. ``closes``: the connection ends with it (``rest`` looks where it
    has to: after ``connection: close`` and after a stream that says no end).
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool
    closes: bool = False

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_stream(self) -> bool:
        return (self.header("content-type") or "").startswith("text/event-stream")

    @property
    def events(self) -> list[bytes]:
        """The bytes of the events, each with its empty line; a last one without it would be part of the list."""
        return [event + b"\n\n" for event in self.body.split(b"\n\n")[:-1]] + (
            [self.body.rpartition(b"\n\n")[2]] if not self.body.endswith(b"\n\n") else []
        )

    @property
    def payloads(self) -> list[bytes]:
        """The events' data as the OpenAI SDK's decoder reads them, whatever the framing."""
        return [event.data.encode() for event in SSEDecoder().iter_bytes(iter([self.body]))]

    @property
    def text(self) -> str:
        """The words of choice 0 of a stream."""
        chunks = [json.loads(payload) for payload in self.payloads if payload != b"[DONE]"]
        return "".join(
            choice["delta"].get("content") or ""
            for chunk in chunks
            for choice in chunk.get("choices", ())
            if choice["index"] == 0
        )

    def error(self) -> dict[str, Any]:
        """The OpenAI error, after checking that the answer keeps the contract for errors in every respect."""
        assert self.header("content-type") == "application/json"
        assert self.header("x-request-id")
        retry = self.header("x-should-retry")
        assert retry in ("true", "false")
        assert retry == "false" or self.header("retry-after") is not None
        return error_of(self.json())

    def stream_error(self) -> dict[str, Any]:
        """The error that ends a stream which had begun: the last event, nothing after it, no ``[DONE]``."""
        assert self.status == 200
        assert b"[DONE]" not in self.body
        assert self.complete
        assert self.closes
        return error_of(json.loads(self.payloads[-1]))


def error_of(document: Any) -> dict[str, Any]:
    """``{"error": {message, type, param, code}}``: all four, and nothing else."""
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert "<html" not in error["message"].lower()
    return error


@dataclass(frozen=True)
class Received:
    """What came back. ``raw``: every byte; ``ending``: how the connection was left when we stopped reading."""

    raw: bytes
    ending: ConnectionEnding

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[bytes, bytes]:
        lines = self.raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        return {name: value for name, _, value in (line.partition(b": ") for line in lines)}

    @property
    def after_head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def body(self) -> bytes:
        """The body as h11 reads it, which raises RemoteProtocolError for one that is cut or malformed."""
        return self.parts(ended=True)

    @property
    def cut_body(self) -> bytes:
        """The part of a body that had come before the connection ended too soon."""
        return self.parts(ended=False)

    def parts(self, *, ended: bool) -> bytes:
        reader = waiting_parser("GET")
        reader.receive_data(self.raw)
        if ended and self.ending == "fin":
            reader.receive_data(b"")
        data = bytearray()
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                assert not ended, "the answer has not ended"
                return bytes(data)
            if isinstance(event, h11.EndOfMessage):
                assert ended, "the answer is whole"
                return bytes(data)
            if isinstance(event, h11.Data):
                data += bytes(event.data)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def payloads(self) -> list[bytes]:
        """The data of the events of a body in plain framing."""
        return payloads(self.body)


_LAST_EVENTS = (b"[DONE]", b"event: response.completed\n", b"event: response.incomplete\n")


def _is_whole(answer: Answer) -> bool:
    """Whether a stream says itself that it is complete, so that its connection may go on."""
    return any(last in answer.body for last in _LAST_EVENTS)


def payloads(body: bytes) -> list[bytes]:
    """The data of events in plain framing."""
    return [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]


def waiting_parser(method: str) -> h11.Connection:
    """Expects the answer to a request of this method, however that was really sent."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=READ_LIMIT)
    parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    return parser


class RawClient:
    """One connection. ``received``: every byte so far of the body that is being read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = b""
        self._method = "GET"
        self._parser = waiting_parser(self._method)
        self._ahead = b""
        address, port = writer.get_extra_info("peername")[:2]
        self._host = f"{address}:{port}"

    @classmethod
    async def connect(cls, place: str | int, *, rcvbuf: int | None = None) -> Self:
        """``place``: a URL, or a port of this machine. ``rcvbuf``: bytes of the kernel's buffer, and of ours."""
        url = urlsplit(place) if isinstance(place, str) else None
        address = ("127.0.0.1", place) if url is None else (url.hostname, url.port)
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rcvbuf is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError:
            sock.close()
            raise
        return cls(*await asyncio.open_connection(sock=sock, limit=READ_LIMIT if rcvbuf is None else rcvbuf))

    # Asking

    async def send(self, data: bytes) -> None:
        """These bytes, as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def ask(
        self,
        body: bytes = b"",
        key: str | None = ALICE,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        target: str = PATH,
    ) -> None:
        """Send a well-formed request. ``headers`` stand in place of those it would have of itself."""
        fields = {"host": self._host, "content-type": "application/json", "content-length": str(len(body))}
        if key is not None:
            fields["authorization"] = f"Bearer {key}"
        fields |= headers or {}
        self._method = method
        await self.send(head_of(method, target, *(f"{name}: {value}" for name, value in fields.items())) + body)

    async def request(self, method: str, path: str, body: bytes = b"", *headers: str) -> Answer:
        """One ordinary request and its answer, on this connection."""
        self._method = method
        await self.send(message(method, path, body, *headers))
        return await self.answer()

    # Reading an answer

    async def head(self, *, interim: bool = False) -> Answer:
        """Wait for the head; the body is still to come. ``interim``: a 1xx is what is waited for, too."""
        while True:
            self._parser = waiting_parser(self._method)
            self.received = b""
            self._parser.receive_data(await self._head_bytes())
            event = self._parser.next_event()
            assert isinstance(event, (h11.Response, h11.InformationalResponse)), event
            if interim or isinstance(event, h11.Response):
                headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                return Answer(event.status_code, headers, b"", complete=False)

    async def until(self, part: bytes) -> bytes:
        """Read on until ``part`` has come."""
        while part not in self.received:
            event = await self._next()
            assert isinstance(event, h11.Data), f"{part!r} never came, but {event}"
            self.received += bytes(event.data)
        return self.received

    async def rest(self, answer: Answer) -> Answer:
        """Read to the end, whatever it is."""
        await self.broken_or_whole(answer)
        if not answer.complete:
            answer.closes = True
        elif answer.header("connection") == "close" or (answer.is_stream and not _is_whole(answer)):
            answer.closes = not self._ahead and await asyncio.wait_for(self.reader.read(1), PATIENCE) == b""
        return answer

    async def broken_or_whole(self, answer: Answer) -> Answer:
        """Read the body, to its end or as far as it came."""
        try:
            await self._read_body(answer)
        except (h11.RemoteProtocolError, ConnectionError):
            answer.body = self.received
        return answer

    async def answer(self) -> Answer:
        """A whole answer, and nothing of what may follow."""
        answer = await self.head()
        await self._read_body(answer)
        return answer

    async def _head_bytes(self) -> bytes:
        """Up to and with the empty line; what was read ahead comes first."""
        async with asyncio.timeout(PATIENCE):
            while b"\r\n\r\n" not in self._ahead:
                if not self._ahead:
                    return await self.reader.readuntil(b"\r\n\r\n")
                if not (data := await self.reader.read(1 << 16)):
                    raise asyncio.IncompleteReadError(self._ahead, None)
                self._ahead += data
        head, end, self._ahead = self._ahead.partition(b"\r\n\r\n")
        return head + end

    async def _read_body(self, answer: Answer) -> None:
        while isinstance(event := await self._next(), h11.Data):
            self.received += bytes(event.data)
        answer.body = self.received
        answer.complete = isinstance(event, h11.EndOfMessage)
        self._ahead = self._parser.trailing_data[0]

    async def _next(self) -> Any:
        while (event := self._parser.next_event()) is h11.NEED_DATA:
            data, self._ahead = self._ahead, b""
            self._parser.receive_data(data or await asyncio.wait_for(self.reader.read(1 << 16), PATIENCE))
        return event

    # Reading bytes

    async def receive(self, quiet: float = 5) -> Received:
        """Read until the connection ends, or nothing has come for ``quiet`` seconds."""
        raw = bytearray()  # adding to bytes would copy all of it each time, which takes minutes for a flood
        ending: ConnectionEnding = "open"
        try:
            while True:
                data = await asyncio.wait_for(self.reader.read(1 << 16), quiet)
                if not data:
                    ending = "fin"
                    break
                raw += data
        except TimeoutError:
            pass
        except ConnectionResetError:
            ending = "reset"
        return Received(bytes(raw), ending)

    async def receive_until(self, end: bytes) -> Received:
        """Read until ``end`` has come; the connection stays open."""
        return Received(await asyncio.wait_for(self.reader.readuntil(end), PATIENCE), "open")

    async def receive_events(self, count: int) -> Received:
        """Read until so many events of a stream in plain framing have come; the connection stays open."""
        raw = b""
        while raw.partition(b"\r\n\r\n")[2].count(b"\n\n\r\n") < count:
            raw += await asyncio.wait_for(self.reader.readuntil(b"\r\n"), PATIENCE)
        return Received(raw, "open")

    async def closed(self) -> bytes:
        """Wait until the server closes; return what it sent before."""
        async with asyncio.timeout(PATIENCE):
            try:
                return self._ahead + await self.reader.read()
            except ConnectionError:
                return b""

    # Ending

    async def leave(self) -> None:
        """Hang up as a killed process would: nothing more is read."""
        self.writer.transport.abort()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


def head_of(method: str, target: str, *lines: str) -> bytes:
    """The head of a request with these lines and no other."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines]).encode() + b"\r\n\r\n"


def message(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A request with as few headers as HTTP allows, and these."""
    length = [f"Content-Length: {len(body)}"] if body else []
    return head_of(method, path, "Host: localhost", *headers, *length) + body


async def get(url: str, key: str | None = None) -> bytes:
    """The body of a 200 to a plain GET."""
    client = await RawClient.connect(url)
    try:
        await client.ask(method="GET", target="/" + url.split("/", 3)[3], key=key)
        answer = await client.rest(await client.head())
    finally:
        await client.close()
    assert answer.status == 200
    return answer.body


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)

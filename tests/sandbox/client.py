"""A client that sees every byte: raw sockets to send and receive, h11 to judge whether what came is good HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import h11
import orjson

from gateway.sandbox import Sandbox
from gateway.sandbox.wire.answers import Role

ConnectionEnding = Literal["fin", "reset", "open"]
HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello there"}]}
STREAM = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}


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
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1_000_000)
        reader.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(self.raw)
        if ended and self.ending == "fin":
            reader.receive_data(b"")
        data = b""
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                assert not ended, "the answer has not ended"
                return data
            if isinstance(event, h11.EndOfMessage):
                assert ended, "the answer is whole"
                return data
            if isinstance(event, h11.Data):
                data += bytes(event.data)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def payloads(self) -> list[bytes]:
        """The data of the events of a body in plain framing."""
        return payloads(self.body)


def payloads(body: bytes) -> list[bytes]:
    return [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]


class Client:
    """One connection to a sandbox."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, sandbox: Sandbox, role: Role = "api") -> Client:
        port = int(sandbox.urls[role].rpartition(":")[2])
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))

    def send(
        self,
        content: Any = None,
        scenario: str | None = None,
        *,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        key: str | None = "sk-test",
        headers: Mapping[str, str] | None = None,
        announce: int | None = None,
    ) -> None:
        """``announce``: a Content-Length other than the body's, to keep the sandbox waiting for more."""
        body = b"" if content is None else content if isinstance(content, bytes) else orjson.dumps(content)
        fields = {"host": "sandbox", "content-length": str(len(body) if announce is None else announce)}
        if key is not None:
            fields["authorization"] = f"Bearer {key}"
        if scenario is not None:
            fields["x-sandbox-scenario"] = scenario
        fields |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def receive(self, quiet: float = 5) -> Received:
        """Read until the connection ends, or nothing has come for ``quiet`` seconds."""
        raw = b""
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
        return Received(raw, ending)

    async def receive_until(self, end: bytes) -> Received:
        """Read until ``end`` has come; the connection stays open."""
        return Received(await asyncio.wait_for(self.reader.readuntil(end), 5), "open")

    async def receive_events(self, count: int) -> Received:
        """Read until so many events of a stream in plain framing have come; the connection stays open."""
        raw = b""
        while raw.partition(b"\r\n\r\n")[2].count(b"\n\n\r\n") < count:
            raw += await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 5)
        return Received(raw, "open")

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


async def ask(sandbox: Sandbox, content: Any = None, scenario: str | None = None, **options: Any) -> Received:
    """One request on a connection of its own that the server is asked to close, and everything that came back."""
    role: Role = options.pop("role", next(iter(sandbox.urls)))
    headers = {"connection": "close", **options.pop("headers", {})}
    client = await Client.connect(sandbox, role)
    try:
        client.send(content, scenario, headers=headers, **options)
        return await client.receive()
    finally:
        await client.close()

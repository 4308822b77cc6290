"""A client that sees every byte: raw sockets, read by h11, which is strict about HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import h11
from openai._streaming import SSEDecoder  # somebody else's reading of the standard

from tests.base_config import ALICE

PATH = "/v1/chat/completions"
PROMPT = "hello from a confidential prompt"
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]
PATIENCE = 10.0
"""Seconds after which something that should have come is given up."""


def chat_body(**fields: Any) -> bytes:
    """The JSON of a chat request."""
    return json.dumps({"model": "gpt-4o", "messages": MESSAGES, **fields}).encode()


@dataclass
class Answer:
    """One answer as it came off the wire.

    ``complete``: the body ended as HTTP says it must. ``closes``: the connection ends with it (looked at where it has
    to: after ``connection: close`` and after a stream without ``[DONE]``).
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


class Client:
    """One raw connection to the gateway, read by h11, which is strict about HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        self.received = b""
        """Every byte of bodies so far."""

    @classmethod
    async def connect(cls, url: str) -> Client:
        place = urlsplit(url)
        return cls(*await asyncio.open_connection(place.hostname, place.port))

    async def send(
        self,
        body: bytes = b"",
        key: str | None = ALICE,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        target: str = PATH,
    ) -> None:
        fields = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
        if key is not None:
            fields["authorization"] = f"Bearer {key}"
        fields |= headers or {}
        request = h11.Request(method=method, target=target, headers=list(fields.items()))
        data = self._h11.send(request)
        data = (data or b"") + (self._h11.send(h11.Data(data=body)) or b"")
        self._writer.write(data + (self._h11.send(h11.EndOfMessage()) or b""))
        await self._writer.drain()

    async def head(self) -> Answer:
        """Wait for the head; the body is still to come."""
        while isinstance(event := await self._next(), h11.InformationalResponse):
            pass
        assert isinstance(event, h11.Response), event
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
        try:
            while isinstance(event := await self._next(), h11.Data):
                self.received += bytes(event.data)
        except (h11.RemoteProtocolError, ConnectionError):
            event = None
        answer.body = self.received
        answer.complete = isinstance(event, h11.EndOfMessage)
        if not answer.complete:
            answer.closes = True
        elif answer.header("connection") == "close" or (answer.is_stream and b"[DONE]" not in answer.body):
            answer.closes = await asyncio.wait_for(self._reader.read(1), PATIENCE) == b""
        return answer

    async def _next(self) -> Any:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await asyncio.wait_for(self._reader.read(1 << 16), PATIENCE))
        return event

    def again(self) -> None:
        """The answer has been read; another request may follow on this connection."""
        self._h11.start_next_cycle()
        self.received = b""

    def leave(self) -> None:
        """Hang up at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass


async def get(url: str) -> bytes:
    """The body of a 200 to a plain GET."""
    client = await Client.connect(url)
    try:
        await client.send(method="GET", target="/" + url.split("/", 3)[3], key=None)
        answer = await client.rest(await client.head())
    finally:
        await client.close()
    assert answer.status == 200
    return answer.body

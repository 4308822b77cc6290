"""Odd streams over real sockets: an upstream that writes exactly what a case says, behind a whole gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.harness import Rig, chat_body
from tests.fuzz.reading import events, parsed
from tests.fuzz.stream_oracle import check_streamed, check_whole, hold
from tests.fuzz.streams import StreamCase, stream_case
from tests.raw_client import Answer, error_of

SPARE = "the spare has answered"
_SPARE_STREAM = (
    b'data: {"id":"s","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":%d,"delta":'
    b'{"role":"assistant","content":"the spare has answered"},"finish_reason":"stop"}]}\n\n'
)


class ScriptedUpstream:
    """Plays the case it was given to the first request for it, and an honest answer to any other."""

    def __init__(self) -> None:
        self.case: StreamCase | None = None
        self.asked = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            body = json.loads(await reader.readexactly(length))
            self.asked += 1
            case, self.case = self.case, None
            if case is None:
                await self._answer(writer, b"text/event-stream", _spare(body), "close")
            else:
                await self._answer(writer, case.stream.label, case.pieces, case.stream.end)
                if case.stream.end == "silence":
                    await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, label: bytes | None, pieces: list[bytes], end: str) -> None:
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n"
        writer.write(head + (b"" if label is None else b"content-type: " + label + b"\r\n") + b"\r\n")
        for place, piece in enumerate(pieces):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if place < 20:
                await writer.drain()
                await asyncio.sleep(0)
        if end == "close":
            writer.write(b"0\r\n\r\n")
        await writer.drain()


def _spare(body: dict[str, Any]) -> list[bytes]:
    return [*(_SPARE_STREAM % index for index in range(body.get("n") or 1)), b"data: [DONE]\n\n"]


@asynccontextmanager
async def scripted_upstream() -> AsyncIterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.close()


def overrides(upstream: ScriptedUpstream) -> str:
    """A configuration whose every upstream is this one; it waits longer than a busy machine takes."""
    one = f"{{endpoints: [{{url: '{upstream.url}'}}], timeouts: {{content: 5s, idle: 1s}}}}"
    return f"upstreams: {{piapi: {one}, backup: {one}}}"


def is_quick(seed: int) -> bool:
    """Whether the case of this seed waits for no silence to end."""
    return stream_case(seed).stream.end != "silence"


async def check_socket(rig: Rig, upstream: ScriptedUpstream, seed: int) -> None:
    """Play the stream of this seed through a whole gateway. Raises Fault if the client does not get what it must."""
    case = stream_case(seed)
    upstream.case, upstream.asked = case, 0
    answer = await rig.post(chat_body(**case.fields))
    hold(upstream.case is None, "the upstream is asked", answer.status, answer.body[:300])
    if upstream.asked > 1:
        # Another upstream was asked, which is right only before content and for what was not complete (contract).
        hold(case.stream.doubtful or not case.meaning.complete, "asked again although it was complete")
        hold(answer.status == 200 and SPARE in answer.body.decode(), "the spare's answer", answer.status, answer.body)
        return
    if answer.is_stream:
        _check_stream(case, answer)
    else:
        check_whole(case.meaning, case.stream, answer.body if answer.status == 200 else None, ok=answer.status == 200)
        if answer.status != 200:
            answer.error()


def _check_stream(case: StreamCase, answer: Answer) -> None:
    hold(answer.complete, "the body ends as HTTP says")
    data = answer.body
    read = events(data)
    ok = b"[DONE]" in [each.strip() for each in read]
    if not ok:
        error = parsed(read[-1])
        hold(isinstance(error, dict) and "error" in error, "an error event ends what was cut", read[-1])
        error_of(error)
        data = data[: data.rindex(b"data: ")]
    asked = bool((case.fields["stream_options"] or {}).get("include_usage"))
    check_streamed(case.meaning, case.stream, data, ok=ok, asked=asked, is_document=case.is_document)

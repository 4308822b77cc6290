"""A piece that is exactly one chunk is read without the parser: what comes of it is what the parser would have made."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.upstream.answer_reader import AnswerReader, BadAnswer
from gateway.upstream.connection import UpstreamConnection

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
EVENT = b'data: {"a": 1}\n\n'
LAST = b"0\r\n\r\n"

Read = tuple[bytes, bool, bool, bool]


def chunk(content: bytes, *, upper: bool = False, extension: bytes = b"") -> bytes:
    size = b"%X" if upper else b"%x"
    return size % len(content) + extension + b"\r\n" + content + b"\r\n"


def read(pieces: Iterable[bytes], *, quickly: bool) -> Read:
    """What a reader makes of pieces: the body, whether it is complete, in step, and was refused."""
    reader, body = AnswerReader(1000), b""
    reader.begin(head_only=False)
    try:
        for piece in pieces:
            content = reader.whole_chunk(piece) if quickly and piece else b""
            rest = b"" if content else piece
            while rest:
                rest = reader.feed(rest)
            body += content
            while reader.body.size:
                body += reader.body.take()
    except BadAnswer:
        return body, reader.complete, False, True
    return body, reader.complete, reader.in_step, False


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


contents = st.binary(min_size=1, max_size=40) | st.sampled_from(
    [EVENT, b"x" * 15, b"x" * 16, b"x" * 255, b"x" * 256, b"x" * 4095, b"x" * 4096, b"5\r\nhello\r\n", b"0\r\n\r\n"]
)
written = st.builds(chunk, contents, upper=st.booleans(), extension=st.sampled_from([b"", b"", b"", b";a=b"]))
odd = st.sampled_from(
    [
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"05\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\nhello\n",
        b"5\r\nhello",
        b"5\r\nhell\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhelloXX",
        b"-1\r\n\r\n",
        b"f_f\r\nhello\r\n",
        b"\r\n",
        LAST,
        b"",
    ]
)


@given(st.lists(written | odd, max_size=8), st.sampled_from([CHUNKED, SIZED % 20, SIZED % 5]), st.booleans())
@example([chunk(EVENT), chunk(EVENT) * 2, chunk(EVENT), LAST], CHUNKED, True)
@example([chunk(b"hello")], SIZED % 10, True)
@example([chunk(b"x" * 20_000)[:-7], chunk(b"hello"), b"x" * 5], CHUNKED, True)
def test_pieces_as_they_were_written(pieces: list[bytes], head: bytes, apart: bool) -> None:
    came = [head, *pieces] if apart or not pieces else [head + pieces[0], *pieces[1:]]
    assert read(came, quickly=True) == read(came, quickly=False)


@given(st.lists(written, min_size=1, max_size=6), st.lists(st.integers(0, 10_000), max_size=6))
def test_pieces_cut_anywhere(pieces: list[bytes], places: list[int]) -> None:
    came = cut(CHUNKED + b"".join(pieces) + LAST, places)
    assert read(came, quickly=True) == read(came, quickly=False)
    assert read(came, quickly=True)[1:] == (True, True, False)


def test_the_next_answer_on_the_connection_begins_with_its_head() -> None:
    reader = AnswerReader(1000)
    for _ in range(2):
        reader.begin(head_only=False)
        assert reader.whole_chunk(chunk(EVENT)) == b""
        reader.feed(CHUNKED)
        assert reader.whole_chunk(chunk(EVENT)) == EVENT
        reader.feed(LAST)
        assert reader.in_step
        assert reader.whole_chunk(chunk(EVENT)) == b""


class Taker:
    """Takes what it is handed. ``more``: whether it wants the next piece."""

    def __init__(self, *, more: bool = True) -> None:
        self.taken: list[bytes] = []
        self._more = more

    def __call__(self, data: bytes) -> bool:
        self.taken.append(data)
        return self._more


class _Owner:
    def on_idle(self, connection: UpstreamConnection) -> None: ...
    def on_retired(self, connection: UpstreamConnection) -> None: ...


class _Silent(asyncio.Transport):
    """A transport on which only the test says what comes."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """The work, up to where it waits first."""
    task = asyncio.get_running_loop().create_task(work)
    await asyncio.sleep(0)
    return task


async def streaming() -> UpstreamConnection:
    """A connection on which the head of a chunked answer has come."""
    connection = UpstreamConnection(asyncio.get_running_loop(), _Owner(), 1000)
    connection.connection_made(_Silent())
    asking = await begun(connection.exchange(b"GET", b"", head_only=False))
    connection.data_received(CHUNKED)
    await asking
    return connection


async def test_chunks_are_handed_over_without_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, taker = await streaming(), Taker()
    parsed: list[bytes] = []
    feed = AnswerReader.feed

    def parse(reader: AnswerReader, data: bytes) -> bytes:
        parsed.append(data)
        return feed(reader, data)

    monkeypatch.setattr(AnswerReader, "feed", parse)
    handing = await begun(connection.hand_over(taker))
    for piece in (chunk(EVENT), chunk(b"two") + chunk(b"at once"), chunk(EVENT), LAST):
        connection.data_received(piece)
    await handing
    assert taker.taken == [EVENT, b"twoat once", EVENT, b""]
    assert parsed == [chunk(b"two") + chunk(b"at once"), LAST]
    assert connection.received == len(CHUNKED + chunk(EVENT) * 2 + chunk(b"two") + chunk(b"at once") + LAST)


async def test_a_taker_that_has_enough_leaves_the_next_chunk_where_it_is() -> None:
    connection, taker = await streaming(), Taker(more=False)
    handing = await begun(connection.hand_over(taker))
    connection.data_received(chunk(b"enough"))
    connection.data_received(chunk(b"later"))
    await handing
    assert taker.taken == [b"enough"]
    assert connection.take() == b"later"


async def test_what_a_taker_raises_is_raised_where_the_body_is_waited_for() -> None:
    connection = await streaming()
    taken: list[bytes] = []

    def take(data: bytes) -> bool:
        taken.append(data)
        raise LookupError(data)

    handing = await begun(connection.hand_over(take))
    connection.data_received(chunk(EVENT))
    connection.data_received(chunk(b"at once behind it"))
    with pytest.raises(LookupError):
        await handing
    assert taken == [EVENT]
    assert not connection.usable


async def test_behind_a_part_that_waits_for_its_turn_a_chunk_waits_too() -> None:
    connection, taker = await streaming(), Taker()
    handing = await begun(connection.hand_over(taker))
    lines = b"\n" * 10_000
    connection.data_received(chunk(lines))
    connection.data_received(chunk(EVENT))
    connection.data_received(LAST)
    await handing
    assert len(taker.taken) > 2
    assert b"".join(taker.taken) == lines + EVENT

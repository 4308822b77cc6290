"""h11 as the reference: what it reads from an answer, we read, however it is cut; what it refuses never hangs us."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import TransportError
from gateway.upstream.pool import ConnectionPool

from .conftest import DIALER, read_all
from .peer import Do, Peer, Script

Read = tuple[int, tuple[tuple[bytes, bytes], ...], bytes]

SETTINGS = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=6).map(str.encode)
VALUE = st.text('abc XYZ\t,;="é', max_size=12).map(lambda text: text.strip(" \t").encode("latin-1"))
FRAMING = {b"content-length", b"transfer-encoding", b"connection", b"upgrade"}
HEADERS = st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in FRAMING), VALUE), max_size=4)
REASON = st.sampled_from([b"", b" ", b" OK", b" Not so \xe9asy"])
SPACE = st.sampled_from([b"", b" ", b" \t "])


def written(headers: list[tuple[bytes, bytes]], before: bytes = b" ", after: bytes = b"") -> bytes:
    return b"".join(name + b":" + before + value + after + b"\r\n" for name, value in headers)


@st.composite
def heads_before(draw: st.DrawFn) -> bytes:
    statuses = draw(st.lists(st.sampled_from([100, 102, 103, 199]), max_size=2))
    return b"".join(b"HTTP/1.1 %d Wait\r\n" % status + written(draw(HEADERS)) + b"\r\n" for status in statuses)


@st.composite
def chunked_body(draw: st.DrawFn) -> bytes:
    parts = []
    for piece in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4)):
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(piece)
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
        parts.append(size + extension + b"\r\n" + piece + b"\r\n")
    return b"".join(parts) + b"0\r\n" + written(draw(HEADERS)) + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A valid answer in any framing."""
    status = draw(st.sampled_from([200, 201, 204, 206, 304, 400, 404, 429, 500, 599]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    headers = draw(HEADERS)
    body = draw(st.binary(max_size=60))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if draw(st.booleans()):
        headers.append((b"Connection", draw(st.sampled_from([b"close", b"keep-alive", b"Keep-Alive, x"]))))
    if status in (204, 304):
        body = b""
    elif framing == "length":
        headers.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunked" and version == b"1.1":
        headers.append((b"Transfer-Encoding", b"chunked"))
        body = draw(chunked_body())
    after = draw(SPACE) if framing != "chunked" else b" "  # a tab there is refused: see test_answers
    head = b"HTTP/" + version + b" %d" % status + draw(REASON) + b"\r\n"
    return draw(heads_before()) + head + written(headers, draw(SPACE), after) + b"\r\n" + body


@dataclass(frozen=True)
class Mutation:
    """One edit of an answer: ``length`` bytes at ``place`` (a share of the whole) give way to ``instead``."""

    place: float
    length: int
    instead: bytes

    def of(self, answer: bytes) -> bytes:
        place = int(self.place * len(answer))
        return answer[:place] + self.instead + answer[place + self.length :]


MUTATIONS = st.builds(
    Mutation,
    st.floats(0, 1),
    st.integers(0, 6),
    st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"0", b"9", b"g", b"-", b"\xff", b"\r\n\r\n"]),
)
CUTS = st.lists(st.floats(0, 1), max_size=4)


def pieces_of(answer: bytes, cuts: list[float]) -> list[bytes]:
    places = [0, *sorted(int(cut * len(answer)) for cut in cuts), len(answer)]
    return [piece for start, end in itertools.pairwise(places) if (piece := answer[start:end])]


def read_by_h11(answer: bytes) -> Read | None:
    """What h11 reads from an answer whose connection is then closed, or None if it refuses it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("host", "h"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body = b""
    try:
        client.receive_data(answer)
        client.receive_data(b"")
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return head.status_code, tuple(head.headers), body
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


async def read_by_us(answer: bytes, cuts: list[float]) -> Read | None:
    """The same by the pool over a socket. A TimeoutError here is an answer that hangs."""
    pool = ConnectionPool(DIALER)
    script: Script = [Do.REQUEST, *pieces_of(answer, cuts), Do.EOF]
    async with Peer(script) as peer, asyncio.timeout(5):
        try:
            response = await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5)
            return response.status, response.headers, await read_all(response)
        except TransportError:
            return None
        finally:
            await pool.close()
            assert pool.open_count == 0


@SETTINGS
@given(answers(), CUTS)
async def test_a_valid_answer_reads_as_h11_reads_it(answer: bytes, cuts: list[float]) -> None:
    expected = read_by_h11(answer)
    assert expected is not None
    assert await read_by_us(answer, cuts) == expected


@SETTINGS
@given(answers(), st.lists(MUTATIONS, min_size=1, max_size=3), CUTS)
async def test_a_damaged_answer_reads_as_h11_reads_it_or_is_refused(
    answer: bytes, mutations: list[Mutation], cuts: list[float]
) -> None:
    for mutation in mutations:
        answer = mutation.of(answer)
    ours = await read_by_us(answer, cuts)
    reference = read_by_h11(answer)
    if ours is not None and reference is not None:
        assert ours == reference

"""Fetching what an upstream made: the image, or one of many reasons why there is none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import ResultUnavailable
from gateway.upstream.dialer import Address
from gateway.upstream.result_fetch import FetchAllowance, FetchLimits
from tests.virtual_time import VirtualTime

from .fetching import OK, PNG, Made, Pauses, answer, link, moved, once, trouble
from .peer import Do, Peer, Script


async def test_an_image_comes_as_it_is_and_nothing_is_said_of_us(fetcher: Made, pauses: Pauses) -> None:
    async with Peer(OK) as peer:
        assert await fetcher().fetch(link(peer, "/a.png?sig=%2B")) == PNG
        head = peer.requests[0].lower()
        assert head.startswith(b"get /a.png?sig=%2b http/1.1\r\nhost: img.test:" + str(peer.port).encode() + b"\r\n")
        assert b"\r\naccept-encoding: identity\r\n" in head
        names = {line.split(b":")[0] for line in head.split(b"\r\n")[1:] if line}
        assert names == {b"host", b"accept", b"accept-encoding", b"user-agent", b"connection"}
        await peer.until_gone()
    assert pauses == []


async def test_each_fetch_has_a_connection_of_its_own(fetcher: Made) -> None:
    keeps = [Do.REQUEST, answer(200, PNG)] * 2
    async with Peer(keeps) as peer:
        fetching = fetcher()
        for _ in range(2):
            await fetching.fetch(link(peer))
        assert peer.accepted == 2


@pytest.mark.parametrize(
    "image",
    [PNG, b"\xff\xd8\xff\xe0" + bytes(90), b"RIFF\x60\x00\x00\x00WEBPVP8 " + bytes(90), b"GIF89a" + bytes(90)],
    ids=["png", "jpeg", "webp", "gif"],
)
async def test_what_an_image_is_shows_in_its_first_bytes(fetcher: Made, image: bytes) -> None:
    async with Peer(once(answer(200, image, "content-type: text/html"))) as peer:
        assert await fetcher().fetch(link(peer)) == image


@pytest.mark.parametrize(
    "page", [b"", b"<html>challenge</html>", b"<svg/>", b"BM" + bytes(90), b"%PDF", PNG[1:]], ids=lambda page: page[:6]
)
async def test_anything_else_is_no_image_whatever_it_is_called(fetcher: Made, pauses: Pauses, page: bytes) -> None:
    async with Peer(once(answer(200, page, "content-type: image/png"))) as peer:
        assert await trouble(fetcher(), link(peer)) == "what came is not a PNG, JPEG, WebP or GIF"
        assert len(peer.requests) == 1


async def test_an_image_comes_in_any_framing(fetcher: Made) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked += b"".join(b"%x\r\n%b\r\n" % (1, PNG[at : at + 1]) for at in range(len(PNG))) + b"0\r\n\r\n"
    until_closed: Script = [Do.REQUEST, b"HTTP/1.1 200 OK\r\n\r\n" + PNG, Do.EOF]
    async with Peer(once(chunked), until_closed) as peer:
        for _ in range(2):
            assert await fetcher().fetch(link(peer)) == PNG


# What may pass, and what does not


async def test_a_host_that_refuses_twice_and_then_has_the_image(fetcher: Made, pauses: Pauses) -> None:
    async with Peer(once(answer(403, b"not yet")), once(answer(403)), OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert len(peer.requests) == peer.accepted == 3
    assert pauses == [0.5, 1.5]


def agents(peer: Peer) -> list[bytes]:
    """By what name each request was made."""
    lines = [line for head in peer.requests for line in head.split(b"\r\n") if line.startswith(b"user-agent: ")]
    return [b"browser" if line.startswith(b"user-agent: Mozilla/5.0 (") else line[12:] for line in lines]


async def test_a_host_that_forbids_is_asked_again_as_a_browser_would(fetcher: Made) -> None:
    async with Peer(once(answer(403, b"bots are not welcome")), OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert agents(peer) == [b"piapi-gateway", b"browser"]
        again = peer.requests[1].lower()
        assert b"\r\naccept-encoding: identity\r\n" in again
        names = {line.split(b":")[0] for line in again.split(b"\r\n")[1:] if line}
        assert not names & {b"cookie", b"authorization", b"referer", b"x-api-key"}


async def test_a_browser_is_played_only_where_it_was_forbidden_and_then_to_the_end(fetcher: Made) -> None:
    async with Peer(once(answer(503)), once(answer(403)), OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert agents(peer) == [b"piapi-gateway", b"piapi-gateway", b"browser"]
    async with Peer(once(answer(403)), moved("/b"), OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert agents(peer) == [b"piapi-gateway", b"browser", b"browser"]
    async with Peer(moved("/b"), once(answer(403)), moved("/b"), OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert agents(peer) == [b"piapi-gateway", b"piapi-gateway", b"browser", b"browser"]
    async with Peer(once(answer(404)), once(answer(429)), OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert agents(peer) == [b"piapi-gateway"] * 3


@pytest.mark.parametrize("status", [403, 404, 408, 425, 429, 500, 502, 503, 504, 524])
async def test_three_refusals_are_enough(fetcher: Made, pauses: Pauses, status: int) -> None:
    async with Peer(once(answer(status))) as peer:
        reason = await trouble(fetcher(), link(peer, "/a?secret"))
        assert reason == f"the image's host answered {status}; tried 3 times"
        assert len(peer.requests) == 3
    assert pauses == [0.5, 1.5]


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 402, 405, 410, 451])
async def test_other_refusals_are_final(fetcher: Made, pauses: Pauses, status: int) -> None:
    head = b"HTTP/1.1 %d Whatever\r\n\r\n" % status if status in (204, 304) else answer(status, PNG)
    async with Peer(once(head)) as peer:
        assert await trouble(fetcher(), link(peer)) == f"the image's host answered {status}"
        assert len(peer.requests) == 1
    assert pauses == []


@pytest.mark.parametrize(
    "broken",
    [
        [Do.REQUEST, Do.RST],
        [Do.REQUEST, Do.EOF],
        [Do.REQUEST, answer(200, PNG)[:-1], Do.EOF],
        [Do.REQUEST, answer(200, PNG)[:-1], Do.RST],
        once(b"SSH-2.0-OpenSSH_9.9\r\n"),
        once(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000),
    ],
    ids=["reset", "closed", "cut short", "reset in the middle", "not http", "endless head"],
)
async def test_a_connection_that_fails_is_tried_again(fetcher: Made, broken: Script) -> None:
    async with Peer(broken, OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
    async with Peer(broken) as peer:
        reason = await trouble(fetcher(), link(peer))
        assert reason.startswith("img.test: ")
        assert reason.endswith("; tried 3 times")
        assert peer.accepted == 3


async def test_a_host_that_cannot_be_found_or_reached(fetcher: Made) -> None:
    asked = 0

    async def nowhere(host: str, port: int) -> list[Address]:
        nonlocal asked
        asked += 1
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert "dns_error" in await trouble(fetcher(resolver=nowhere), "http://img.test/a.png")
    assert asked == 3
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        reason = await trouble(fetcher(), f"http://img.test:{bound.getsockname()[1]}/a.png")
    assert "connect_refused" in reason


@pytest.mark.parametrize(
    "silent",
    [[Do.REQUEST], [Do.REQUEST, b"HTTP/1.1 200 OK\r\n"], [Do.REQUEST, answer(200, PNG)[:-1]]],
    ids=["at once", "in the head", "before the last byte"],
)
async def test_a_host_that_falls_silent_is_left_and_asked_again(fetcher: Made, silent: Script) -> None:
    limits = {"silence": 0.05, "connect": 0.05}
    async with Peer(silent, OK) as peer:  # however slow this machine is, one of twenty tries is in time
        assert await fetcher(limits={**limits, "pauses": (0.0,) * 19}).fetch(link(peer)) == PNG
    async with Peer(silent) as peer:
        reason = await trouble(fetcher(limits=limits), link(peer))
        assert reason == "img.test fell silent for 0.05 s; tried 3 times"
        await peer.until_gone(3)


async def test_a_host_that_trickles_is_cut_off_in_the_end(fetcher: Made) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # uvloop raises RuntimeError for a write to a connection that is lost already.
        with contextlib.suppress(OSError, EOFError, RuntimeError):
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            writer.write(answer(200, PNG)[: -len(PNG)])
            for byte in PNG:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.transport.abort()
        left.set()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        fetching = fetcher(limits={"total": 0.2, "silence": 5})
        url = f"http://img.test:{server.sockets[0].getsockname()[1]}/a.png"
        for _ in range(20):  # however slow this machine is, one of twenty tries reaches the host within its 0.2 s
            assert await trouble(fetching, url) == "the image did not come within 0.2 s"
            if asked.is_set():
                break
        await asyncio.wait_for(left.wait(), 5)


# Size and encodings


async def test_an_announced_size_is_judged_before_a_byte_is_read(fetcher: Made, pauses: Pauses) -> None:
    async with Peer([Do.REQUEST, b"HTTP/1.1 200 OK\r\ncontent-length: 52428801\r\n\r\n"]) as peer:
        assert await trouble(fetcher(), link(peer)) == "the image is larger than 52428800 bytes"
        await peer.until_gone()
    assert pauses == []


async def test_a_size_that_was_not_announced_is_counted(fetcher: Made, pauses: Pauses) -> None:
    limits = {"size": len(PNG)}
    whole: Script = [Do.REQUEST, b"HTTP/1.1 200 OK\r\n\r\n", PNG, Do.EOF]
    more: Script = [Do.REQUEST, b"HTTP/1.1 200 OK\r\n\r\n", PNG, b"!"]
    async with Peer(whole, more) as peer:
        assert await fetcher(limits=limits).fetch(link(peer)) == PNG
        assert await trouble(fetcher(limits=limits), link(peer)) == f"the image is larger than {len(PNG)} bytes"
        await peer.until_gone()
    assert pauses == []


@pytest.mark.parametrize("encoding", ["br", "gzip", "zstd", "deflate", "identity, br", "x-unknown"])
async def test_what_comes_compressed_is_refused_unread(fetcher: Made, pauses: Pauses, encoding: str) -> None:
    async with Peer(once(answer(200, PNG, f"content-encoding: {encoding}"))) as peer:
        assert await trouble(fetcher(), link(peer)) == "the image came compressed, which was not asked for"
    assert pauses == []


async def test_to_say_that_nothing_is_compressed_is_fine(fetcher: Made) -> None:
    async with Peer(once(answer(200, PNG, "content-encoding: Identity", "content-encoding:"))) as peer:
        assert await fetcher().fetch(link(peer)) == PNG


# What all fetches for one answer may take together


async def test_the_bytes_of_one_answer_are_counted_together(fetcher: Made) -> None:
    fetching = fetcher(limits={"together": 2 * len(PNG) + 1})
    async with Peer(OK) as peer:
        first, second = fetching.allowance(), fetching.allowance()
        for _ in range(2):
            assert await fetching.fetch(link(peer), first) == PNG
        with pytest.raises(ResultUnavailable, match="the images of one answer are larger than"):
            await fetching.fetch(link(peer), first)
        assert await fetching.fetch(link(peer), second) == PNG  # another answer has its own
        assert await fetching.fetch(link(peer)) == PNG


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 2056\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
    ids=["announced", "not announced"],
)
async def test_what_was_of_no_use_counts_too(fetcher: Made, head: bytes) -> None:
    """Whoever sends pages, or images that break off, in place of images has them paid for by the others."""
    page: Script = [Do.REQUEST, head + b"<html>".ljust(2056), Do.EOF]
    fetching = fetcher(limits={"together": 3 * 2056})
    async with Peer(page) as peer:
        allowance = fetching.allowance()
        for _ in range(3):
            with pytest.raises(ResultUnavailable, match="is not a PNG"):
                await fetching.fetch(link(peer), allowance)
        with pytest.raises(ResultUnavailable, match="the images of one answer"):
            await fetching.fetch(link(peer), allowance)


async def test_fetches_side_by_side_share_the_bytes(fetcher: Made) -> None:
    fetching = fetcher(limits={"together": 3 * len(PNG)})
    async with Peer([*once(b"HTTP/1.1 200 OK\r\n\r\n" + PNG), Do.EOF]) as peer:
        allowance = fetching.allowance()
        got = await asyncio.gather(*(fetching.fetch(link(peer), allowance) for _ in range(6)), return_exceptions=True)
        assert [data for data in got if isinstance(data, bytes)] == [PNG] * 3
        assert sum(isinstance(trouble, ResultUnavailable) for trouble in got) == 3


def test_the_seconds_of_one_answer_are_counted_together() -> None:
    """Fetches one after the other add up, those side by side count once, and the time in between does not."""

    async def story() -> None:
        limits = FetchLimits(total=30)
        allowance, loop = FetchAllowance(limits), asyncio.get_running_loop()
        with allowance.running() as end:
            assert end == loop.time() + 30
            await asyncio.sleep(10)
            with allowance.running() as beside:
                assert beside == end
                await asyncio.sleep(5)
        await asyncio.sleep(100)  # the next image of the stream is made
        with allowance.running() as end:
            assert end == loop.time() + 15
            await asyncio.sleep(15)
        with allowance.running() as end:
            assert end == loop.time()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(story())


async def test_an_answer_whose_time_is_over_fetches_no_more(fetcher: Made) -> None:
    async with Peer([Do.REQUEST]) as peer:  # which never answers
        fetching = fetcher(limits={"total": 0.1, "silence": 5})
        allowance = fetching.allowance()
        for _ in range(2):
            with pytest.raises(ResultUnavailable, match=r"did not come within 0\.1 s"):
                await fetching.fetch(link(peer), allowance)
        assert len(peer.requests) <= 1


# Many at once, and the end


async def test_only_so_many_are_fetched_at_once(fetcher: Made) -> None:
    go_on = asyncio.Event()
    async with Peer([Do.REQUEST, go_on, answer(200, PNG)]) as peer:
        fetching = fetcher(limits={"parallel": 2})
        running = [asyncio.get_running_loop().create_task(fetching.fetch(link(peer))) for _ in range(5)]
        await peer.until_asked(2)
        await asyncio.sleep(0.02)
        assert peer.accepted == 2
        go_on.set()
        assert await asyncio.gather(*running) == [PNG] * 5


async def test_a_fetch_that_is_given_up_leaves_nothing_and_frees_its_place(fetcher: Made) -> None:
    async with Peer([Do.REQUEST, asyncio.Event()], OK) as peer:
        fetching = fetcher(limits={"parallel": 1})
        given_up = asyncio.get_running_loop().create_task(fetching.fetch(link(peer)))
        await peer.until_asked()
        given_up.cancel()
        assert await fetching.fetch(link(peer)) == PNG
        await peer.until_gone()
        assert given_up.cancelled()


async def test_closing_ends_what_runs(fetcher: Made) -> None:
    async with Peer([Do.REQUEST]) as peer:
        fetching = fetcher()
        running = asyncio.get_running_loop().create_task(fetching.fetch(link(peer)))
        await peer.until_asked()
        await fetching.close()
        with pytest.raises(ResultUnavailable, match="shutting down"):
            await running
        assert await trouble(fetching, link(peer)) == "the gateway is shutting down"


BOMBS = """
import asyncio, pathlib, resource, socket
from gateway.core.errors import ResultUnavailable
from gateway.upstream.result_fetch import FetchLimits, ResultFetcher
from tests.images.test_mask import png_header

async def loopback(host, port):
    return [(socket.AF_INET, ("127.0.0.1", port))]

async def serve(reader, writer):
    path = (await reader.readuntil(b"\\r\\n\\r\\n")).split(b" ")[1]
    if path == b"/header":  # 1 GiB of pixels, if anyone counted on them
        body = png_header(16384, 16384)
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
    elif path == b"/brotli":
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-encoding: br\\r\\ncontent-length: 809\\r\\n\\r\\n" + bytes(809))
    else:  # without an end
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-type: image/png\\r\\n\\r\\n")
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        except OSError:
            pass
        left.set()
    writer.close()

left = asyncio.Event()

async def main():
    fetcher = ResultFetcher(("img.test",), True, resolver=loopback)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 160 * 1024 * 1024,) * 2)
        for path in ("header", "brotli", "endless"):
            try:
                url = f"http://img.test:{server.sockets[0].getsockname()[1]}/{path}"
                print(path, await fetcher.fetch(url) == png_header(16384, 16384))
            except ResultUnavailable as error:
                print(path, error)
        await left.wait()
    await fetcher.close()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its limit")
def test_bombs_do_not_go_off_in_little_memory() -> None:
    """In a process that has room for one image of the largest size and little more."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOMBS],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "header True",
        "brotli the image came compressed, which was not asked for",
        "endless the image is larger than 52428800 bytes",
    ]

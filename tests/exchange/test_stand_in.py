"""The stand-in for a client: what it collects, who is told of it, how it ends, and that it left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import GatewayError, internal_error
from gateway.exchange.client import Client
from gateway.exchange.stand_in import Ending, Pieces, PiecesGone, StandInClient


def played(story: Callable[[], Awaitable[None]]) -> None:
    async def play() -> None:
        async with asyncio.timeout(5):
            await story()

    asyncio.run(play())


def stand_in(**settings: object) -> StandInClient:
    return StandInClient("req_1", asyncio.get_running_loop(), **settings)  # type: ignore[arg-type]


class Follower:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.ends = 0

    def end(self) -> None:
        self.ends += 1


class TestPieces:
    def test_each_piece_has_its_place(self) -> None:
        pieces = Pieces()
        for piece in (b"a", b"", b"bc", b"d"):
            pieces.add(piece)

        assert pieces.kept() == [b"a", b"bc", b"d"]
        assert pieces.kept(1) == [b"bc", b"d"]
        assert pieces.kept(3) == pieces.kept(99) == []
        assert (pieces.first, pieces.next, pieces.size) == (0, 3, 4)

    def test_beyond_the_bound_the_oldest_are_let_go(self) -> None:
        pieces = Pieces(most=4)
        for piece in (b"aa", b"bb", b"c", b"d"):
            pieces.add(piece)

        assert pieces.first == 1
        assert pieces.kept(1) == [b"bb", b"c", b"d"]
        with pytest.raises(PiecesGone):
            pieces.kept(0)
        with pytest.raises(PiecesGone):
            pieces.subscribe(Follower().got.append, start=0)

    def test_one_that_is_larger_than_the_bound_is_told_but_not_kept(self) -> None:
        pieces, live = Pieces(most=3), Follower()
        pieces.subscribe(live.got.append)
        pieces.add(b"large")
        pieces.add(b"ok")

        assert live.got == [b"large", b"ok"]
        assert (pieces.first, pieces.kept(1)) == (1, [b"ok"])

    def test_nothing_comes_after_the_end(self) -> None:
        pieces, live = Pieces(), Follower()
        pieces.subscribe(live.got.append, live.end)
        pieces.add(b"a")
        pieces.end()
        pieces.end()
        pieces.add(b"b")

        assert (live.got, live.ends, pieces.kept()) == ([b"a"], 1, [b"a"])

    def test_who_comes_late_gets_what_was_and_what_comes(self) -> None:
        pieces, all_of_it, from_one, from_now = Pieces(), Follower(), Follower(), Follower()
        pieces.add(b"a")
        pieces.add(b"b")
        pieces.subscribe(all_of_it.got.append, start=0)
        pieces.subscribe(from_one.got.append, start=1)
        pieces.subscribe(from_now.got.append)
        pieces.add(b"c")

        assert all_of_it.got == [b"a", b"b", b"c"]
        assert from_one.got == [b"b", b"c"]
        assert from_now.got == [b"c"]

    def test_a_place_that_is_to_come_is_waited_for(self) -> None:
        pieces, late = Pieces(), Follower()
        pieces.add(b"a")
        pieces.subscribe(late.got.append, start=3)
        for piece in (b"b", b"c", b"d", b"e"):
            pieces.add(piece)

        assert late.got == [b"d", b"e"]

    def test_who_comes_after_the_end_gets_all_of_it_and_the_end(self) -> None:
        pieces, late = Pieces(), Follower()
        pieces.add(b"a")
        pieces.end()
        pieces.subscribe(late.got.append, late.end, start=0)

        assert (late.got, late.ends) == ([b"a"], 1)

    def test_who_left_is_told_nothing_more(self) -> None:
        pieces, one, other = Pieces(), Follower(), Follower()
        leave = pieces.subscribe(one.got.append, one.end)
        pieces.subscribe(other.got.append, other.end)
        pieces.add(b"a")
        leave()
        leave()
        pieces.add(b"b")
        pieces.end()

        assert (one.got, one.ends) == ([b"a"], 0)
        assert (other.got, other.ends) == ([b"a", b"b"], 1)

    def test_one_may_leave_while_a_piece_is_told(self) -> None:
        pieces, second = Pieces(), Follower()
        pieces.subscribe(lambda _: leave())
        leave = pieces.subscribe(second.got.append)
        pieces.add(b"a")

        assert second.got == []

    def test_after_gives_what_has_come_together_and_waits_for_the_rest(self) -> None:
        async def story() -> None:
            pieces = Pieces()
            pieces.add(b"a")
            pieces.add(b"b")
            coming = pieces.after(0)
            assert await anext(coming) == b"ab"
            asyncio.get_running_loop().call_later(0.001, pieces.add, b"c")
            assert await anext(coming) == b"c"
            pieces.add(b"d")
            pieces.end()
            assert [one async for one in coming] == [b"d"]

        played(story)

    def test_after_ends_at_once_where_all_has_come(self) -> None:
        async def story() -> None:
            pieces = Pieces()
            pieces.add(b"a")
            pieces.end()
            assert [one async for one in pieces.after(0)] == [b"a"]
            assert [one async for one in pieces.after(1)] == []
            assert [one async for one in pieces.after(7)] == []

        played(story)

    def test_one_that_reads_too_slowly_is_told_so(self) -> None:
        async def story() -> None:
            pieces = Pieces(most=2)
            pieces.add(b"a")
            coming = pieces.after(0)
            assert await anext(coming) == b"a"
            for piece in (b"b", b"c", b"d"):
                pieces.add(piece)
            with pytest.raises(PiecesGone):
                await anext(coming)

        played(story)

    @given(
        st.lists(st.binary(min_size=1, max_size=3), max_size=12),
        st.integers(0, 20),
        st.integers(0, 14),
        st.integers(0, 12),
    )
    def test_a_follower_gets_every_piece_from_its_place_on_once(
        self, data: list[bytes], most: int, start: int, when: int
    ) -> None:
        pieces, follower = Pieces(most), Follower()
        for piece in data[:when]:
            pieces.add(piece)
        try:
            pieces.subscribe(follower.got.append, follower.end, start=start)
        except PiecesGone:
            assert start < pieces.first
            return
        for piece in data[when:]:
            pieces.add(piece)
        pieces.end()

        assert follower.got == data[start:]
        assert follower.ends == 1
        assert pieces.size == sum(map(len, pieces.kept(pieces.first))) <= most


class TestAnswers:
    def test_it_is_a_client_of_an_exchange(self) -> None:
        async def story() -> None:
            client: Client = stand_in(host="here:1")
            assert (client.request_id, client.host) == ("req_1", "here:1")
            assert client.loop is asyncio.get_running_loop()
            assert not any((client.started, client.gone, client.stalled))

        played(story)

    def test_a_whole_answer(self) -> None:
        async def story() -> None:
            client = stand_in()
            client.hold(stream=False, heartbeat=1.0, headers=lambda: ((b"x-a", b"1"),))
            await client.complete(b"{}", ((b"x-b", b"2"),), status=202)
            client.release()

            assert client.ending == Ending(202, ((b"x-a", b"1"), (b"x-b", b"2")), b"{}")
            assert await client.ended() is client.ending
            assert client.pieces.over
            assert not client.started

        played(story)

    def test_a_stream(self) -> None:
        async def story() -> None:
            client, headers = stand_in(), [(b"x-attempts", b"1")]
            client.hold(stream=True, heartbeat=0.0, headers=lambda: tuple(headers))
            assert client.write_now(b"early") is False
            await client.emit(b"", meaningful=False)
            headers[0] = (b"x-attempts", b"2")
            await client.emit(b"a", meaningful=False)
            assert client.started
            assert client.write_now(b"") is False
            assert client.write_now(b"b") is True
            await client.complete(None, ((b"x-cost", b"3"),))

            assert client.pieces.kept() == [b"a", b"b"]
            assert client.head == ((b"x-attempts", b"1"),)  # as they stood when the head would have gone out
            assert client.ending == Ending(200, ((b"x-attempts", b"1"), (b"x-cost", b"3")))

        played(story)

    def test_bytes_may_be_divided(self) -> None:
        async def story() -> None:
            client = stand_in(divide=lambda data: [one for one in data.split(b"|") if one != b"x"])
            await client.emit(b"a|x|b", meaningful=True)
            client.write_now(b"x")
            client.write_now(b"c")
            assert client.pieces.kept() == [b"a", b"b", b"c"]

        played(story)

    def test_a_sound_has_its_own_content_type(self) -> None:
        async def story() -> None:
            client = stand_in()
            client.hold(stream=False, heartbeat=0.0, headers=tuple, bare=True, label=lambda: b"audio/mpeg")
            await client.emit(b"mp3", meaningful=True)
            assert client.content_type == b"audio/mpeg"

        played(story)

    @pytest.mark.parametrize("told_by", ["error", "fail"])
    def test_an_error_before_the_answer(self, told_by: str) -> None:
        async def story() -> None:
            client, error = stand_in(), internal_error()
            client.hold(stream=True, heartbeat=0.0, headers=lambda: ((b"x-a", b"1"),))
            await getattr(client, told_by)(error, ((b"x-b", b"2"),))

            assert client.ending == Ending(500, ((b"x-a", b"1"), (b"x-b", b"2")), error=error)
            assert client.pieces.kept() == []

        played(story)

    def test_an_error_after_the_first_bytes(self) -> None:
        async def story() -> None:
            client, error = stand_in(), internal_error()
            await client.emit(b"a", meaningful=True)
            await client.fail(error)
            await client.emit(b"b", meaningful=True)

            assert client.pieces.kept() == [b"a"]
            assert (await client.ended()).error is error

        played(story)

    def test_the_first_end_stands(self) -> None:
        async def story() -> None:
            client, told = stand_in(), Follower()
            client.on_end(told.end)
            client.on_end(told.end)
            await client.complete(b"1")
            await client.fail(internal_error())
            await client.complete(b"2")
            client.end(Ending(500))
            assert told.ends == 2
            assert client.ending == Ending(200, body=b"1")
            client.on_end(told.end)
            assert told.ends == 3

        played(story)

    def test_the_end_is_told_behind_the_last_piece(self) -> None:
        async def story() -> None:
            client, told = stand_in(), list[object]()
            client.on_end(lambda: told.append(client.ending))
            client.pieces.subscribe(told.append, lambda: told.append("over"))
            client.add(b"a")
            await client.complete(None)
            assert told == [b"a", "over", Ending(200)]

        played(story)

    def test_who_waits_is_woken(self) -> None:
        async def story() -> None:
            client = stand_in()
            asyncio.get_running_loop().call_later(0.001, client.end, Ending(200, body=b"1"))
            ended = await asyncio.gather(client.ended(), client.ended())
            assert [one.body for one in ended] == [b"1"] * 2

        played(story)


class TestLeaving:
    @pytest.mark.parametrize("stalled", [False, True])
    def test_who_watches_is_told_once(self, stalled: bool) -> None:
        async def story() -> None:
            client, told = stand_in(), Follower()
            client.watch(told.end)
            client.leave(stalled=stalled)
            client.leave()
            assert (client.gone, client.stalled, told.ends) == (True, stalled, 1)

        played(story)

    def test_who_watches_late_is_told_at_once(self) -> None:
        async def story() -> None:
            client, told = stand_in(), Follower()
            client.leave()
            client.watch(told.end)
            assert told.ends == 1

        played(story)

    def test_cutting_it_off_is_leaving(self) -> None:
        async def story() -> None:
            client, told = stand_in(), Follower()
            client.watch(told.end)
            client.abort()
            assert (client.gone, told.ends) == (True, 1)

        played(story)

    @pytest.mark.parametrize("error", [None, internal_error()])
    def test_who_watches_is_not_told_after_the_end(self, error: GatewayError | None) -> None:
        async def story() -> None:
            client, told = stand_in(), Follower()
            client.watch(told.end)
            await (client.complete(b"") if error is None else client.fail(error))
            client.leave()
            assert (client.gone, told.ends) == (False, 0)

        played(story)

    def test_what_is_released_is_told_nothing(self) -> None:
        async def story() -> None:
            client, told = stand_in(), Follower()
            client.hold(stream=False, heartbeat=0.0, headers=lambda: ((b"x-a", b"1"),))
            client.watch(told.end)
            client.release()
            client.leave()
            await client.complete(b"")
            assert (told.ends, client.ending) == (0, Ending(200, body=b""))

        played(story)

    def test_what_comes_after_it_left_is_collected_until_its_end(self) -> None:
        async def story() -> None:
            client = stand_in()
            client.add(b"a")
            client.leave()
            assert not client.write_now(b"b")  # left to ``emit``, which bounds what is read on
            await client.emit(b"b", True)
            client.end(Ending(499))
            client.add(b"c")
            assert client.pieces.kept() == [b"a", b"b"]
            assert client.ending == Ending(499)

        played(story)

    def test_it_may_serve_several_exchanges(self) -> None:
        async def story() -> None:
            client, first, second = stand_in(), Follower(), Follower()
            client.watch(first.end)
            client.release()
            client.watch(second.end)
            client.leave()
            assert (first.ends, second.ends) == (0, 1)

        played(story)

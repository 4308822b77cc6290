"""The driver's timers, in virtual time: what a wait may last, for whom, and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from gateway.core.types import Outcome, Phase
from gateway.exchange.timers import GRACE_AFTER_FINISH
from gateway.translate.commands import Awaiting, Conversing, Emit, Send
from tests.exchange.scripted import (
    NEVER,
    SEND,
    Pool,
    Response,
    Script,
    Sink,
    Talk,
    attempt,
    emitting,
    ends,
    every,
    folding,
    listen,
    now,
    play,
)


def whole(script: Script) -> Script:
    """The same, but the answer was asked for in one piece."""

    def asking(talk: Talk) -> Conversing:
        conversing = script(talk)
        command = next(conversing)
        assert isinstance(command, Send)
        result = yield replace(command, whole=True)
        while True:
            try:
                command = conversing.send(result)
            except StopIteration as end:
                return cast("Outcome", end.value)
            result = yield command

    return asking


class TestHowLongAWaitMayLast:
    """Token-billed chat: 30 s for the head, 60 s for content, 60 s between pieces."""

    def test_the_head(self) -> None:
        async def story() -> None:
            running = attempt(listen(Awaiting.CONTENT), pool=Pool([], dialled_after=4, head_after=NEVER))
            assert await ends(running) == ("stall_head", 30)
            assert running.phase is Phase.UNKNOWN

        play(story)

    def test_the_head_while_still_connecting(self) -> None:
        """Nothing has left, so that it may be sent elsewhere."""

        async def story() -> None:
            running = attempt(listen(Awaiting.CONTENT), pool=Pool([], dialled_after=NEVER))
            outcome = await running.run()
            assert (outcome.slug, outcome.phase, running.sent) == ("stall_head", Phase.UNSENT, False)

        play(story)

    def test_content_is_awaited_from_the_head_on_even_if_comments_come(self) -> None:
        async def story() -> None:
            pool = Pool([Response(every(7, b": wait"))], head_after=10)
            assert await ends(attempt(listen(Awaiting.CONTENT), pool=pool)) == ("stall_content", 70)

        play(story)

    def test_silence_between_pieces_counts_from_the_last_byte(self) -> None:
        async def story() -> None:
            response = Response([(10, b"one"), (65, b"two"), (124, b"three")])
            running = attempt(listen(Awaiting.CONTENT, Awaiting.IDLE), response)
            assert await ends(running) == ("stall_idle", 184)

        play(story)

    def test_comments_without_content_keep_a_stream_alive_for_twice_that(self) -> None:
        async def story() -> None:
            response = Response([(10, b"one"), (20, b"two"), *every(30, b": wait", after=20)])
            running = attempt(listen(Awaiting.CONTENT, Awaiting.IDLE), response)
            assert await ends(running) == ("stall_idle", 140)

        play(story)

    def test_content_between_the_comments_starts_it_again(self) -> None:
        async def story() -> None:
            pieces = [(10.0, b"one"), (50, b": wait"), (100, b"two"), (150, b": wait"), (200, b": wait")]
            running = attempt(listen(Awaiting.CONTENT, Awaiting.IDLE), Response(pieces))
            assert await ends(running) == ("stall_idle", 220)

        play(story)

    @pytest.mark.parametrize("paid", [False, True])
    @pytest.mark.parametrize("more", [(), (3.0, 6.5, 10.0)])
    def test_an_answer_that_named_its_finish_is_over_after_a_silence(self, paid: bool, more: tuple[float, ...]) -> None:
        async def story() -> None:
            response = Response([(10, b"last"), *((10 + later, b"more") for later in more)])
            running = attempt(listen(Awaiting.CONTENT, Awaiting.FINISH), response, paid=paid)
            assert await ends(running) == ("stall_finish", 10 + max(more, default=0) + GRACE_AFTER_FINISH)

        play(story)

    @pytest.mark.parametrize("paid", [False, True])
    def test_comments_after_the_finish_keep_it_open_but_not_for_ever(self, paid: bool) -> None:
        async def story() -> None:
            response = Response([(10, b"last"), *every(1.9, b": still here", after=10)])
            running = attempt(listen(Awaiting.CONTENT, Awaiting.FINISH), response, paid=paid)
            assert await ends(running) == ("stall_finish", 70)

        play(story)

    def test_silence_since_the_head_for_what_is_paid_by_the_piece_has_no_bound_but_the_deadline(self) -> None:
        """Giving up on an image that is being painted would mean buying it twice."""

        async def story() -> None:
            pool = Pool([Response([(500, b"one"), (1500, b"two")])], head_after=200)
            script = listen(Awaiting.CONTENT, Awaiting.IDLE)
            assert await ends(attempt(script, pool=pool, paid=True, deadline=1800)) == ("deadline", 1800)

        play(story)

    def test_a_host_with_a_wall_gives_up_after_so_much_silence(self) -> None:
        async def story() -> None:
            pool = Pool([], head_after=NEVER)
            assert await ends(attempt(listen(Awaiting.CONTENT), pool=pool, paid=True, wall=120)) == ("stall_head", 120)
            began = now()
            response = Response([(began + 100, b": wait"), (began + 200, b"one")])
            running = attempt(listen(Awaiting.CONTENT, Awaiting.IDLE), response, paid=True, wall=120)
            assert await ends(running) == ("stall_idle", began + 320)

        play(story)

    @pytest.mark.parametrize(("wall", "ended"), [(None, ("ok", 500)), (120, ("stall_head", 120))], ids=str)
    def test_an_answer_that_comes_whole_is_bound_by_the_wall_only(
        self, wall: float | None, ended: tuple[str, float]
    ) -> None:
        async def story() -> None:
            pool = Pool([Response([(500, b"all of it"), (500, b"")])], head_after=200)
            running = attempt(whole(folding), pool=pool, wall=wall)
            assert await ends(running) == ended

        play(story)

    def test_an_answer_that_comes_whole_is_bound_by_the_deadline(self) -> None:
        async def story() -> None:
            pool = Pool([], head_after=NEVER)
            assert await ends(attempt(whole(listen(Awaiting.CONTENT)), pool=pool, deadline=600)) == ("deadline", 600)

        play(story)

    @pytest.mark.parametrize(("wall", "ended"), [(12, 12), (45, 30)])
    def test_whichever_comes_first_counts(self, wall: float, ended: float) -> None:
        async def story() -> None:
            pool = Pool([], head_after=NEVER)
            assert await ends(attempt(listen(Awaiting.CONTENT), pool=pool, wall=wall)) == ("stall_head", ended)

        play(story)

    def test_the_words_for_the_log_name_the_silence(self) -> None:
        async def story() -> None:
            outcome = await attempt(listen(Awaiting.CONTENT, Awaiting.IDLE), Response([(10, b"one")])).run()
            assert outcome.detail == "nothing for 60 s while waiting for idle"

        play(story)


class TestTheDeadline:
    @pytest.mark.parametrize("pool", [Pool([], head_after=NEVER), None], ids=["head", "body"])
    def test_it_binds_every_wait_for_the_upstream(self, pool: Pool | None) -> None:
        async def story() -> None:
            response = Response(every(1, b"word"))
            running = attempt(listen(Awaiting.CONTENT, Awaiting.IDLE), response, pool=pool, deadline=20.5)
            assert await ends(running) == ("deadline", 20.5)
            assert running.phase is Phase.UNKNOWN

        play(story)

    def test_it_binds_a_client_that_does_not_take_its_bytes(self) -> None:
        async def story() -> None:
            talk, response = Talk(emitting), Response([(1, b"word")])
            running = attempt(emitting, response, talk=talk, sink=Sink(seconds=NEVER), deadline=20)
            assert await ends(running) == ("deadline", 20)
            assert response.closed_at == 20
            assert talk.closed

        play(story)

    def test_one_that_takes_them_in_time_is_left_alone(self) -> None:
        async def story() -> None:
            response = Response([(1, b"word"), (2, b"word")], end=2)
            assert await ends(attempt(emitting, response, sink=Sink(seconds=9), deadline=20)) == ("ok", 19)

        play(story)


class TestSlowClients:
    """While the client makes us wait, we do not listen to the upstream: that is not its silence."""

    @pytest.mark.parametrize(
        ("silence", "came"), [(59, ("ok", 270)), (61, ("stall_idle", 270))], ids=["within", "beyond"]
    )
    def test_the_time_they_took_is_not_upstream_silence(
        self,
        silence: float,
        came: tuple[str, float],
    ) -> None:
        async def story() -> None:
            at = 210 + silence
            running = attempt(emitting, Response([(10, b"one"), (at, b"")], end=at), sink=Sink(seconds=200))
            slug, when = await ends(running)
            assert slug == came[0]
            assert when == min(at, came[1])

        play(story)

    def test_nor_is_it_lack_of_progress(self) -> None:
        """A comment, passed on to a client that blocks for longer than content may lag."""

        async def story() -> None:
            def script(talk: Talk) -> Conversing:
                yield SEND
                yield from talk.hear(Awaiting.CONTENT)
                yield from talk.hear(Awaiting.IDLE)
                yield Emit(b": a", meaningful=False)
                while (outcome := (yield from talk.hear(Awaiting.IDLE))).ok:
                    pass
                return outcome

            response = Response([(10, b"one"), (15, b": a"), (250, b": b"), (300, b": c")])
            assert await ends(attempt(script, response, sink=Sink(seconds=200))) == ("stall_idle", 330)

        play(story)

    def test_what_goes_out_at_once_needs_no_wait(self) -> None:
        async def story() -> None:
            sink = Sink(seconds=NEVER, quick=True)
            response = Response([(1, b"one"), (1, b"two")], end=1)
            assert await ends(attempt(emitting, response, sink=sink, deadline=20)) == ("ok", 1)
            assert sink.got == [(b"one", True), (b"two", True)]

        play(story)

    def test_waiting_for_the_upstream_is_told_apart_from_waiting_for_the_client(self) -> None:
        async def story() -> None:
            pool = Pool([Response([(13, b"one"), (100, b"two")], end=100)], dialled_after=2, head_after=3)
            running = attempt(emitting, pool=pool, sink=Sink(seconds=50))
            assert await ends(running) == ("ok", 150)
            assert running.waited == 2 + 3 + 8 + 37

        play(story)

"""What an attempt sends, and what it leaves behind however it ends."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Outcome, Phase
from gateway.exchange.attempt import LINGER, Attempt
from gateway.translate.commands import RECEIVE, Awaiting, Conversing, Send, Sleep
from gateway.wire.answer_head import Head
from tests.exchange.scripted import (
    NEVER,
    OK,
    SEND,
    Pool,
    Response,
    Sink,
    Talk,
    attempt,
    emitting,
    ends,
    now,
    play,
    waits,
)


class TestWhatIsLeftBehind:
    @pytest.mark.parametrize("end", [10, NEVER], ids=["complete", "under way"])
    def test_a_good_answer_lets_its_connection_go_at_once_with_time_to_end(self, end: float) -> None:
        """The client has its answer already; the connection is kept if the end comes soon."""

        async def story() -> None:
            def script(talk: Talk) -> Conversing:
                yield SEND
                yield from talk.hear(Awaiting.CONTENT)
                return OK

            response = Response([(10, b"done")], end=end)
            assert await ends(attempt(script, response)) == ("ok", 10)
            assert (response.closed_at, response.lingers) == (10, LINGER)

        play(story)

    @pytest.mark.parametrize("how", ["failure", "crash", "leaving"])
    def test_any_other_end_closes_the_connection_at_once(self, how: str) -> None:
        async def story() -> None:
            waiting = waits()

            def script(talk: Talk) -> Conversing:
                yield SEND
                if how == "leaving":
                    asyncio.get_running_loop().call_later(3, waiting.interrupt, Leaving())
                yield from talk.hear(Awaiting.CONTENT)
                if how == "crash":
                    raise ZeroDivisionError
                return Outcome("bad_json", Phase.UNKNOWN)

            talk = Talk(script)
            response = Response([(1 if how != "leaving" else 20, b"word")])
            running = attempt(script, response, talk=talk, waits=waiting)
            if how == "failure":
                assert not (await running.run()).ok
            else:
                with pytest.raises(ZeroDivisionError if how == "crash" else Leaving):
                    await running.run()
            assert response.closed_at == now() == (3 if how == "leaving" else 1)
            assert (talk.closed, response.lingers) == (True, 0)
            assert running.sent

        play(story)

    def test_its_timer_does_not_outlive_it(self) -> None:
        """Nor keep it: a minute's worth of attempts would be waiting to be forgotten."""

        async def story() -> None:
            waiting = waits()
            running = attempt(emitting, Response([(1, b"word")], end=1), waits=waiting)
            await running.run()
            trace = weakref.ref(running)
            gc.disable()
            try:
                del running
                assert trace() is None
            finally:
                gc.enable()
            with waiting:
                await asyncio.sleep(10_000)

        play(story)

    def test_the_account_may_keep_it_without_keeping_the_exchange(self) -> None:
        """The sink, which refers to the account, is let go of; otherwise only the collector would free a request."""

        async def story() -> None:
            class Exchange(Sink):
                kept: Attempt

            sink = Exchange()
            sink.kept = attempt(emitting, Response([(1, b"word")], end=1), sink=sink)
            await sink.kept.run()
            trace = weakref.ref(sink)
            gc.disable()
            try:
                del sink
                assert trace() is None
            finally:
                gc.enable()

        play(story)


class Leaving(Exception):
    """A reason to stop that is no stall."""


class TestSending:
    def test_what_the_upstream_is_sent(self) -> None:
        async def story() -> None:
            def script(talk: Talk) -> Conversing:
                head = yield Send("POST", "/v1/x", b"12345", ((b"x-more", b"1"),))
                assert isinstance(head, Head)
                assert (head.status, head.get(b"server")) == (200, b"theirs")
                yield from talk.hear(Awaiting.CONTENT)
                return OK

            pool = Pool([Response([(0, b"word")], end=0, headers=((b"server", b"theirs"),))])
            running = attempt(script, pool=pool)
            assert (await running.run()).ok
            [asked] = pool.asked
            assert (asked["method"], asked["path"], asked["body"]) == ("POST", "/v1/x", b"12345")
            assert asked["headers"][b"authorization"] == b"Bearer the-key-itself"
            assert asked["headers"][b"accept-encoding"] == b"identity"
            assert asked["headers"][b"x-more"] == b"1"
            assert (asked["connect_timeout"], asked["fresh"]) == (5, True)
            assert (running.bytes_out, running.sent) == (5, True)

        play(story)

    def test_a_second_request_lets_go_of_the_first_answer_and_gets_its_own_time(self) -> None:
        async def story() -> None:
            def script(talk: Talk) -> Conversing:
                yield SEND
                yield Sleep(100)
                yield SEND
                return (yield from talk.hear(Awaiting.CONTENT))

            first, second = Response(), Response([(155, b"word")], end=155)
            running = attempt(script, first, second)
            assert await ends(running) == ("ok", 155)
            assert (first.closed_at, second.closed_at) == (100, 155)
            assert running.bytes_out == 4

        play(story)

    @pytest.mark.parametrize("phase", [Phase.UNSENT, Phase.UNKNOWN])
    def test_a_connection_that_fails_is_an_outcome(self, phase: Phase) -> None:
        async def story() -> None:
            running = attempt(emitting, TransportError("connection_reset", phase, "gone"))
            outcome = await running.run()
            assert outcome == Outcome("connection_reset", phase, detail="gone")

        play(story)

    def test_a_conversation_may_answer_a_failure_itself(self) -> None:
        async def story() -> None:
            def script(talk: Talk) -> Conversing:
                yield SEND
                try:
                    yield RECEIVE[Awaiting.CONTENT]
                except TransportError as error:
                    return Outcome("sse_cut_early", Phase.ANSWERED, detail=error.slug)
                return OK

            broken = TransportError("bad_http", Phase.ANSWERED, "")
            outcome = await attempt(script, Response(end=3, breaks=broken)).run()
            assert (outcome.slug, outcome.detail) == ("sse_cut_early", "bad_http")

        play(story)

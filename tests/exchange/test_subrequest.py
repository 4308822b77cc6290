"""One walk along a route, in virtual time: where it goes next, when it stops, and what it does for its conversation."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Credential, Outcome, Phase, Target, Upstream
from gateway.exchange.subrequest import READ_ON_BYTES, ClientGone, DrainOver
from gateway.translate.commands import Conversing, Emit, Fetch, Keep
from tests.exchange.scripted import (
    NEVER,
    OK,
    SEND,
    Response,
    Talk,
    answered,
    emitting,
    fails,
    folding,
    in_turn,
    now,
    play,
)
from tests.exchange.stage import CHAT, CHAT_ELSEWHERE, HOST, LOST, REFUSED, Mistake, Stage, paid
from tests.exchange.walk import HeldFor, Walk


class TestWhereItGoes:
    def test_until_an_upstream_serves_it(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(REFUSED, answered()), emitting)
            assert await walk.runs() is None
            assert walk.stage.asked == ["api.piapi.ai", "proxy.piapi.ai"]
            assert walk.outcomes == [("connect_refused", Phase.UNSENT), ("ok", Phase.FORWARDED)]
            assert walk.subrequest.conversation is cast("Any", walk.part.talks[1])

        play(story)

    def test_until_nothing_is_left_to_try(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(REFUSED, REFUSED, REFUSED), emitting)
            error = await walk.runs()
            assert error is not None
            assert error.status == 502
            assert len(walk.part.talks) == 3

        play(story)

    def test_only_where_its_conversation_can_be_had(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(answered(), targets=[paid("images"), CHAT_ELSEWHERE]), emitting)
            walk.part.supports = frozenset({"chat"})
            assert await walk.runs() is None
            assert walk.stage.asked == ["api.openai.com"]

        play(story)

    def test_nowhere_once_its_job_may_be_another_gateways(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(REFUSED, answered(), targets=[paid()]), emitting, job=HeldFor(1))
            error = await walk.runs()
            assert error is not None
            assert (error.status, error.code, error.should_retry) == (504, "upstream_outcome_unknown", False)
            assert walk.stage.asked == ["api.piapi.ai"]
            assert walk.outcomes == [("connect_refused", Phase.UNSENT)]

        play(story)

    def test_not_where_the_budgets_cannot_pay_it(self) -> None:
        async def story() -> None:
            asked: list[tuple[int, str]] = []

            def may_cost(number: int, target: Target) -> bool:
                asked.append((number, target.upstream.name))
                return target is not CHAT

            walk = Walk(Stage(answered()), emitting, may_cost=may_cost)
            assert await walk.runs() is None
            assert walk.stage.asked == ["api.openai.com"]
            assert asked[-1] == (0, "backup")
            assert walk.outcomes == [("ok", Phase.FORWARDED)]

        play(story)

    def test_again_once_the_pause_of_its_only_key_is_over(self) -> None:
        async def story() -> None:
            limited = fails("rate_limited", status=429, retry_after=2.0)
            walk = Walk(Stage(answered(at=0), answered(at=0), targets=[CHAT]), in_turn(limited, emitting))
            assert await walk.runs() is None
            assert 2 <= now() < 3
            assert len(walk.stage.asked) == 2

        play(story)

    def test_nowhere_for_a_client_that_has_left(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(answered()), emitting)
            walk.stage.client.leave()
            with pytest.raises(ClientGone):
                await walk.runs()
            assert walk.stage.asked == []

        play(story)

    def test_nowhere_else_once_its_client_has_left(self) -> None:
        async def story() -> None:
            stage = Stage(answered())

            def leaving(talk: Talk) -> Conversing:
                yield SEND
                stage.client.leave()
                return Outcome("upstream_5xx", Phase.REJECTED, 500)

            with pytest.raises(ClientGone):
                await Walk(stage, leaving).runs()
            assert len(stage.asked) == 1

        play(story)


class TestItsKey:
    """The upstream has one key, which may do one thing at a time."""

    LIMITED = Upstream("piapi", "piapi", (HOST,), (Credential("first", "the-key-itself", 1, 1),))

    def test_is_given_back_after_an_attempt(self) -> None:
        async def story() -> None:
            stage = Stage(answered(at=0), answered(at=0), targets=[Target(self.LIMITED, "gpt-4o", price=CHAT.price)])
            assert await Walk(stage, emitting).runs() is None
            assert await Walk(stage, emitting).runs() is None
            assert now() == 0

        play(story)

    def test_is_given_back_after_a_mistake_of_ours(self) -> None:
        async def story() -> None:
            def broken(talk: Talk) -> Conversing:
                yield SEND
                raise Mistake

            stage = Stage(answered(at=0), answered(at=0), targets=[Target(self.LIMITED, "gpt-4o", price=CHAT.price)])
            walk = Walk(stage, broken)
            with pytest.raises(Mistake):
                await walk.runs()
            assert walk.outcomes == [("internal_error", Phase.UNKNOWN)]
            assert await Walk(stage, emitting).runs() is None

        play(story)


class TestInterrupted:
    @pytest.mark.parametrize("reason", [ClientGone, DrainOver])
    def test_while_it_waits_for_a_key(self, reason: type[Exception]) -> None:
        async def story() -> None:
            limited = fails("rate_limited", status=429, retry_after=3.0)
            walk = Walk(Stage(answered(), targets=[CHAT]), in_turn(limited, emitting))
            running = walk.start()
            await asyncio.sleep(1.5)
            walk.subrequest.interrupt(reason())
            with pytest.raises(reason):
                await running
            assert (now(), len(walk.stage.asked)) == (1.5, 1)

        play(story)

    @pytest.mark.parametrize(
        ("dialling", "ended"), [(NEVER, ("client_gone_early", Phase.UNSENT)), (0, ("client_gone_wait", Phase.UNKNOWN))]
    )
    def test_by_a_client_that_leaves_before_content(self, dialling: float, ended: tuple[str, Phase]) -> None:
        async def story() -> None:
            walk = Walk(Stage(answered(at=100)), emitting)
            walk.stage.pool.dialled_after = dialling
            running = walk.start()
            await asyncio.sleep(3)
            walk.subrequest.interrupt(ClientGone())
            with pytest.raises(ClientGone):
                await running
            assert walk.outcomes == [ended]

        play(story)

    @pytest.mark.parametrize(("stalled", "slug"), [(False, "client_gone_stream"), (True, "client_stalled")])
    def test_by_a_client_that_leaves_a_stream(self, stalled: bool, slug: str) -> None:
        async def story() -> None:
            walk = Walk(Stage(Response([(1, b"one")])), emitting)
            running = walk.start()
            await asyncio.sleep(3)
            assert walk.subrequest.committed
            walk.stage.client.leave(stalled=stalled)
            walk.subrequest.interrupt(ClientGone())
            with pytest.raises(ClientGone):
                await running
            assert walk.outcomes == [(slug, Phase.FORWARDED)]

        play(story)

    @pytest.mark.parametrize(("begins", "phase"), [(1, Phase.FORWARDED), (100, Phase.UNKNOWN)])
    def test_by_the_end_of_draining(self, begins: float, phase: Phase) -> None:
        async def story() -> None:
            walk = Walk(Stage(Response([(begins, b"one")])), emitting)
            running = walk.start()
            await asyncio.sleep(3)
            walk.subrequest.interrupt(DrainOver())
            with pytest.raises(DrainOver):
                await running
            assert walk.outcomes == [("drain_cut", phase)]

        play(story)

    def test_beside_others_it_tells_how_it_ended_instead_of_raising(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(answered(at=100)), emitting)
            running = asyncio.get_running_loop().create_task(walk.subrequest.ended())
            await asyncio.sleep(3)
            walk.subrequest.interrupt(ClientGone())
            assert isinstance(await running, ClientGone)
            walk.stage.client.release()

        play(story)


class TestAStreamThatHasBegun:
    def test_is_not_begun_again_when_it_breaks(self) -> None:
        async def story() -> None:
            broken = Response([(1, b"one")], end=2, breaks=TransportError("connection_reset", Phase.UNKNOWN, "reset"))
            walk = Walk(Stage(broken, answered()), emitting)
            error = await walk.runs()
            assert error is not None
            assert walk.outcomes == [("connection_reset", Phase.FORWARDED)]
            assert len(walk.stage.asked) == 1

        play(story)

    def test_that_takes_too_long_is_called_so(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(Response([(n, b"word") for n in range(1, 100)])), emitting, deadline=50.5)
            await walk.runs()
            assert (now(), walk.outcomes) == (50.5, [("stream_too_long", Phase.FORWARDED)])

        play(story)

    def test_makes_the_upstream_known_to_work_before_its_end(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(Response([(4, b"one")], end=100)), emitting)
            running = walk.start()
            await asyncio.sleep(3)
            assert not walk.subrequest.committed
            await asyncio.sleep(2)
            assert walk.subrequest.committed
            await running
            walk.account.settle(200)
            assert walk.stage.figure("gateway_time_to_first_token_seconds_sum") == 4

        play(story)

    def test_is_read_on_for_a_mebibyte_after_its_client_left(self) -> None:
        async def story() -> None:
            half = b"x" * (READ_ON_BYTES // 2)
            response = Response([(1, b"one"), (3, half), (4, half), (5, b"!"), (6, b"more")])
            walk = Walk(Stage(response), emitting)
            running = walk.start()
            await asyncio.sleep(2)
            walk.stage.client.leave()
            with pytest.raises(ClientGone):
                await running
            assert (now(), walk.stage.client.body) == (5, b"one")

        play(story)

    def test_of_what_is_paid_by_the_piece_is_read_to_its_end(self) -> None:
        async def story() -> None:
            response = Response([(1, b"one"), (3, b"x" * 2 * READ_ON_BYTES), (4, b"more")], end=4)
            walk = Walk(Stage(response, targets=[paid()]), emitting)
            running = walk.start()
            await asyncio.sleep(2)
            assert walk.subrequest.bought
            walk.stage.client.leave()
            assert await running is None
            assert walk.outcomes == [("ok", Phase.FORWARDED)]

        play(story)


class TestImages:
    def test_are_fetched_and_kept_for_the_conversation(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[paid()])
            stage.links["https://img/1.png"] = b"png"
            got: list[object] = []

            def script(talk: Talk) -> Conversing:
                yield SEND
                got.append((yield Fetch("https://img/1.png")))
                got.append((yield Keep(b"png")))
                return OK

            assert await Walk(stage, script).runs() is None
            assert got == [b"png", "http://127.0.0.1/images/1"]

        play(story)


class TestWhatTheClientIsSent:
    def test_comments_commit_to_nothing(self) -> None:
        async def story() -> None:
            def commenting(talk: Talk) -> Conversing:
                yield SEND
                yield Emit(b": 10 %\n\n", meaningful=False)
                return Outcome("upstream_5xx", Phase.REJECTED, 500)

            walk = Walk(Stage(answered(), answered()), in_turn(commenting, emitting))
            assert await walk.runs() is None
            assert walk.stage.client.body == b": 10 %\n\nhello"

        play(story)

    def test_nothing_goes_out_at_once_before_the_first_content(self) -> None:
        """The first bytes bring the head with them, which may have to be waited for."""

        async def story() -> None:
            walk = Walk(Stage(Response([(1, b"one"), (1, b"two")], end=1)), emitting)
            assert not walk.subrequest.emit_now(b"early")
            assert await walk.runs() is None
            assert walk.stage.client.body == b"onetwo"

        play(story)


def test_it_lets_go_of_the_exchange_when_it_is_retired() -> None:
    async def story() -> None:
        walk = Walk(Stage(answered()), folding, stream=False)
        await walk.runs()
        walk.subrequest.retire()
        assert not hasattr(walk.subrequest, "_context")

    play(story)


def test_an_unknown_outcome_of_what_is_paid_stops_the_walk() -> None:
    async def story() -> None:
        walk = Walk(Stage(LOST, answered(), targets=[paid(cents=50)]), folding)
        walk.part.bound = 50 * 10_000_000
        error = await walk.runs()
        assert error is not None
        assert error.code == "upstream_outcome_unknown"
        assert len(walk.stage.asked) == 1

    play(story)

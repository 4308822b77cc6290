"""How a request ends, in virtual time: its client leaves, the gateway drains, we err; settled once each time."""

from __future__ import annotations

import asyncio
import gc

import pytest

from gateway.core.types import Outcome, Phase, VirtualKey
from gateway.exchange.attempt import Attempt
from gateway.exchange.exchange import READ_ON_AT_ONCE, READ_ON_SECONDS, Exchange
from gateway.exchange.subrequest import Subrequest
from gateway.translate.commands import Conversing, Record, Respond, Sleep
from tests.exchange.scripted import (
    NEVER,
    OK,
    SEND,
    Response,
    Talk,
    answered,
    emitting,
    every,
    folding,
    now,
    play,
    with_usage,
)
from tests.exchange.stage import CENT, CHAT, THOUSAND, WITH_BUDGET, Client, Mistake, Order, Stage, order, paid


class TestTheClientLeaves:
    def test_before_the_intent_is_committed_nothing_is_bought(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.ledger.takes = 2
            serving = stage.start(order(folding))
            await asyncio.sleep(1)
            stage.client.leave()
            await serving
            assert stage.asked == []
            assert (stage.ledger.row.state, stage.ledger.row.status) == ("released", 499)

        play(story)

    def test_while_the_upstream_thinks_it_is_ended_at_once(self) -> None:
        async def story() -> None:
            response = Response([(100, b"hello")], end=100)
            stage = Stage(response)
            serving = stage.start(order(folding))
            await asyncio.sleep(3)
            stage.client.leave()
            await serving
            assert (now(), response.closed_at) == (3, 3)
            assert (stage.ledger.outcomes, stage.ledger.row.status) == (["client_gone_wait"], 499)
            assert stage.client.body == b""

        play(story)

    def test_a_stream_that_has_begun_is_read_on_for_its_usage(self) -> None:
        async def story() -> None:
            stage = Stage(Response([(1, b"one"), (4, b"two")], end=4.5))
            serving = stage.start(order(with_usage(emitting, THOUSAND), stream=True))
            await asyncio.sleep(3)
            stage.client.leave()
            assert stage.services.gate.reading_on == 1
            await serving
            stage.is_empty()
            assert stage.client.body == b"one"
            row = stage.ledger.row
            assert (row.charged, row.confidence, row.status) == (CENT // 10, "measured", 499)

        play(story)

    def test_but_not_for_longer_than_two_seconds(self) -> None:
        async def story() -> None:
            stage = Stage(Response([(1, b"one"), (100, b"two")], end=101))
            serving = stage.start(order(emitting, stream=True))
            await asyncio.sleep(3)
            stage.client.leave()
            await serving
            assert now() == 3 + READ_ON_SECONDS
            stage.is_empty()
            assert stage.ledger.outcomes == ["client_gone_stream"]

        play(story)

    def test_nor_where_many_are_read_on_already(self) -> None:
        async def story() -> None:
            stage = Stage(Response([(1, b"one"), (100, b"two")], end=101))
            serving = stage.start(order(emitting, stream=True))
            await asyncio.sleep(3)
            stage.services.gate.reading_on = READ_ON_AT_ONCE
            stage.client.leave()
            await serving
            assert now() == 3
            assert stage.services.gate.reading_on == READ_ON_AT_ONCE

        play(story)

    @pytest.mark.parametrize("stream", [True, False])
    def test_it_leaves_nothing_for_the_collector(self, stream: bool) -> None:
        """Clients leave by the thousand; what was raised to stop a request must not keep it."""

        async def story() -> None:
            stage = Stage(Response([(1, b"one"), (100, b"two")], end=101))
            serving = stage.start(order(emitting if stream else folding, stream=stream))
            await asyncio.sleep(3)
            stage.client.leave()
            await serving

        def alive() -> set[int]:
            return {id(one) for one in gc.get_objects() if isinstance(one, (Exchange, Subrequest, Attempt))}

        gc.collect()
        gc.disable()
        try:
            before = alive()
            play(story)
            assert alive() <= before
        finally:
            gc.enable()

    def test_what_is_paid_by_the_piece_runs_to_its_end(self) -> None:
        async def story() -> None:
            def image(talk: Talk) -> Conversing:
                outcome = yield from folding(talk)
                talk.images = 1
                return outcome

            stage = Stage(answered(at=60), targets=[paid()])
            serving = stage.start(order(image))
            await asyncio.sleep(3)
            stage.client.leave()
            await serving
            assert now() == 60
            row = stage.ledger.row
            assert (row.charged, row.usage.images, row.status) == (2 * CENT, 1, 499)
            assert stage.client.body == b""

        play(story)

    def test_of_several_pieces_those_that_are_not_bought_yet_are_not_bought_any_more(self) -> None:
        """One account, one task at a time: the second one waits for its turn."""

        async def story() -> None:
            def task(talk: Talk) -> Conversing:
                outcome = yield from folding(talk)
                talk.images = 1
                return outcome

            stage = Stage(answered(at=60), targets=[paid("task")])
            stage.task_limit = 1
            serving = stage.start(order(task, task))
            await asyncio.sleep(3)
            stage.client.leave()
            await serving
            assert len(stage.asked) == 1
            assert (sorted(stage.ledger.outcomes), stage.ledger.row.charged) == (["client_gone_early", "ok"], 2 * CENT)

        play(story)


class TestTheDrainTimeIsOver:
    def test_an_answer_that_has_not_begun_becomes_an_error(self) -> None:
        async def story() -> None:
            stage = Stage(answered(at=100))
            serving = stage.start(order(folding))
            await asyncio.sleep(3)
            stage.shut_down()
            await serving
            assert now() == 3
            assert stage.client.told is not None
            assert (stage.client.status, stage.client.told.code) == (503, "server_shutting_down")
            assert stage.ledger.outcomes == ["drain_cut"]

        play(story)

    def test_a_stream_ends_with_an_error_event(self) -> None:
        async def story() -> None:
            stage = Stage(Response([(1, b"one")]))
            serving = stage.start(order(emitting, stream=True))
            await asyncio.sleep(3)
            stage.shut_down()
            await serving
            assert stage.client.told is not None
            assert (stage.client.status, stage.client.told.code) == (200, "server_shutting_down")
            assert stage.ledger.row.status == 503

        play(story)

    @pytest.mark.parametrize(("after", "again"), [(0.5, True), (3, False)], ids=["unsent", "sent"])
    def test_it_may_be_sent_again_if_nothing_has_left_for_an_upstream(self, after: float, again: bool) -> None:
        """Half a second in the intent is not committed yet, so that nothing has set out."""

        async def story() -> None:
            stage = Stage(answered(at=100), targets=[paid()])
            stage.ledger.takes = 1
            serving = stage.start(order(folding))
            await asyncio.sleep(after)
            stage.shut_down()
            await serving
            assert stage.client.told is not None
            assert stage.client.told.should_retry is again
            assert len(stage.asked) == (0 if again else 1)

        play(story)


class TestItIsSettledExactlyOnce:
    def test_after_a_mistake_of_ours_when_the_answer_is_put_together(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), key=WITH_BUDGET)
            with pytest.raises(Mistake):
                await stage.serve(order(with_usage(folding, THOUSAND), mistake=Mistake(), bound=CENT))
            stage.is_empty()
            row = stage.ledger.row
            assert (row.status, row.charged) == (500, CENT // 10)
            assert stage.reserved() == 0

        play(story)

    def test_after_a_mistake_of_ours_during_an_attempt(self) -> None:
        async def story() -> None:
            def broken(talk: Talk) -> Conversing:
                yield SEND
                raise Mistake

            stage = Stage(answered(), answered(at=9))
            with pytest.raises(Mistake):
                await stage.serve(order(broken))
            stage.is_empty()
            assert (stage.ledger.row.status, stage.ledger.outcomes) == (500, ["internal_error"])
            assert (await stage.serve(order(folding), Client())).status == 200  # its key was given back

        play(story)

    @pytest.mark.parametrize("pieces", [1, 2])
    def test_when_it_is_cancelled(self, pieces: int) -> None:
        async def story() -> None:
            stage = Stage(answered(at=50), answered(at=50))
            serving = stage.start(order(*[folding] * pieces))
            await asyncio.sleep(3)
            serving.cancel()
            await asyncio.wait([serving])
            assert serving.cancelled()
            stage.is_empty()
            assert stage.ledger.row.status == 500
            assert stage.ledger.outcomes == ["internal_error"] * pieces

        play(story)

    def test_when_it_is_cancelled_while_its_intent_is_written(self) -> None:
        """The row may have been committed, so it is settled."""

        async def story() -> None:
            stage = Stage(key=WITH_BUDGET)
            stage.ledger.takes = 5
            serving = stage.start(order(folding, bound=CENT))
            await asyncio.sleep(3)
            serving.cancel()
            await asyncio.wait([serving])
            stage.is_empty()
            assert (stage.ledger.row.status, stage.reserved()) == (500, 0)

        play(story)


class TestAnAnswerBeforeTheWorkIsOver:
    """A task: the client has its answer when PiAPI has the task, and the gateway follows it to its end."""

    @staticmethod
    def task(ends: Outcome) -> Order:
        def script(talk: Talk) -> Conversing:
            yield SEND
            talk.task_id = "task-1"
            yield Record("task-1")
            yield Respond(201, b'{"task_id":"task-1"}')
            yield Sleep(30)
            talk.images = int(ends.ok)
            return ends

        return order(script)

    def test_is_the_whole_answer_and_the_end_is_for_the_books(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[paid("task")], key=VirtualKey("alice", parallel=1))
            serving = stage.start(self.task(OK))
            await asyncio.sleep(1)
            assert (stage.client.status, stage.client.body) == (201, b'{"task_id":"task-1"}')
            assert stage.client.headers[b"x-gateway-upstream"] == b"piapi"
            assert [task.task_id for task in stage.ledger.tasks] == ["task-1"]
            assert len(stage.services.gate) == 1
            await serving
            assert (now(), len(stage.client.got)) == (30, 1)
            assert (stage.ledger.outcomes, stage.ledger.row.charged) == (["ok"], 2 * CENT)

        play(story)

    def test_gives_the_keys_place_back_at_once(self) -> None:
        """Two tasks of a key that may run one request at a time are followed at the same time."""

        async def story() -> None:
            stage = Stage(answered(), answered(), targets=[paid("task")], key=VirtualKey("alice", parallel=1))
            first = stage.start(self.task(OK))
            await asyncio.sleep(1)
            second = await stage.serve_beside(self.task(OK))
            assert (now(), second.status) == (31, 201)
            assert first.done()

        play(story)

    def test_stays_even_if_the_task_fails(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[paid("task")])
            client = await stage.serve(self.task(Outcome("task_failed", Phase.REJECTED, 200)))
            assert (now(), client.status, client.told) == (30, 201, None)
            assert len(stage.asked) == 1
            assert (stage.ledger.outcomes, stage.ledger.row.charged) == (["task_failed"], 0)

        play(story)


class TestHowLongARequestMayTake:
    """The first target's upstream says so: a stream of chat has ten minutes, a task its own deadline and no less."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_chat(self, stream: bool) -> None:
        async def story() -> None:
            stage = Stage(Response(every(20, b"word")))
            await stage.serve(order(emitting, stream=stream))
            times = CHAT.upstream.timeouts
            assert now() == (times.stream_total if stream else times.total)
            assert stage.ledger.outcomes[0] in ("deadline", "stream_too_long")

        play(story)

    def test_a_task(self) -> None:
        async def story() -> None:
            def endless(talk: Talk) -> Conversing:
                yield SEND
                talk.task_id = "task-1"
                yield Record("task-1")
                yield Sleep(NEVER)
                return OK

            target = paid("task")
            stage = Stage(answered(), targets=[target])
            await stage.serve(order(endless))
            assert now() == target.upstream.tasks.deadline
            assert stage.ledger.outcomes == ["task_poll"]

        play(story)

    def test_a_task_that_waits_long_for_its_turn(self) -> None:
        """Longer than a chat may take, but less than its own deadline."""

        async def story() -> None:
            def minutes(talk: Talk) -> Conversing:
                yield SEND
                yield Sleep(1000)
                return OK

            target = paid("task")
            assert target.upstream.timeouts.total < 1000
            stage = Stage(answered(), answered(), targets=[target])
            stage.task_limit = 1
            first = stage.start(order(minutes), Client())
            await asyncio.sleep(1)
            assert (await stage.serve_beside(order(minutes))).status == 200
            assert (now(), first.done()) == (2000, True)

        play(story)

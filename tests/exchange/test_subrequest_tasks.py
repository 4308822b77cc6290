"""A subrequest that buys a task, in virtual time: its turn, its deadline, its record, the rests between its polls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.errors import ledger_unavailable
from gateway.core.types import Outcome, Phase
from gateway.exchange.subrequest import SHORTEST_REST, ClientGone
from gateway.translate.commands import Conversing, Record, Respond, Sleep
from tests.exchange.scripted import NEVER, OK, SEND, Script, Talk, answered, emitting, in_turn, now, play
from tests.exchange.stage import CHAT_ELSEWHERE, Stage, paid
from tests.exchange.walk import HeldFor, Walk


def task(*after: Any, ends: Outcome = OK) -> Script:
    """A task is created and recorded; then these commands, then this end."""

    def script(talk: Talk) -> Conversing:
        yield SEND
        talk.task_id = "task-1"
        yield Record("task-1")
        yield from after
        return ends

    return script


TASK = paid("task")


class TestATask:
    def test_waits_until_its_account_may_run_another(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), answered(), targets=[TASK])
            stage.task_limit = 1
            first = Walk(stage, task(Sleep(40))).start()
            await asyncio.sleep(1)
            second = Walk(stage, task(Sleep(40)))
            running = second.start()
            await asyncio.sleep(30)
            assert (len(stage.asked), second.subrequest.bought) == (1, False)
            await asyncio.sleep(10)
            assert (len(stage.asked), second.subrequest.bought) == (2, True)
            assert await first is None
            assert await running is None
            assert now() == 80

        play(story)

    def test_that_gets_no_turn_in_time_was_not_bought(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            stage.task_limit = 1
            first = Walk(stage, task(Sleep(100))).start()
            await asyncio.sleep(1)
            second = Walk(stage, task(), deadline=50)
            error = await second.runs()
            assert error is not None
            assert (now(), second.outcomes) == (50, [("deadline", Phase.UNSENT)])
            await first

        play(story)

    def test_is_not_bought_if_another_gateway_may_have_taken_it_over_while_it_waited(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            stage.task_limit = 1
            first = Walk(stage, task(Sleep(40))).start()
            await asyncio.sleep(1)
            second = Walk(stage, task(), job=HeldFor(1))
            error = await second.runs()
            assert error is not None
            assert error.code == "upstream_outcome_unknown"
            assert (len(stage.asked), now(), second.outcomes) == (1, 40, [("taken_over", Phase.UNSENT)])
            await first

        play(story)

    def test_is_not_bought_for_a_client_that_left_while_it_waited(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            stage.task_limit = 1
            first = Walk(stage, task(Sleep(40))).start()
            await asyncio.sleep(1)
            second = Walk(stage, task())
            running = second.start()
            await asyncio.sleep(1)
            stage.client.gone = True  # without a word to the subrequest: it looks for itself
            with pytest.raises(ClientGone):
                await running
            assert (now(), second.outcomes) == (40, [("client_gone_early", Phase.UNSENT)])
            await first

        play(story)

    def test_has_its_own_deadline_from_its_turn_on(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), answered(), targets=[TASK])
            stage.task_limit = 1
            first = Walk(stage, task(Sleep(40))).start()
            await asyncio.sleep(1)
            second = Walk(stage, task(Sleep(NEVER)))
            await second.runs()
            assert now() == 40 + TASK.upstream.tasks.deadline
            assert second.outcomes == [("task_poll", Phase.UNKNOWN)]
            await first

        play(story)

    def test_that_exists_is_not_bought_again_even_if_its_end_is_unknown(self) -> None:
        async def story() -> None:
            walk = Walk(
                Stage(answered(), answered(), targets=[TASK]), task(ends=Outcome("bad_json", Phase.UNKNOWN, 200))
            )
            error = await walk.runs()
            assert error is not None
            assert (error.code, error.should_retry) == ("upstream_outcome_unknown", False)
            assert len(walk.stage.asked) == 1

        play(story)

    def test_is_not_told_to_a_client_that_has_left(self) -> None:
        async def story() -> None:
            walk = Walk(Stage(answered(), targets=[TASK]), task(Sleep(5), ends=Outcome("bad_json", Phase.UNKNOWN, 200)))
            running = walk.start()
            await asyncio.sleep(1)
            walk.stage.client.leave()
            with pytest.raises(ClientGone):
                await running
            assert walk.outcomes == [("bad_json", Phase.UNKNOWN)]

        play(story)

    def test_that_failed_may_be_bought_elsewhere(self) -> None:
        async def story() -> None:
            elsewhere = paid("images", at=CHAT_ELSEWHERE.upstream)
            stage = Stage(answered(), answered(), targets=[TASK, elsewhere])
            walk = Walk(stage, in_turn(task(ends=Outcome("rate_limited", Phase.REJECTED, 429)), emitting))
            assert await walk.runs() is None
            assert stage.asked == ["api.piapi.ai", "api.openai.com"]

        play(story)

    def test_that_cannot_be_recorded_is_followed_all_the_same(self) -> None:
        """It is bought: to give up would lose the image as well."""

        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            stage.ledger.task_trouble = ledger_unavailable()
            walk = Walk(stage, task(Sleep(5)))
            assert await walk.runs() is None
            [line] = stage.log.of("task_not_recorded")
            assert line["task_id"] == "task-1"

        play(story)

    def test_is_recorded_with_the_key_that_made_it(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            await Walk(stage, task()).runs()
            [record] = stage.ledger.tasks
            assert (record.task_id, record.upstream, record.credential) == ("task-1", "piapi", "first")
            assert (record.exchange, record.key) == ("exchange-1", "alice")

        play(story)

    def test_whose_client_has_its_answer_is_never_bought_again(self) -> None:
        async def story() -> None:
            failing = task(Respond(200, b"{}"), ends=Outcome("upstream_5xx", Phase.REJECTED, 500))
            walk = Walk(Stage(answered(), answered(), targets=[TASK]), failing)
            assert await walk.runs() is None
            assert walk.responded == [(200, b"{}")]
            assert len(walk.stage.asked) == 1

        play(story)


class TestARest:
    def test_ends_early_when_it_is_woken(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            running = Walk(stage, task(Sleep(60, "token"))).start()
            await asyncio.sleep(7)
            assert stage.services.wakeups.give("token")
            await running
            assert now() == 7

        play(story)

    def test_has_a_shortest_length_however_many_wakeups_come(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            running = Walk(stage, task(*[Sleep(60, "token")] * 3)).start()
            for _ in range(30):
                await asyncio.sleep(SHORTEST_REST / 10)
                stage.services.wakeups.give("token")
            await running
            assert now() == pytest.approx(3 * SHORTEST_REST, abs=0.1)

        play(story)

    def test_counts_a_wakeup_that_came_between_two_rests(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            stage.links["https://img"] = b"png"

            def script(talk: Talk) -> Conversing:
                yield from task(Sleep(1, "token"))(talk)
                stage.services.wakeups.give("token")
                yield Sleep(60, "token")
                return OK

            await Walk(stage, script).runs()
            assert now() == pytest.approx(1 + SHORTEST_REST)

        play(story)

    def test_without_a_wakeup_lasts_as_long_as_it_says(self) -> None:
        async def story() -> None:
            await Walk(Stage(answered(), targets=[TASK]), task(Sleep(60))).runs()
            assert now() == 60

        play(story)

    def test_leaves_no_name_behind(self) -> None:
        async def story() -> None:
            stage = Stage(answered(), targets=[TASK])
            running = Walk(stage, task(Sleep(5, "token"))).start()
            await asyncio.sleep(1)
            assert stage.services.wakeups.waits("token")
            await running
            assert not stage.services.wakeups.waits("token")

        play(story)

"""What a conversation may ask of its driver beside sending and receiving, in virtual time."""

from __future__ import annotations

import pytest

from gateway.core.errors import ResultUnavailable
from gateway.core.types import Endpoint, Outcome, Phase
from gateway.exchange.attempt import TO_DELIVER
from gateway.translate.commands import (
    Awaiting,
    Charge,
    Conversing,
    Emit,
    Fetch,
    Keep,
    Record,
    Respond,
    Send,
    Sleep,
    Stalled,
)
from tests.exchange.scripted import OK, Errands, Pool, Response, Sink, Talk, attempt, ends, play

PROXY = Endpoint("https://proxy.piapi.ai", "https", "proxy.piapi.ai", 443)
ASK = Send("GET", "/api/v1/task/1", key_header=b"x-api-key", endpoint=PROXY, within=30, free=True)


class TestErrands:
    def test_are_run_in_the_order_they_are_asked_for(self) -> None:
        got: list[object] = []

        def script(talk: Talk) -> Conversing:
            yield Record("task-1")
            yield Sleep(2.5, "wakeup")
            got.append((yield Fetch("https://img.example/1.png")))
            got.append((yield Keep(b"png")))
            yield Respond(200, b"{}")
            got.append((yield Charge()))
            return OK

        async def story() -> None:
            errands = Errands(fetched=b"bytes")
            assert await ends(attempt(script, errands=errands)) == ("ok", 2.5)
            assert got == [b"bytes", "http://127.0.0.1/images/kept", "0.00125"]
            assert errands.done == [
                ("record", "task-1"),
                ("rest", (2.5, "wakeup")),
                ("fetch", "https://img.example/1.png"),
                ("keep", b"png"),
                ("respond", (200, b"{}")),
                ("charge", None),
            ]

        play(story)

    def test_time_spent_waiting_for_the_upstream_is_not_ours(self) -> None:
        def script(talk: Talk) -> Conversing:
            yield Sleep(3)
            yield Fetch("https://img.example/1.png")
            return OK

        async def story() -> None:
            running = attempt(script, errands=Errands(b"bytes", seconds=2))
            await running.run()
            assert running.waited == 5

        play(story)

    def test_an_image_that_cannot_be_had_is_the_conversations_to_answer(self) -> None:
        def script(talk: Talk) -> Conversing:
            try:
                yield Fetch("https://img.example/1.png")
            except ResultUnavailable:
                return Outcome("ok", Phase.FORWARDED, 200, detail="told by its link")
            raise AssertionError

        async def story() -> None:
            outcome = await attempt(script, errands=Errands(ResultUnavailable("403"))).run()
            assert outcome.detail == "told by its link"

        play(story)

    def test_one_that_does_not_answer_it_has_bought_what_cannot_be_delivered(self) -> None:
        def script(talk: Talk) -> Conversing:
            yield Fetch("https://img.example/1.png")
            return OK

        async def story() -> None:
            outcome = await attempt(script, errands=Errands(ResultUnavailable("status 403"))).run()
            assert (outcome.slug, outcome.phase, outcome.detail) == (
                "asset_unavailable",
                Phase.ANSWERED,
                "status 403",
            )

        play(story)


class TestTheDeadline:
    def test_that_passes_while_an_image_is_fetched_leaves_a_moment_to_tell_the_link(self) -> None:
        """It is paid for. One fetch may find the time over, the others do not even begin."""
        troubles: list[str] = []

        def script(talk: Talk) -> Conversing:
            talk.task_id, talk.images = "task-1", 2
            for _ in range(2):
                try:
                    yield Fetch("https://img.example/1.png")
                except ResultUnavailable as trouble:
                    troubles.append(str(trouble))
                    yield Emit(b"the link")
            return OK

        async def story() -> None:
            sink, errands = Sink(seconds=1), Errands(b"bytes", seconds=100)
            assert await ends(attempt(script, sink=sink, errands=errands, deadline=30)) == ("ok", 32)
            assert sink.got == [(b"the link", True)] * 2
            assert troubles == ["the request's deadline passed before the image was fetched"] * 2
            assert errands.done == []

        play(story)

    def test_is_not_put_off_for_ever_by_that(self) -> None:
        def script(talk: Talk) -> Conversing:
            talk.images = 1
            try:
                yield Fetch("https://img.example/1.png")
            except ResultUnavailable:
                yield Emit(b"the link")
            yield Sleep(100)
            return OK

        async def story() -> None:
            running = attempt(script, sink=Sink(), errands=Errands(b"bytes", seconds=100), deadline=30)
            assert await ends(running) == ("deadline", 30 + TO_DELIVER)

        play(story)

    def test_ends_a_sleep(self) -> None:
        def script(talk: Talk) -> Conversing:
            yield Sleep(100)
            return OK

        async def story() -> None:
            assert await ends(attempt(script, deadline=30)) == ("deadline", 30)

        play(story)

    def test_of_a_task_whose_id_is_known_says_that_it_was_not_done_in_time(self) -> None:
        def script(talk: Talk) -> Conversing:
            yield Record("task-1")
            talk.task_id = "task-1"
            yield Sleep(100)
            return OK

        async def story() -> None:
            assert await ends(attempt(script, deadline=30)) == ("task_poll", 30)

        play(story)


class TestSending:
    def test_a_poll_may_go_to_another_host_with_the_key_in_another_header(self) -> None:
        def script(talk: Talk) -> Conversing:
            yield ASK
            return OK

        async def story() -> None:
            pool = Pool([Response([(0, b"{}")], end=0)])
            running = attempt(script, pool=pool, paid=True)
            assert (await running.run()).ok
            [asked] = pool.asked
            assert (asked["host"], asked["fresh"]) == ("proxy.piapi.ai", False)
            assert asked["headers"][b"x-api-key"] == b"the-key-itself"
            assert b"authorization" not in asked["headers"]
            assert not running.sent  # nothing was bought: what is free to ask leaves no doubt

        play(story)

    def test_a_conversations_own_headers_replace_the_usual_ones(self) -> None:
        def script(talk: Talk) -> Conversing:
            yield Send("POST", "/v1/images/edits", b"--", headers=((b"content-type", b"multipart/form-data"),))
            return OK

        async def story() -> None:
            pool = Pool([Response([(0, b"{}")], end=0)])
            await attempt(script, pool=pool).run()
            headers = pool.asked[0]["headers"]
            assert headers[b"content-type"] == b"multipart/form-data"
            assert headers[b"accept"] == b"text/event-stream"
            assert headers[b"authorization"] == b"Bearer the-key-itself"

        play(story)

    @pytest.mark.parametrize("silent", ["head", "body"])
    def test_a_poll_has_seconds_of_its_own_and_may_be_asked_again(self, silent: str) -> None:
        def script(talk: Talk) -> Conversing:
            try:
                yield ASK
                yield from talk.hear(Awaiting.CONTENT)
            except Stalled:
                pass
            yield ASK
            return OK

        async def story() -> None:
            never = Response()
            pool = Pool([never, Response([(0, b"{}")], end=0)], head_after=40 if silent == "head" else 1)
            running = attempt(script, pool=pool, paid=True, deadline=1000)
            outcome = await running.run()
            if silent == "head":  # every head comes too late, so the second question ends it
                assert outcome.slug == "stall_head"
            else:
                assert outcome.ok
            assert len(pool.asked) == 2

        play(story)


class TestComments:
    def test_an_optional_one_is_left_out_until_something_else_has_gone_out(self) -> None:
        def script(talk: Talk) -> Conversing:
            yield Emit(b": 10 %\n\n", meaningful=False, optional=True)
            yield Emit(b"data: 1\n\n")
            yield Emit(b": 20 %\n\n", meaningful=False, optional=True)
            return OK

        async def story() -> None:
            sink = Sink()
            await attempt(script, sink=sink).run()
            assert sink.got == [(b"data: 1\n\n", True), (b": 20 %\n\n", False)]

        play(story)

"""Mistakes of our own and guests that never leave: whatever happens, nothing is left behind."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from gateway.server.client import Client
from gateway.translate.chat_to_chat import ChatConversation

from .conftest import StartGateway
from .harness import ALICE, Rig, chat_body, eventually
from .moments import nothing_in_flight
from .streams import ASKED, FINISHED, SHORT, is_whole
from .test_slow_clients import SlowReader

ONE_AT_A_TIME = f"keys: [{{name: alice, key: {ALICE}, parallel: 1}}]"


def fail(*_: Any) -> Any:
    raise ZeroDivisionError("a bug")


async def everything_was_given_back(rig: Rig) -> None:
    """The key's only place, the gate, the gauge; and whoever drains now need not wait."""
    await nothing_in_flight(rig)
    answer = await rig.chat()
    assert (answer.status, answer.header("x-gateway-attempts")) == (200, "1")
    await nothing_in_flight(rig)
    assert (await rig.figures()).total("gateway_requests_in_flight") == 0
    rig.gateway.drain()
    assert await rig.gateway.drained(0.0)


class TestBookingThatFails:
    @pytest.mark.parametrize(
        "place", ["gateway.exchange.accounting.settle_charges", "gateway.exchange.accounting.Account._measure"]
    )
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_leaves_nothing_behind(
        self, stream: bool, place: str, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = await gateway(ONE_AT_A_TIME)
        rig.expected_crashes = True
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            answer = await rig.chat(stream=stream)
        if stream:
            assert b"data: [DONE]\n\n" in answer.body  # by then it had all that it asked for
        else:
            assert (answer.status, answer.error()["code"]) == (500, "internal_error")
        row = await rig.row()
        assert (row.state, row.confidence, row.charged, row.outcomes) == ("unknown", "unknown", 0, ["ok"])
        figures = await rig.figures()
        assert figures.total("gateway_requests_total", key="alice", model="gpt-4o") == 1
        assert figures.total("gateway_upstream_attempts_total", outcome="ok") == 1
        await everything_was_given_back(rig)

    async def test_leaves_nothing_behind_when_the_client_has_left(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = await gateway(ONE_AT_A_TIME)
        rig.expected_crashes = True
        rig.sandbox.script("stall_head")
        with monkeypatch.context() as patch:
            patch.setattr("gateway.exchange.accounting.settle_charges", fail)
            async with rig.client() as client:
                await client.ask(chat_body())
                await rig.sandbox.until(lambda: len(rig.sandbox.requests) == 1)
                await client.leave()
                await nothing_in_flight(rig)
        row = await rig.row()
        assert (row.state, row.outcomes, row.status) == ("unknown", ["client_gone_wait"], 499)
        await everything_was_given_back(rig)

    async def test_leaves_nothing_behind_when_nothing_was_tried(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = await gateway(ONE_AT_A_TIME)
        rig.expected_crashes = True
        with monkeypatch.context() as patch:
            patch.setattr("gateway.exchange.accounting.settle_charges", fail)
            patch.setattr(Client, "hold", fail)  # fails after the intent is written
            assert (await rig.chat()).status == 500
        row = await rig.row()
        assert (row.state, row.attempts, row.status) == ("unknown", [], 500)
        await everything_was_given_back(rig)


class TestACrashOfOurs:
    async def test_after_content_is_charged_for_what_was_delivered(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = await gateway(ONE_AT_A_TIME)
        rig.expected_crashes = True
        rig.sandbox.script(f"slow;{SHORT}")
        with monkeypatch.context() as patch:
            patch.setattr(ChatConversation, "_complete", fail)
            answer = await rig.chat(**ASKED)
        assert answer.stream_error()["code"] == "internal_error"
        row = await rig.row()
        assert (row.outcomes, row.state, row.status) == (["internal_error"], "settled", 500)
        assert (row.output_tokens, row.confidence) == (3, "measured")  # the upstream had named its usage by then
        assert row.charged > 0
        assert row.attempts[0]["phase"] == 4
        assert (await rig.figures()).nano("gateway_cost_usd_total", key="alice") == row.charged
        await everything_was_given_back(rig)

    async def test_while_writing_to_the_client_ends_the_request(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = await gateway(ONE_AT_A_TIME)
        rig.expected_crashes = True
        rig.sandbox.script("slow;chunks=20")
        async with rig.client() as client:
            with monkeypatch.context() as patch:
                patch.setattr(Client, "write_now", fail)  # from the second piece on
                await client.ask(chat_body(stream=True))
                answer = await client.head()
                await client.rest(answer)
        assert answer.stream_error()["code"] == "internal_error"
        row = await rig.row()
        assert (row.outcomes, row.confidence) == (["internal_error"], "estimated")
        assert 0 < row.output_tokens < 20
        assert row.charged > 0
        await rig.sandbox.until_idle()
        assert rig.sandbox.requests[0].ending == "client_gone"
        await everything_was_given_back(rig)


class TestGuestsThatNeverLeave:
    async def test_a_reader_who_takes_nothing_is_cut_off_when_the_time_is_up(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The deadline binds the wait for the client as well; and its last words are not waited for long."""
        monkeypatch.setattr("gateway.exchange.exchange.ERROR_TIMEOUT", 0.2)
        rig = await gateway(f"{ONE_AT_A_TIME}\nupstreams: {{piapi: {{timeouts: {{stream_total: 1s}}}}}}")
        rig.sandbox.script("endless;chunk_size=200")
        reader = SlowReader(rig)
        await reader.ask(chat_body(stream=True))
        try:
            row = await rig.row()
            assert row.outcomes == ["stream_too_long"]
            assert row.charged > 0
            await nothing_in_flight(rig)
            [connections] = [server._state.connections for server in rig.gateway._servers[:1]]
            await eventually(lambda: not connections, "the end of the connection")
            with contextlib.suppress(ConnectionResetError):
                taken = await reader.read(1 << 30)  # not to be taken for a whole answer, even if the error fitted in
                assert not taken.endswith(b"0\r\n\r\n") or b"upstream_stream_interrupted" in taken
                assert b"[DONE]" not in taken
        finally:
            reader.close()
        await rig.sandbox.until_idle()
        await everything_was_given_back(rig)

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_an_upstream_that_comments_for_ever_after_the_finish_is_not_listened_to(
        self, stream: bool, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.exchange.timers.GRACE_AFTER_FINISH", 0.3)
        monkeypatch.setattr("gateway.exchange.attempt.LINGER", 0.1)
        rig = await gateway(f"{ONE_AT_A_TIME}\nupstreams: {{piapi: {{timeouts: {{idle: 500ms}}}}}}")
        rig.sandbox.script(f"drip;{SHORT};after_events={FINISHED};interval=20")
        answer = await rig.chat(stream=stream)
        assert answer.status == 200
        if stream:
            assert is_whole(answer)
        else:
            assert answer.json()["choices"][0]["finish_reason"] == "stop"
        row = await rig.row()
        assert (row.outcomes, row.output_tokens, row.confidence) == (["ok"], 3, "estimated")
        await rig.sandbox.until_idle()
        assert rig.sandbox.requests[0].ending == "client_gone"
        await everything_was_given_back(rig)

"""How a request ends when it is we who end it: its time is up, the gateway shuts down, the gateway failed."""

from __future__ import annotations

import pytest

from gateway.translate.chat_stream import ChatStream

from .conftest import StartGateway
from .harness import Rig, chat_body
from .moments import start

TOTAL = "upstreams: {piapi: {timeouts: {total: 400ms, stream_total: 400ms}}}"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_the_time_of_a_request_is_up(stream: bool, gateway: StartGateway) -> None:
    rig = await gateway(TOTAL)
    rig.for_all_roles("stall_head")

    answer = await rig.chat(stream=stream)

    assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")
    assert answer.header("x-should-retry") == "false"
    assert [request.role for request in rig.sandbox.requests] == ["api"]
    figures = await rig.figures()
    assert figures.total("gateway_upstream_attempts_total", outcome="deadline") == 1
    assert figures.total("gateway_failovers_total") == 0
    row = await rig.row()
    assert (row.outcomes, row.charged, row.status) == (["deadline"], 0, 504)
    [(lost, why)] = row.costs
    assert lost > 0
    assert why == "unknown"


async def test_the_last_attempt_gets_only_what_is_left_of_the_time(gateway: StartGateway) -> None:
    """Less than a second is left after the first failure, so no other host is asked."""
    rig = await gateway("upstreams: {piapi: {timeouts: {total: 900ms}}}")
    rig.sandbox.script("status;code=500", role="api")

    answer = await rig.chat()

    assert (answer.status, answer.error()["code"]) == (502, "upstream_error")
    assert [request.role for request in rig.sandbox.requests] == ["api"]


async def test_shutting_down_cuts_a_stream_off_in_an_orderly_way(rig: Rig) -> None:
    rig.sandbox.script("endless;delay=5", role="api")
    async with rig.client() as client:
        await client.ask(chat_body(stream=True))
        answer = await client.head()
        await client.until(b'"content":" ')
        rig.gateway.drain()
        assert not await rig.gateway.drained(0.01)

        late = await rig.chat()
        assert (late.status, late.error()["code"]) == (503, "server_shutting_down")
        assert late.header("x-should-retry") == "true"

        rig.gateway.cut_off()
        await client.rest(answer)
    assert answer.stream_error()["code"] == "server_shutting_down"
    assert await rig.gateway.drained(5)
    row = await rig.row()
    assert (row.outcomes, row.state, row.confidence, row.status) == (["drain_cut"], "settled", "estimated", 503)
    assert row.charged > 0
    assert row.costs == [(row.charged, "billed")]
    assert (await rig.figures()).total("gateway_upstream_attempts_total", outcome="drain_cut") == 1
    await rig.sandbox.until_idle()
    assert rig.sandbox.requests[0].ending == "client_gone"


async def test_shutting_down_before_an_answer_came(rig: Rig) -> None:
    """What was sent may be billed to us, so the client is not invited to have it bought again."""
    rig.sandbox.script("stall_head", role="api")
    asking = start(rig.chat())
    await rig.sandbox.until(lambda: len(rig.sandbox.requests) == 1)
    rig.gateway.drain()
    rig.gateway.cut_off()

    answer = await asking

    assert (answer.status, answer.error()["code"]) == (503, "server_shutting_down")
    assert answer.header("x-should-retry") == "false"
    row = await rig.row()
    assert (row.outcomes, row.charged, row.status) == (["drain_cut"], 0, 503)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_mistake_of_ours(stream: bool, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.expected_crashes = True

    def fail(stream: ChatStream, data: bytes) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(ChatStream, "feed", fail)
        answer = await rig.chat(stream=stream)

    assert (answer.status, answer.error()["code"]) == (500, "internal_error")
    assert answer.header("x-should-retry") == "false"
    assert b"ZeroDivisionError" not in answer.body
    [line] = await rig.log_lines("internal_error")
    assert "ZeroDivisionError" in line["traceback"]
    assert line["request_id"] == answer.header("x-request-id")
    row = await rig.row()
    assert (row.outcomes, row.charged, row.status) == (["internal_error"], 0, 500)
    figures = await rig.figures()
    assert figures.total("gateway_requests_total", status="500") == 1
    assert (await rig.chat(stream=stream)).status == 200


async def test_a_mistake_of_ours_in_the_middle_of_a_stream(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told, and pays for what it received and no more: otherwise a crash would be a free answer."""
    rig.expected_crashes = True
    rig.sandbox.script("slow", role="api")
    async with rig.client() as client:
        await client.ask(chat_body(stream=True))
        answer = await client.head()
        with monkeypatch.context() as patch:
            patch.setattr(ChatStream, "feed", lambda *_: 1 // 0)
            await client.rest(answer)
    assert answer.stream_error()["code"] == "internal_error"
    row = await rig.row()
    assert (row.outcomes, row.status) == (["internal_error"], 500)
    [(lost, why)] = row.costs
    assert 0 < row.charged == lost
    assert why == "unknown"

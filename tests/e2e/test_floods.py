"""Upstreams that send, as fast as they can, what says nothing: their streams are cut, and nobody else waits."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import StartGateway
from .harness import Answer, Rig, get

UNITS = ("blank", "cr", "crlf", "empty", "comment", "id", "retry", "name", "line", "object", "ping", "role", "usage")

NOT_THE_TEST = "limits: {event: 32MiB}"


async def asked_beside_pings(rig: Rig) -> tuple[Answer, int]:
    """Ask for a stream, and for the health until that is over; how often it was answered."""
    answered = 0
    async with asyncio.TaskGroup() as both:
        asking = both.create_task(rig.chat(stream=True))
        while not asking.done():
            assert b"ok" in await get(f"{rig.gateway.main_url}/healthz")
            answered += 1
    return asking.result(), answered


class TestAFlood:
    @pytest.mark.parametrize("unit", UNITS)
    async def test_before_content_makes_another_host_serve_the_request(self, gateway: StartGateway, unit: str) -> None:
        rig = await gateway(NOT_THE_TEST)
        rig.sandbox.script(f"flood;unit={unit}", role="api")

        answer, beside = await asked_beside_pings(rig)

        assert answer.status == 200
        assert answer.payloads[-1] == b"[DONE]"
        [first, second] = (await rig.row()).outcomes
        assert (first, second) in {("sse_flood", "ok"), ("sse_event_too_big", "ok")}
        assert beside > 0

    @pytest.mark.parametrize("unit", ["blank", "empty", "comment", "role", "usage"])
    async def test_after_content_ends_the_stream_with_an_error(self, gateway: StartGateway, unit: str) -> None:
        rig = await gateway(NOT_THE_TEST)
        rig.sandbox.script(f"flood;unit={unit};after_events=4", role="api")

        answer, beside = await asked_beside_pings(rig)

        assert answer.stream_error()["code"] == "upstream_stream_interrupted"
        assert (await rig.row()).outcomes == ["sse_flood"]
        assert beside > 0  # it is over within a few turns of the loop

    async def test_of_choices_in_one_chunk_is_no_chunk(self, gateway: StartGateway) -> None:
        rig = await gateway(NOT_THE_TEST)
        rig.sandbox.script("flood;unit=choices", role="api")

        answer = await rig.chat(stream=True)

        assert answer.payloads[-1] == b"[DONE]"
        assert (await rig.row()).outcomes == ["sse_bad_event", "ok"]

    async def test_in_chunks_of_one_byte_holds_nobody_up(self, gateway: StartGateway) -> None:
        rig = await gateway(NOT_THE_TEST)
        rig.sandbox.script("flood;unit=empty;chunk=1", role="api")

        answer, beside = await asked_beside_pings(rig)

        assert answer.payloads[-1] == b"[DONE]"
        assert (await rig.row()).outcomes == ["sse_flood", "ok"]
        assert beside > 3

    async def test_that_ends_soon_enough_is_none(self, gateway: StartGateway) -> None:
        """Chunks of one byte alone are no fault, nor are some thousand blank lines."""
        rig = await gateway(NOT_THE_TEST)
        rig.sandbox.script("flood;unit=letter;after_events=0;chunk=1;mib=0", role="api")
        rig.sandbox.script("flood;unit=id;after_events=1;mib=0", role="api")

        for _ in range(2):
            assert (await rig.chat(stream=True)).payloads[-1] == b"[DONE]"

"""What is told and kept: never in the way, and never heard by the one who told it."""

from __future__ import annotations

import asyncio

from gateway.shared_state.base import Message
from tests.shared_state.fleets import Fleet


async def test_one_does_not_hear_what_it_tells(engine: Fleet) -> None:
    gateway, heard = await engine.join(), list[Message]()
    gateway.state.listen("cooldowns", heard.append)
    gateway.state.listen("jobs", heard.append)
    gateway.state.keep("cooldowns", "a", {"number": 1}, 5.0)
    gateway.state.tell("jobs", {"number": 2})
    await asyncio.sleep(1.2)
    assert heard == []


async def test_it_is_up_and_has_a_name(engine: Fleet) -> None:
    gateway = await engine.join()
    assert gateway.state.up
    assert gateway.state.name == engine.url

"""Chats that are not long, but hold a hundred thousand small things, each of which is looked at more than once.

Beside each a client pings. That nobody waits is shown by order: every step that looks at all of a request is held until
pings have been answered, which never happens where it is done on the loop.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.json_weight import LONG

from .conftest import StartGateway
from .harness import PATIENCE, Rig, chat_body
from .test_heavy_documents import PINGS, ping

MEMBERS: dict[str, bytes] = {
    "numbers": b'"x":[' + b"7," * 120_000 + b"1]",
    "lists": b'"x":[' + b"[1]," * 50_000 + b"1]",
    "names": b'"x":{' + b",".join(b'"%x":1' % number for number in range(25_000)) + b"}",
    "fields": b",".join(b'"k%x":1' % number for number in range(20_000)),
    "tools": b'"tools":[' + b'{"type":"x"},' * 19_000 + b'{"type":"x"}]',
    "words about thinking": b'"thinking":{' + b",".join(b'"t%x":"1"' % number for number in range(20_000)) + b"}",
    "parts": b'"messages":[{"role":"user","content":[' + b'{"type":"text","text":""},' * 9_000 + b"1]}]",
}

STEPS = [
    "gateway.wire.client_json:too_heavy",
    "gateway.wire.chat_request:unusual_part",
    "gateway.endpoints.chat:ids_to_check",
    "gateway.endpoints.chat_operation:chat_shape",
    "gateway.endpoints.chat_operation:most_beside",
    "gateway.endpoints.chat_operation:most_input",
    "gateway.translate.chat_to_chat:upstream_body",
    "gateway.translate.chat_to_chat:believed",
    "gateway.translate.chat_to_chat:as_asked",
]
"""What looks at all of a request, in the order in which it is done."""


def hold(monkeypatch: pytest.MonkeyPatch, step: str) -> tuple[threading.Event, threading.Event]:
    """Hold the step's first call. Returns what is set once it is held, and what lets it go."""
    held, go = threading.Event(), threading.Event()
    module, _, name = step.partition(":")
    work: Callable[..., Any] = getattr(importlib.import_module(module), name)

    def held_back(*arguments: Any, **named: Any) -> Any:
        if not held.is_set():
            held.set()
            assert go.wait(PATIENCE / 2), "on the loop: pings were not answered"
        return work(*arguments, **named)

    monkeypatch.setattr(f"{module}.{name}", held_back)
    return held, go


def chat_of(members: bytes) -> bytes:
    body = chat_body()[:-1] + b"," + members + b"}"
    assert len(body) < LONG, "short, by its bytes"
    return body


@pytest.mark.parametrize("step", STEPS)
async def test_nobody_waits_while_they_are_looked_at(
    gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rig = await gateway()
    held, go = hold(monkeypatch, step)
    async with asyncio.TaskGroup() as group:
        work = group.create_task(rig.post(chat_of(MEMBERS["numbers"])))
        assert await asyncio.to_thread(held.wait, PATIENCE)
        await ping(rig, PINGS)
        assert not work.done()
        go.set()
    assert work.result().status == 200


@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
async def test_nobody_waits_whatever_there_is_so_many_of(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, members: bytes
) -> None:
    held, go = hold(monkeypatch, "gateway.endpoints.chat_operation:chat_shape")
    async with asyncio.TaskGroup() as group:
        work = group.create_task(rig.post(chat_of(members)))
        assert await asyncio.to_thread(held.wait, PATIENCE)
        await ping(rig, PINGS)
        assert not work.done()
        go.set()
    assert work.result().status in (200, 400), "as the upstream judges it"


async def test_a_usual_chat_waits_for_no_thread(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: Any) -> None:
        raise AssertionError("handed to the thread")

    monkeypatch.setattr("gateway.endpoints.json_body.off_loop", refused)
    monkeypatch.setattr("gateway.endpoints.chat.off_loop", refused)
    text = "some prose, with a comma now and then: as people write it. " * 2_000
    body = chat_body(messages=[{"role": "user", "content": text}])
    assert 100_000 < len(body) < LONG
    assert (await rig.post(body)).status == 200


@pytest.mark.parametrize("ending", ["no_usage", "cut", "cut_early"])
async def test_nobody_waits_while_the_tokens_are_counted_that_no_usage_tells(
    gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    rig = await gateway()
    held, go = hold(monkeypatch, "gateway.endpoints.chat_operation:count_input")
    rig.sandbox.script(ending)
    async with asyncio.TaskGroup() as group:
        work = group.create_task(rig.post(chat_of(MEMBERS["numbers"])))
        assert await asyncio.to_thread(held.wait, PATIENCE)
        await ping(rig, PINGS)
        go.set()
    assert work.result().status == 200


async def test_tokens_are_not_counted_where_the_usage_tells_them(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(*_: Any) -> int:
        raise AssertionError("counted in vain")

    monkeypatch.setattr("gateway.endpoints.chat_operation.count_input", counted)
    assert (await rig.post(chat_of(MEMBERS["numbers"]))).status == 200

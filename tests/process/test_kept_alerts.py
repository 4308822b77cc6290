"""Alerts of budgets across restarts: each is told once, also one that was not told when the process died."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.sandbox import Sandbox

from .running import Gateway, ask, chat, new_client, rows, settings, write

DEAR = {"model": "dear", "max_tokens": 1_000}


class Receiver:
    """A webhook's other end. ``answers``: whether it takes what comes; ``told``: what it took or was offered."""

    def __init__(self) -> None:
        self.answers = True
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.offered: list[str] = []
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Receiver]:
        receiver = cls()
        server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0)
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        async with server:
            yield receiver

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = json.loads(await reader.readexactly(int(fields["content-length"])))
        self.offered.append(fields["webhook-id"])
        if self.answers:
            self.told.append((fields["webhook-id"], body))
        status = b"200 OK" if self.answers else b"503 No"
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    @property
    def causes(self) -> list[tuple[str, Any]]:
        return sorted((body["type"], body["data"].get("percent", body["data"].get("reason"))) for _, body in self.told)

    async def until(self, number: int) -> None:
        async with asyncio.timeout(30):
            while len(self.told) < number:
                await asyncio.sleep(0.02)


def document(sandbox: Sandbox, folder: Path, receiver: Receiver, budget: str) -> dict[str, Any]:
    base = settings(sandbox, folder)
    base["keys"][0]["budget"] = budget
    price = {"input": 0, "output": 1000}  # a cent for ten tokens, of which the sandbox writes some
    target = {"upstream": "piapi", "model": "gpt-4o-mini", "price": price}
    models = {**base["models"], "dear": {"max_output": 1_000, "targets": [target]}}
    return {**base, "models": models, "budget_alerts": {"webhook": receiver.url, "secret": "a-secret-of-the-receiver"}}


async def kill(gateway: Gateway) -> None:
    gateway.signal(signal.SIGKILL)
    assert await gateway.wait() == -signal.SIGKILL


async def refused(gateway: Gateway, reason: str) -> None:
    async with new_client() as client:
        answer = await ask(client, gateway, chat(**DEAR))
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota"), reason


async def test_what_was_told_is_not_told_again(tmp_path: Path, sandbox: Sandbox) -> None:
    async with Receiver.open() as receiver:
        write(tmp_path, document(sandbox, tmp_path, receiver, "1.001/day"))
        async with Gateway.serve(tmp_path) as gateway, new_client() as client:
            while (await ask(client, gateway, chat(**DEAR))).status == 200:
                pass
            await receiver.until(1)
            causes = receiver.causes
            assert ("budget.refused", "used_up") in causes, "the last cents fit nothing"
            await asyncio.sleep(0.2)
            causes = receiver.causes
            await kill(gateway)
        for _ in range(2):
            async with Gateway.serve(tmp_path) as gateway:
                await refused(gateway, "as before")
                await asyncio.sleep(0.5)
                assert receiver.causes == causes
                gateway.signal(signal.SIGTERM)
                assert await gateway.wait() == 0
        assert len({id for id, _ in receiver.told}) == len(receiver.told)


async def test_what_was_not_delivered_when_the_process_died_is_delivered_after(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    async with Receiver.open() as receiver:
        receiver.answers = False
        write(tmp_path, document(sandbox, tmp_path, receiver, "0.50/day"))
        async with Gateway.serve(tmp_path) as gateway:
            await refused(gateway, "nothing was spent: the budget is below one reservation")
            await gateway.event("budget_alert_failed", refused="too_large")
            await kill(gateway)
        [first] = receiver.offered
        async with Gateway.serve(tmp_path) as gateway:
            await gateway.event("budget_alert_failed", id=first)
            gateway.signal(signal.SIGTERM)
            assert await gateway.wait() == 0
            assert gateway.events("budget_alerts_kept")[0]["number"] == 1
        receiver.answers = True
        async with Gateway.serve(tmp_path) as gateway:
            await receiver.until(1)
            await gateway.event("budget_alert_sent", id=first)
            await refused(gateway, "told already")
            await kill(gateway)
        async with Gateway.serve(tmp_path) as gateway:
            await refused(gateway, "told already")
            await asyncio.sleep(0.5)
        assert [id for id, _ in receiver.told] == [first]
        assert set(receiver.offered) == {first}, "its id is the same at every try"
        assert receiver.causes == [("budget.refused", "too_large")]
        assert rows(tmp_path, "SELECT id, state FROM alerts") == [(first, "told")]


async def test_what_was_reached_by_a_process_that_died_before_it_could_say_so_is_told(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    async with Receiver.open() as receiver:
        write(tmp_path, document(sandbox, tmp_path, receiver, "100/day"))
        async with Gateway.serve(tmp_path) as gateway, new_client() as client:
            assert (await ask(client, gateway, chat(**DEAR))).status == 200
            gateway.signal(signal.SIGTERM)
            assert await gateway.wait() == 0
        [spent] = rows(tmp_path, "SELECT charged FROM settlements")
        assert spent
        write(tmp_path, document(sandbox, tmp_path, receiver, f"{spent / 1e9 / 0.9:.6f}/day"))  # lowered meanwhile
        for _ in range(2):
            async with Gateway.serve(tmp_path) as gateway:
                await receiver.until(1)
                await asyncio.sleep(0.3)
                await kill(gateway)
        assert receiver.causes == [("budget.crossed", 80)]

"""SIGTERM: nothing new is taken, what runs may finish for a while, the rest is told, the books are closed, exit 0."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from gateway.sandbox import Sandbox
from gateway.stores.sqlite.queries import verify

from .running import ALICE_KEY, CHAT, Answer, Gateway, Program, ask, chat, new_client, rows, settings, write


class Begun:
    """Counts streams whose first bytes have come, and waits for so many."""

    def __init__(self, wanted: int) -> None:
        self._left = wanted
        self.all = asyncio.Event()

    def listener(self) -> Callable[[], None]:
        """What one stream tells of its bytes."""
        first = True

        def begun() -> None:
            nonlocal first
            if first:
                first = False
                self._left -= 1
                if self._left == 0:
                    self.all.set()

        return begun


def check_books(folder: Path, exchanges: int) -> None:
    """Everything that was begun is settled: nothing open, nothing unknown."""
    books = verify(folder / "gateway.db")
    assert books.problems == []
    assert (books.open, books.unknown) == (0, 0)
    assert books.settled + books.released == exchanges == len(rows(folder, "SELECT id FROM intents"))


def check_cut_off(answer: Answer) -> None:
    """A stream that had begun ends in an error event, and never looks complete."""
    assert answer.status == 200
    assert "[DONE]" not in answer.text
    last = json.loads(answer.events[-1])
    assert last["error"]["code"] == "server_shutting_down"
    assert set(last["error"]) == {"message", "type", "param", "code"}


async def test_running_streams_finish_while_new_requests_are_turned_away(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    write(tmp_path, settings(sandbox, tmp_path, drain="60s"))
    sandbox.set_default("stall_mid;after_events=3;seconds=3")
    begun = Begun(100)
    async with Gateway.serve(tmp_path) as gateway, asyncio.TaskGroup() as group:
        streams = [
            group.create_task(ask(client, gateway, chat(f"{n}", stream=True), begun=begun.listener()))
            for n in range(100)
        ]
        await begun.all.wait()
        gateway.signal(signal.SIGTERM)
        noted = await gateway.event("draining")
        assert noted["in_flight"] > 0
        ready = await client.get(f"{gateway.url}/readyz")
        alive = await client.get(f"{gateway.url}/healthz")
        refused = await ask(client, gateway, chat())
        assert (ready.status_code, alive.status_code) == (503, 200)
        assert "draining" in ready.text
        assert refused.status == 503
        assert (refused.error["type"], refused.error["code"]) == ("service_unavailable_error", "server_shutting_down")
        assert refused.headers["x-should-retry"] == "true"
        assert int(refused.headers["retry-after"]) >= 1
        assert await gateway.wait() == 0
        assert (await gateway.event("stopped"))["cut_off"] == 0
    for stream in streams:
        assert stream.result().events[-1] == "[DONE]"
    check_books(tmp_path, 100)
    assert sandbox.billed == sum(rows(tmp_path, "SELECT upstream_cost FROM settlements"))


async def test_stragglers_are_told_when_the_drain_time_is_over(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    """A hundred streams and whole answers that would never end by themselves, in every stage of their lives."""
    write(tmp_path, settings(sandbox, tmp_path, drain="300ms"))
    sandbox.script("stall_head", model="gpt-4o", times=None)
    sandbox.script("stall_before_content", model="gpt-4.1", times=None)
    sandbox.set_default("stall_mid;after_events=4")
    begun = Begun(100)
    async with Gateway.serve(tmp_path) as gateway, asyncio.TaskGroup() as group:
        content = [
            group.create_task(ask(client, gateway, chat(f"{n}", stream=True), begun=begun.listener()))
            for n in range(100)
        ]
        folded = [group.create_task(ask(client, gateway, chat())) for _ in range(5)]
        silent = [group.create_task(ask(client, gateway, chat(model="gpt-4o", stream=True))) for _ in range(5)]
        role = [group.create_task(ask(client, gateway, chat(model="gpt-4.1", stream=True))) for _ in range(5)]
        await begun.all.wait()
        await sandbox.until(lambda: sandbox.in_flight == 115)
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        assert (await gateway.event("stopped"))["cut_off"] == 115
    for task in content:
        check_cut_off(task.result())
    for task in (*folded, *silent, *role):
        answer = task.result()
        assert answer.status == 503
        assert answer.error["code"] == "server_shutting_down"
        assert answer.headers["x-should-retry"] == "false"  # it was sent upstream, and may have been bought
    check_books(tmp_path, 115)
    charged = rows(tmp_path, "SELECT model, charged > 0, status FROM intents JOIN settlements USING (id)")
    assert set(charged) == {("gpt-4o-mini", 1, 503), ("gpt-4o-mini", 0, 503), ("gpt-4o", 0, 503), ("gpt-4.1", 0, 503)}
    assert sum(paid for _, paid, _ in charged) == 100  # who was given half an answer pays for that half, nobody else
    await sandbox.until(lambda: sandbox.open_connections == 0)


async def test_a_second_signal_ends_the_waiting(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    write(tmp_path, settings(sandbox, tmp_path, drain="1h"))
    sandbox.set_default("stall_mid;after_events=4")
    begun = Begun(1)
    async with Gateway.serve(tmp_path) as gateway, asyncio.TaskGroup() as group:
        stream = group.create_task(ask(client, gateway, chat(stream=True), begun=begun.listener()))
        await begun.all.wait()
        gateway.signal(signal.SIGTERM)
        await gateway.event("draining", seconds=3600.0)
        gateway.signal(signal.SIGINT)
        assert await gateway.wait() == 0
    check_cut_off(stream.result())
    check_books(tmp_path, 1)


@pytest.mark.parametrize("words", [["serve"], ["sandbox", "--listen", "127.0.0.1:0"]], ids=["serve", "sandbox"])
async def test_a_signal_that_comes_as_it_ends_makes_no_bad_end_of_it(tmp_path: Path, words: list[str]) -> None:
    """Supervisors ask twice, and people press Ctrl-C twice. The loop is over long before the process is."""
    write(tmp_path, "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\n")
    for number in (signal.SIGTERM, signal.SIGINT):
        async with Program.run(tmp_path, *words) as program:
            await program.out.first(lambda line: " listens on " in line)
            while program.process.returncode is None:
                program.signal(number)
                await asyncio.sleep(0.004)
            assert program.process.returncode == 0
        assert "Traceback" not in program.err.text


async def test_idle_keep_alive_connections_do_not_hold_the_exit_up(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path, drain="1h"))
    async with Gateway.serve(tmp_path) as gateway, new_client(keep_alive=True) as client:
        assert (await ask(client, gateway, chat())).status == 200  # the connection stays open on both sides
        assert (await client.get(f"{gateway.admin}/metrics")).status_code == 200
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    check_books(tmp_path, 1)


async def test_a_client_that_takes_nothing_cannot_hold_the_exit_up(tmp_path: Path, sandbox: Sandbox) -> None:
    """Its error event will never be read; after the drain time and a few seconds more it is cut."""
    write(tmp_path, settings(sandbox, tmp_path, drain="0s"))
    sandbox.set_default("ok;chunks=20000;chunk_size=200")
    body = json.dumps(chat(stream=True)).encode()
    async with Gateway.serve(tmp_path) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        key = f"authorization: Bearer {ALICE_KEY}"
        head = f"POST {CHAT} HTTP/1.1\r\nhost: {host}\r\n{key}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        writer.transport.abort()
    check_books(tmp_path, 1)

"""SIGKILL at any moment: the books know of everything that was asked upstream, and what they do not know the end of."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from gateway.sandbox import Sandbox

from .running import Gateway, ask, chat, command, new_client, rows, settings, write

CLIENTS = 24
KILLED_AFTER = (1, 10, 25, 40, 60)
"""Answers of a round that are complete when the process is killed; in the last, one of them is the backup's."""


@dataclass
class Load:
    """Clients that ask in all manners until the gateway is gone. Every request has a number of its own."""

    gateway: Gateway
    numbers: Iterator[int]
    wanted: int
    backup_wanted: bool
    complete: list[str] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, client: httpx2.AsyncClient) -> None:
        while True:
            number = next(self.numbers)
            body = chat(f"number {number}", model=("gpt-4o", "gpt-4o-mini")[number % 2], stream=number % 3 == 0)
            if number % 5 == 0:  # PiAPI fails, the backup answers
                body["messages"][0]["content"] += (
                    " [[sandbox: server_error;role=api]] [[sandbox: bad_gateway;role=proxy]]"
                )
            try:
                answer = await ask(client, self.gateway, body, headers={"x-request-id": f"number-{number}"})
            except httpx2.TransportError:
                return
            assert answer.status == 200, answer.text
            assert answer.headers["x-request-id"] == f"number-{number}"
            self.complete.append(f"number-{number}")
            self.backup_wanted = self.backup_wanted and number % 5 != 0
            if len(self.complete) >= self.wanted and not self.backup_wanted:
                self.enough.set()


def settled_by(folder: Path) -> set[str]:
    """The upstreams of what the books have as settled."""
    return set(rows(folder, "SELECT upstream FROM settlements WHERE state = 'settled'"))


async def test_no_request_is_lost_when_the_process_is_killed(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.set_default("slow;delay=3")
    write(tmp_path, settings(sandbox, tmp_path, failover={"retry_budget": 1.0, "breaker": {"failures": 1000}}))
    numbers, complete, left_open = itertools.count(), list[str](), set[str]()
    for wanted in KILLED_AFTER:
        async with Gateway.serve(tmp_path) as gateway, new_client() as client:
            assert left_open <= set(rows(tmp_path, "SELECT id FROM settlements WHERE state = 'unknown'"))
            load = Load(gateway, numbers, wanted, backup_wanted=wanted == KILLED_AFTER[-1])
            asking = asyncio.gather(*(load.run(client) for _ in range(CLIENTS)))
            await load.enough.wait()
            while wanted == KILLED_AFTER[-1] and "backup" not in settled_by(tmp_path):
                await asyncio.sleep(0.01)  # it is booked a moment after its client has it
            gateway.signal(signal.SIGKILL)
            assert await gateway.wait() == -signal.SIGKILL
            await asking
        complete += load.complete
        left_open |= set(rows(tmp_path, "SELECT id FROM intents WHERE id NOT IN (SELECT id FROM settlements)"))
        await sandbox.until_idle()

    open_books = await command(tmp_path, "ledger", "verify")
    assert open_books.code == 0  # rows left open are no inconsistency
    async with Gateway.serve(tmp_path) as gateway:
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    _check_books(tmp_path, sandbox, complete, left_open)
    books = await command(tmp_path, "ledger", "verify")
    assert (books.code, books.err) == (0, "")
    assert books.out.endswith(f"unknown {len(left_open)}, open 0\n")
    assert left_open  # or nothing was tested
    assert settled_by(tmp_path) == {"piapi", "backup"}


def _check_books(folder: Path, sandbox: Sandbox, complete: list[str], left_open: set[str]) -> None:
    """Nothing was bought without a row; what the books call settled is what the upstream billed, row by row."""
    booked = {
        request_id: (identity, state, cost)
        for request_id, identity, state, cost in rows(
            folder, "SELECT request_id, id, state, upstream_cost FROM intents JOIN settlements USING (id)"
        )
    }
    assert set(complete) <= set(booked)
    asked = {f"number-{request.json['messages'][0]['content'].split()[1]}" for request in sandbox.requests}
    assert asked <= set(booked)
    assert {identity for identity, state, _ in booked.values() if state == "unknown"} == left_open
    billed = dict.fromkeys(booked, 0)
    for line in sandbox.bill:
        words = sandbox.requests[line.number].json["messages"][0]["content"].split()
        assert line.amount is not None
        billed[f"number-{words[1]}"] += line.amount
    for request_id, (_, state, cost) in booked.items():
        assert state in ("settled", "released", "unknown")
        if state == "unknown":
            assert cost == 0
        else:
            assert cost == billed[request_id], request_id

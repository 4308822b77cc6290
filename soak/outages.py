"""An engine of a fleet is gone for a while under load: what clients see, what the books say, when it is as before."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from gateway.sandbox import Sandbox
from soak import audit
from soak.clients import http_client
from soak.fleet import Fleet, any_of, fleet
from soak.orders import CHAT
from soak.report import Report, progress

KEYS: tuple[dict[str, Any], ...] = (
    {"name": "free", "key": "gw-soak-free-00112233", "budget": "100000/month"},
    {"name": "limited", "key": "gw-soak-limited-00112233", "rpm": 120},
)
FREE, LIMITED = (key["key"] for key in KEYS)

BEFORE = 5.0
"""Seconds of load before an engine goes, and after it is back."""

RATE = 20.0
"""Requests a second by each key."""

MORE_P99 = 0.05
"""Seconds that a request may take longer, at the 99th percentile, while the shared state does not answer."""

UNDER_WAY = 30
"""Requests that are being answered when PostgreSQL goes."""

BACK_WITHIN = 2.0
"""Seconds from the return of PostgreSQL until requests are served."""


@dataclass
class Asked:
    """One request: when it began and ended, by the monotonic clock, and how it was answered."""

    key: str
    began: float
    ended: float = 0.0
    status: int = 0
    code: str = ""
    retry_after: str | None = None


@dataclass
class Load:
    """Requests at a steady rate to gateways drawn at random. ``asked``: all that were answered or cut off."""

    client: httpx2.AsyncClient
    made: Fleet
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    asked: list[Asked] = field(default_factory=list)
    over: bool = False

    async def run(self, key: str, rate: float = RATE) -> None:
        """Ask until it is over."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as crowd:
            while not self.over:
                crowd.create_task(self.ask(key))
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def ask(self, key: str, words: str = "hello") -> Asked:
        """One chat."""
        url = any_of(self.made.urls, self.chance)
        one = Asked(key, time.monotonic())
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": words}], "max_tokens": 20}
        answer = await self.client.post(f"{url}{CHAT}", json=body, headers={"authorization": f"Bearer {key}"})
        one.ended, one.status = time.monotonic(), answer.status_code
        if answer.status_code != 200:
            one.code = answer.json()["error"]["code"]
            one.retry_after = answer.headers.get("retry-after")
        self.asked.append(one)
        return one

    def between(self, start: float, end: float, key: str) -> list[Asked]:
        """What a key asked in a span of time."""
        return [one for one in self.asked if one.key == key and start <= one.began < end]


def p99(asked: list[Asked]) -> float:
    """Seconds that 99 of a hundred took at most."""
    times = sorted(one.ended - one.began for one in asked)
    return times[int(0.99 * (len(times) - 1))] if times else 0.0


def most_in_a_minute(asked: list[Asked]) -> int:
    """The most that were let through in any 60 seconds."""
    times = sorted(one.began for one in asked if one.status == 200)
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= 60.0:
            first += 1
        most = max(most, last - first + 1)
    return most


async def stall_valkey(folder: Path, seconds: float) -> Report:
    """SIGSTOP the shared state for so long."""
    async with (
        Sandbox(roles=("api", "proxy", "backup"), history=10_000_000) as sandbox,
        http_client() as client,
        fleet(folder, sandbox, KEYS) as made,
    ):
        load = Load(client, made)
        crowd = asyncio.gather(load.run(FREE), load.run(LIMITED, RATE / 4))
        marks = [time.monotonic()]
        for what, duration, act in (
            ("before", BEFORE, made.valkey.pause),
            ("stalled", seconds, made.valkey.resume),
            ("after", BEFORE, lambda: None),
        ):
            progress(f"valkey, {what}: {duration:.0f} s")
            await asyncio.sleep(duration)
            act()
            marks.append(time.monotonic())
        load.over = True
        await crowd
        problems = await _audited(made, sandbox, load)
        progress("")
    before, stalled = (load.between(marks[number], marks[number + 1], FREE) for number in (0, 1))
    failed = [one for one in load.asked if one.key == FREE and one.status != 200]
    problems += [f"a request of a key without limits was answered {one.status} {one.code}" for one in failed]
    wrong = [one for one in load.asked if one.key == LIMITED and one.status not in (200, 429)]
    problems += [f"a request of a key with limits was answered {one.status} {one.code}" for one in wrong]
    most, limit = most_in_a_minute([one for one in load.asked if one.key == LIMITED]), KEYS[1]["rpm"]
    if most > 2 * limit:
        problems.append(f"{most} requests passed in a minute, the limit is {limit}")
    if p99(stalled) > p99(before) + MORE_P99:
        problems.append(f"p99 rose from {p99(before):.3f} s to {p99(stalled):.3f} s")
    figures = {
        "requests": f"{len(load.asked):,}",
        "p99 before, ms": f"{p99(before) * 1000:.0f}",
        "p99 stalled, ms": f"{p99(stalled) * 1000:.0f}",
        "most in a minute": f"{most} of {limit}",
        **_answers(load),
    }
    return Report(f"Valkey stalled for {seconds:.0f} s under a fleet of three", figures, problems)


async def stop_postgres(folder: Path, seconds: float) -> Report:
    """Stop the store for so long, with requests under way."""
    async with (
        Sandbox(roles=("api", "proxy", "backup"), history=10_000_000) as sandbox,
        http_client() as client,
        fleet(folder, sandbox, KEYS) as made,
    ):
        load = Load(client, made)
        crowd = asyncio.gather(load.run(FREE))
        await asyncio.sleep(BEFORE)
        slow = (load.ask(FREE, f"number {number} [[sandbox: stall_head;seconds=2]]") for number in range(UNDER_WAY))
        under_way = asyncio.gather(*slow)
        await sandbox.until(lambda: sandbox.in_flight >= UNDER_WAY)
        progress(f"postgres stopped: {seconds:.0f} s")
        await asyncio.to_thread(made.postgres.stop)
        stopped = time.monotonic()
        await asyncio.sleep(seconds)
        starting = time.monotonic()
        await asyncio.to_thread(made.postgres.start)
        back = time.monotonic()
        await asyncio.sleep(BEFORE)
        load.over = True
        await crowd
        finished = await under_way
        problems = await _audited(made, sandbox, load)
        progress("")
    refused = load.between(stopped + 1.0, starting - 1.0, FREE)
    problems += [
        f"while the store was gone a request was answered {one.status} {one.code}, retry-after {one.retry_after}"
        for one in refused
        if (one.status, one.code) != (503, "ledger_unavailable") or one.retry_after is None
    ]
    problems += [f"a request under way was answered {one.status} {one.code}" for one in finished if one.status != 200]
    served = [one.ended for one in load.asked if one.began > starting and one.status == 200]
    service = min(served, default=back + 99.0) - back
    late = [one for one in load.between(back + BACK_WITHIN, time.monotonic(), FREE) if one.status != 200]
    if service > BACK_WITHIN or late:
        problems.append(f"served again {service:.1f} s after the store's return; refused later than that: {len(late)}")
    figures = {
        "requests": f"{len(load.asked):,}",
        "under way, and served": str(sum(one.status == 200 for one in finished)),
        "refused while it was gone": str(len(refused)),
        "served again after, s": f"{max(0.0, service):.1f}",
        **_answers(load),
    }
    return Report(f"PostgreSQL stopped for {seconds:.0f} s under a fleet of three", figures, problems)


async def _audited(made: Fleet, sandbox: Sandbox, load: Load) -> list[str]:
    """What is wrong with the books afterwards: every line of the bill has a row, and is charged."""
    await sandbox.until_idle()
    problems = []
    if not await made.all_closed():
        problems.append("rows are open though nothing runs")
    await made.stop_all()
    rows = await made.rows()
    sold = sum(line.amount or 0 for line in sandbox.bill)
    charged = sum(row.owed for row in rows)
    if charged != sold:
        problems.append(f"the bill says {sold}, the rows {charged}")
    served = sum(one.status == 200 for one in load.asked)
    settled = sum(row.standing == "settled" for row in rows)
    if settled != served:
        problems.append(f"{served} requests were served, {settled} rows are settled")
    if unknown := audit.held(rows):
        problems.append(f"rows are unknown: {dict(unknown)}")
    code, said = await made.verify()
    if code:
        problems.append(f"ledger verify: {said}")
    return problems


def _answers(load: Load) -> Mapping[str, str]:
    counts = Counter(f"answered {one.status} {one.code}".strip() for one in load.asked)
    return {name: f"{number:,}" for name, number in sorted(counts.items())}

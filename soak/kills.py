"""SIGKILL at random moments under mixed load, again and again on one store: nothing is lost, nothing is doubled.

The sandbox runs here, beside the clients, and outlives every process of the gateway: its bill is the truth. After each
restart what was written since the one before is audited, and the budgets are compared with the rows; at the end
everything is audited once more from the start.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import httpx2

from gateway.sandbox import Sandbox
from soak import audit, books, process
from soak.clients import ask, http_client
from soak.orders import KINDS, MARKER, Orders
from soak.report import Report, progress

CLIENTS = 16
"""How many ask at the same time."""

LONGEST_LIFE = 0.7
"""Seconds after its first answer at which a process is killed at the latest."""

LONGEST_START = 0.8
"""Seconds into its start at which a process is killed at the latest, where it is killed while it starts."""

KILLED_STARTING = 0.1
"""The part of processes that are killed while they start."""

EXPECTED = (200, 400, 429, 502, 504)
"""What clients may be answered: served, refused by a policy or for the budget's sake, or failed upstream."""

PLENTY, LITTLE = "100000/total", "2/total"

KEYS: tuple[dict[str, str], ...] = (
    {"name": "ann", "team": "red", "key": "gw-soak-ann-00112233", "budget": PLENTY},
    {"name": "ben", "team": "red", "key": "gw-soak-ben-00112233", "budget": "100000/month"},
    {"name": "cat", "key": "gw-soak-cat-00112233", "budget": "100000/day"},
    {"name": "dan", "key": "gw-soak-dan-00112233"},
    {"name": "eve", "key": "gw-soak-eve-00112233", "budget": LITTLE},
)
TIGHT, TIGHT_NANO = "eve", 2_000_000_000
"""The key whose budget is used up on the way, and its budget in nano-dollars."""


class Kills:
    """One run. ``counts``: what happened to requests and processes."""

    def __init__(self, folder: Path, sandbox: Sandbox, client: httpx2.AsyncClient, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._folder = folder
        self._sandbox = sandbox
        self._client = client
        self._chance = random.Random(seed)
        self._orders = Orders(random.Random(seed + 1), [key["key"] for key in KEYS], KINDS)
        self._answered = asyncio.Event()
        self._asked: dict[int, tuple[str, str]] = {}
        self._evidence = _Evidence()
        self._new = _Evidence()
        self._place = 0

    async def life(self) -> None:
        """Start a process, let it serve for a moment, kill it.

        The moment begins with its first answer: how long that takes says how busy the machine is.
        """
        async with process.serving(self._folder) as gateway:
            if self._chance.random() < KILLED_STARTING:
                await asyncio.sleep(self._chance.uniform(0, LONGEST_START))
                await gateway.kill()
                self.counts["killed while it started"] += 1
                return
            await gateway.announced()
            await self._check_start(gateway)
            self._answered.clear()
            crowd = asyncio.gather(*(self._keep_asking(gateway.url) for _ in range(CLIENTS)))
            try:
                await self._first_answer()
                await asyncio.sleep(self._chance.uniform(0, LONGEST_LIFE))
                await gateway.kill()
                await crowd
            finally:
                crowd.cancel()
        await self._sandbox.until_idle()
        self._collect()

    async def finish(self) -> audit.Findings:
        """Start once more, stop in good order, and look at everything again."""
        async with process.serving(self._folder) as gateway:
            await gateway.announced()
            await self._check_start(gateway)
            await gateway.stop()
        self._collect()
        rows, _ = books.rows_after(self._folder, 0)
        found = self._evidence.audit(rows)
        self.problems += found.problems
        self.problems += _overspent(rows)
        code, said = await process.verify(self._folder)
        if code:
            self.problems.append(f"ledger verify: {said}")
        return found

    async def _first_answer(self) -> None:
        try:
            async with asyncio.timeout(process.PATIENCE):
                await self._answered.wait()
        except TimeoutError:
            raise process.SoakError("the gateway serves, and answers nothing") from None

    async def _keep_asking(self, url: str) -> None:
        """Ask until the process is gone."""
        for order in self._orders:
            self.counts["requests"] += 1
            if b"bought=1" in order.content:
                self._new.lost.add(order.marker)
            self.counts[f"asked: {order.kind}"] += 1
            try:
                answer = await ask(self._client, url, order)
            except httpx2.TransportError:
                self.counts["cut off by a kill"] += 1
                return
            self._answered.set()
            if answer is None:
                self.counts["left by their client"] += 1
            else:
                self.counts[f"answered {answer.status}"] += 1
                if answer.status not in EXPECTED:
                    self.problems.append(f"{answer.marker} was answered {answer.status}")
                self._new.answers.append(answer)

    async def _check_start(self, gateway: process.Process) -> None:
        """What was written since the last look is right, and the budgets know all of it."""
        before = books.charged(self._folder)
        used = books.used(await books.scrape(self._client, gateway.admin))
        after = books.charged(self._folder)
        for key in KEYS:
            name = key["name"]
            if "budget" in key and not before[name] <= used.get(name, -1) <= after[name]:
                self.problems.append(
                    f"after a restart the budget of {name} says {used.get(name)} is used, its rows {before[name]}"
                )
        rows, self._place = books.rows_after(self._folder, self._place)
        self._collect()  # a task may have been done, and billed, only when this start asked what became of it
        self.problems += self._new.audit(rows).problems
        self._evidence.take(self._new)
        self._new = _Evidence()

    def _collect(self) -> None:
        """What the upstreams were asked and what they billed since the last time."""
        for request in self._sandbox.requests:
            if request.method == "POST":
                marker = MARKER.search(request.body)
                name = marker[0].decode() if marker else f"unmarked-{request.number}"
                self._asked[request.number] = (name, self._sandbox.urls[request.role])
                self._new.reached.add(name)
        self._sandbox.requests.clear()
        for line in self._sandbox.bill:
            name, place = self._asked[line.number]
            late = name in self._evidence.reached
            (self._evidence if late else self._new).lines.append(audit.Line(name, place, line.amount))
        self._sandbox.bill.clear()


class _Evidence:
    """What the ledger is held against."""

    def __init__(self) -> None:
        self.lines: list[audit.Line] = []
        self.answers: list[audit.Answer] = []
        self.reached: set[str] = set()
        self.lost: set[str] = set()

    def take(self, other: _Evidence) -> None:
        self.lines += other.lines
        self.answers += other.answers
        self.reached |= other.reached
        self.lost |= other.lost

    def audit(self, rows: list[audit.Row]) -> audit.Findings:
        return audit.audit(rows, self.lines, self.answers, self.reached, self.lost)


def _overspent(rows: list[audit.Row]) -> list[str]:
    """The tight budget holds through all kills: what was charged, and what unknown rows hold, fits in."""
    spent, held = audit.spent(rows).get(TIGHT, 0), audit.held(rows).get(TIGHT, 0)
    if spent + held <= TIGHT_NANO:
        return []
    return [f"the budget of {TIGHT} is {TIGHT_NANO}, charged {spent}, held {held}"]


async def run(folder: Path, count: int, seed: int) -> Report:
    """Kill ``count`` processes; end early once anything is wrong. Raises SoakError if the run itself fails."""
    began = time.monotonic()
    async with Sandbox(roles=("api", "proxy", "backup"), history=10_000_000) as sandbox, http_client() as client:
        sandbox.set_default("ok;concurrency=50")
        process.write_config(
            folder, {**process.base_config(folder, sandbox, KEYS), "teams": {"red": {"budget": PLENTY}}}
        )
        kills = Kills(folder, sandbox, client, seed)
        done = 0
        while done < count and not kills.problems:
            await kills.life()
            done += 1
            progress(f"kill {done} of {count}, {kills.counts['requests']} requests, seed {seed}")
        found = await kills.finish()
        progress("")
    figures = {
        "kills": str(done),
        **{name: f"{number:,}" for name, number in sorted(kills.counts.items())},
        **{name: f"{number:,}" for name, number in found.counts.items()},
        "seed": str(seed),
        "seconds": f"{time.monotonic() - began:.0f}",
    }
    return Report(f"SIGKILL at {done} random moments", figures, list(dict.fromkeys(kills.problems)))

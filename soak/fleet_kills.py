"""SIGKILL at random moments in a fleet of three under mixed load: the others go on, and nothing is lost or doubled.

As in soak/kills.py the sandbox's bill is the truth. The load never stops: one gateway after the other is killed and
started again, some while they start; what the dead left open is closed by the living. At the end, once every row is
closed, everything is audited.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

import httpx2

from gateway.sandbox import Sandbox
from soak import audit, kills
from soak.clients import ask, http_client
from soak.fleet import Fleet, any_of, fleet
from soak.orders import KINDS, MARKER, Orders
from soak.report import Report, progress

CLIENTS = 16

LONGEST_LIFE = 1.5
"""Seconds between two kills at most."""

_USED = "SELECT charged, reserved FROM budgets WHERE holder = $1"

EXPECTED = (*kills.EXPECTED, 503)
"""A gateway whose engine did not answer in time refuses before anything is bought."""


class FleetKills:
    """One run. ``counts``: what happened to requests and processes."""

    def __init__(self, made: Fleet, sandbox: Sandbox, client: httpx2.AsyncClient, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._fleet = made
        self._sandbox = sandbox
        self._client = client
        self._chance = random.Random(seed)
        self._choosing = random.Random(seed + 2)
        self._orders = Orders(random.Random(seed + 1), [key["key"] for key in kills.KEYS], KINDS)
        self._answers: list[audit.Answer] = []
        self._lost: set[str] = set()
        self._over = False

    async def run(self, count: int) -> int:
        """Kill ``count`` gateways under load. Returns how many were killed: fewer if anything went wrong."""
        crowd = asyncio.gather(*(self._keep_asking() for _ in range(CLIENTS)))
        done = 0
        try:
            while done < count and not self.problems:
                await self._kill_one()
                done += 1
                progress(f"kill {done} of {count}, {self.counts['requests']} requests")
        finally:
            self._over = True
            await crowd
        return done

    async def _kill_one(self) -> None:
        number = self._chance.randrange(3)
        await asyncio.sleep(self._chance.uniform(0, LONGEST_LIFE))
        await self._fleet.kill(number)
        if self._chance.random() < kills.KILLED_STARTING:
            await self._fleet.spawn(number)
            await asyncio.sleep(self._chance.uniform(0, kills.LONGEST_START))
            await self._fleet.kill(number)
            self.counts["killed while it started"] += 1
        await self._fleet.start(number)

    async def _keep_asking(self) -> None:
        for order in self._orders:
            if self._over:
                return
            url = any_of(self._fleet.urls, self._choosing)
            while url is None:
                await asyncio.sleep(0.05)
                url = any_of(self._fleet.urls, self._choosing)
            self.counts["requests"] += 1
            if b"bought=1" in order.content:
                self._lost.add(order.marker)
            try:
                answer = await ask(self._client, url, order)
            except httpx2.TransportError:
                self.counts["cut off by a kill"] += 1
                continue
            if answer is None:
                self.counts["left by their client"] += 1
                continue
            self.counts[f"answered {answer.status}"] += 1
            if answer.status not in EXPECTED:
                self.problems.append(f"{answer.marker} was answered {answer.status}")
            self._answers.append(answer)

    async def finish(self) -> audit.Findings:
        """Wait until every row is closed, stop in good order, and look at everything."""
        await self._sandbox.until_idle()
        if not await self._fleet.all_closed():
            self.problems.append("rows are open though the lease of each gateway that died is long over")
        await self._fleet.stop_all()
        rows = await self._fleet.rows()
        found = audit.audit(rows, self._lines(), self._answers, self._reached(), self._lost)
        self.problems += found.problems
        self.problems += await self._overspent(rows)
        code, said = await self._fleet.verify()
        if code:
            self.problems.append(f"ledger verify: {said}")
        return found

    async def _overspent(self, rows: list[audit.Row]) -> list[str]:
        """The tight budget holds over all gateways: what was charged, and what the database still holds, fits in."""
        async with self._fleet.books() as connection:
            charged, held = await connection.fetchrow(_USED, json.dumps(["key", kills.TIGHT], separators=(",", ":")))
        problems = []
        if (spent := audit.spent(rows).get(kills.TIGHT, 0)) != charged:
            problems.append(f"the budget of {kills.TIGHT} says {charged} is charged, its rows {spent}")
        if charged + held > kills.TIGHT_NANO:
            problems.append(f"the budget of {kills.TIGHT} is {kills.TIGHT_NANO}, charged {charged}, held {held}")
        return problems

    def _names(self) -> dict[int, tuple[str, str]]:
        names = {}
        for request in self._sandbox.requests:
            if request.method == "POST":
                marker = MARKER.search(request.body)
                name = marker[0].decode() if marker else f"unmarked-{request.number}"
                names[request.number] = (name, self._sandbox.urls[request.role])
        return names

    def _reached(self) -> set[str]:
        return {name for name, _ in self._names().values()}

    def _lines(self) -> list[audit.Line]:
        names = self._names()
        return [audit.Line(*names[line.number], line.amount) for line in self._sandbox.bill]


async def run(folder: Path, count: int, seed: int) -> Report:
    """Kill ``count`` gateways of a fleet of three. Raises SoakError if the run itself fails."""
    began = time.monotonic()
    async with Sandbox(roles=("api", "proxy", "backup"), history=10_000_000) as sandbox, http_client() as client:
        sandbox.set_default("ok;concurrency=50")
        async with fleet(folder, sandbox, kills.KEYS, teams={"red": {"budget": kills.PLENTY}}) as made:
            killing = FleetKills(made, sandbox, client, seed)
            done = await killing.run(count)
            found = await killing.finish()
        progress("")
    figures = {
        "kills": str(done),
        **{name: f"{number:,}" for name, number in sorted(killing.counts.items())},
        **{name: f"{number:,}" for name, number in found.counts.items()},
        "seed": str(seed),
        "seconds": f"{time.monotonic() - began:.0f}",
    }
    title = f"SIGKILL at {done} random moments in a fleet of three on PostgreSQL and Valkey"
    return Report(title, figures, list(dict.fromkeys(killing.problems)))

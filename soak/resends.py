"""SIGKILL at random moments under clients that send again what they were not answered: nothing is bought twice.

The clients outlive every process, as an SDK does: cut off, or tired of waiting, they send the same order again with
``x-stainless-retry-count``, to whichever process serves then; some are two at once. One that is told that the outcome
is unknown gives up, or asks once more, which may buy. The sandbox's bill is the judge (resend_audit.py).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

from gateway.runtime.tasks import TrackedTasks
from gateway.sandbox import Sandbox
from soak import books, process
from soak.audit import Line
from soak.clients import http_client
from soak.kills import KILLED_STARTING, LONGEST_LIFE, LONGEST_START
from soak.orders import CHAT, IMAGES, MARKER, TASK, Kind, Order, Orders
from soak.report import Report, progress
from soak.resend_audit import Bought, audit_orders

CLIENTS = 12
"""How many ask at the same time."""

KEYS = tuple({"name": name, "key": f"gw-soak-{name}-00112233", "budget": "100000/total"} for name in ("ann", "ben"))

TIRED = 0.35
"""The part of tries that are given up by their client before they are answered, if that takes longer than it waits."""

SHORTEST_WAIT, LONGEST_WAIT = 0.05, 0.5
"""Seconds that such a client waits."""

TWO_AT_ONCE = 0.15
"""The part of tries that are sent a second time while the first still waits."""

AGAIN_AFTER_UNKNOWN = 0.5
"""The part of clients that order once more what became unknown."""

PATIENCE = 60.0
"""Seconds for one answer, and for one process to serve."""

_SLOW = ("stall_head;seconds=0.1;bought=1", "stall_head;seconds=0.3;bought=1")
_TASKS = ("ok", "ok;ready=0.1", "ok;ready=0.4", "ok;ready=0.9")

PAID: tuple[Kind, ...] = (
    Kind("gpt-4o-image, chat", CHAT, {"model": "gpt-4o-image"}, ("ok", *_SLOW)),
    Kind("gpt-4o-image", IMAGES, {"model": "gpt-4o-image"}, ("ok", *_SLOW)),
    Kind("gpt-image-1", IMAGES, {"model": "gpt-image-1", "quality": "low"}, ("ok", *_SLOW)),
    Kind("Flux", IMAGES, {"model": "flux-schnell", "size": "256x256"}, _TASKS, weight=4),
    Kind("Flux, two pieces", IMAGES, {"model": "flux-dev", "size": "256x256", "n": 2}, _TASKS),
    Kind("task relay", TASK, {"model": "Qubico/flux1-schnell", "task_type": "txt2img"}, _TASKS, weight=3),
)


class Resends:
    """One run. ``counts``: what happened to tries and processes."""

    def __init__(self, folder: Path, sandbox: Sandbox, client: httpx2.AsyncClient, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.orders: list[Bought] = []
        self._folder = folder
        self._sandbox = sandbox
        self._client = client
        self._chance = random.Random(seed)
        self._drawn = Orders(random.Random(seed + 1), [key["key"] for key in KEYS], PAID)
        self._serving: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answered = asyncio.Event()
        self._stopping = False

    async def life(self) -> None:
        """Start a process, let it serve for a moment, kill it."""
        async with process.serving(self._folder) as gateway:
            if self._chance.random() < KILLED_STARTING:
                await asyncio.sleep(self._chance.uniform(0, LONGEST_START))
                await gateway.kill()
                self.counts["killed while it started"] += 1
                return
            await gateway.announced()
            self._answered.clear()
            self._serving.set_result(gateway.url)
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._answered.wait()
                await asyncio.sleep(self._chance.uniform(0, LONGEST_LIFE))
            finally:
                self._serving = asyncio.get_running_loop().create_future()
            await gateway.kill()

    async def crowd(self) -> None:
        """Ask until told to stop, and until all that was asked is answered."""
        await asyncio.gather(*(self._keep_buying() for _ in range(CLIENTS)))

    async def finish(self, crowd: asyncio.Task[None]) -> None:
        """One more process, by which all orders come to their end."""
        self._stopping = True
        async with process.serving(self._folder) as gateway:
            await gateway.announced()
            self._serving.set_result(gateway.url)
            async with asyncio.timeout(2 * PATIENCE):
                await crowd
            await gateway.stop()
        await self._sandbox.until_idle()

    def audit(self) -> Counter[str]:
        """Hold everything against the bill."""
        asked = {}
        for request in self._sandbox.requests:
            if request.method == "POST" and (marker := MARKER.search(request.body)):
                asked[request.number] = (marker[0].decode(), self._sandbox.urls[request.role])
        lines = [Line(*asked[line.number], line.amount) for line in self._sandbox.bill]
        rows, _ = books.rows_after(self._folder, 0)
        found = audit_orders(rows, lines, self.orders)
        self.problems += found.problems
        return found.counts

    async def _keep_buying(self) -> None:
        for order in self._drawn:
            if self._stopping:
                return
            bought = Bought(order.marker, order.kind, int(order.body.get("n", 1)))
            self.orders.append(bought)
            await self._buy(order, bought)

    async def _buy(self, order: Order, bought: Bought) -> None:
        """Send an order, and again, until it is answered."""
        while True:
            answers = await self._try(order, bought)
            for status, code, again, _ in answers:
                self.counts[f"answered {status} {code}".strip()] += 1
                if code == "upstream_outcome_unknown":
                    bought.told_unknown += 1
                    if self._chance.random() < AGAIN_AFTER_UNKNOWN:
                        continue
                elif again or not status:
                    continue
                bought.ended = status
            if len({content for status, *_, content in answers if status == 200}) > 1:
                self.problems.append(f"{order.marker}: two that waited for it got two answers")
            if bought.ended:
                return

    async def _try(self, order: Order, bought: Bought) -> list[tuple[int, str, bool, bytes]]:
        """Status (0 for none), code, whether it may be sent again, and content, of one try, or of two at once."""
        url = await asyncio.shield(self._serving)
        twice = bought.tries > 0 and self._chance.random() < TWO_AT_ONCE
        number = 1 + twice
        tries = range(bought.tries, bought.tries + number)
        bought.tries += number
        return await asyncio.gather(*(self._send(url, order, number) for number in tries))

    async def _send(self, url: str, order: Order, number: int) -> tuple[int, str, bool, bytes]:
        headers = {
            **order.headers,
            "x-request-id": f"{order.marker}-{number}",
            "x-stainless-retry-count": str(number),
        }
        tired = self._chance.random() < TIRED and not self._stopping
        wait = self._chance.uniform(SHORTEST_WAIT, LONGEST_WAIT) if tired else PATIENCE
        try:
            async with asyncio.timeout(wait):
                answer = await self._client.post(f"{url}{order.path}", content=order.content, headers=headers)
        except TimeoutError:
            self.counts["tired of waiting"] += 1
            return 0, "", True, b""
        except httpx2.TransportError:
            self.counts["cut off by a kill"] += 1
            await asyncio.sleep(0.01)
            return 0, "", True, b""
        self._answered.set()
        if answer.status_code == 200:
            return 200, "", False, answer.content
        again = answer.headers.get("x-should-retry") == "true"
        return answer.status_code, _code(answer), again, b""


def _code(answer: httpx2.Response) -> str:
    try:
        document: Any = answer.json()
        return str(document["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "no error of ours"


async def run(folder: Path, count: int, seed: int) -> Report:
    """Kill ``count`` processes; end early once anything is wrong. Raises SoakError if the run itself fails."""
    began = time.monotonic()
    async with Sandbox(roles=("api", "proxy", "backup"), history=10_000_000) as sandbox, http_client() as client:
        document = process.base_config(folder, sandbox, KEYS)
        failover = {**document["failover"], "unknown_outcome_up_to": 0}
        process.write_config(folder, {**document, "failover": failover})
        resends = Resends(folder, sandbox, client, seed)
        done = 0
        tasks = TrackedTasks(lambda _, error: resends.problems.append(f"a client failed: {error!r}"))
        crowd = tasks.spawn(resends.crowd(), "crowd")
        try:
            while done < count and not resends.problems:
                await resends.life()
                done += 1
                progress(f"kill {done} of {count}, {len(resends.orders)} orders, seed {seed}")
            await resends.finish(crowd)
        except TimeoutError:
            raise process.SoakError(
                f"kill {done}: the gateway serves, and answers nothing for {PATIENCE:g} s"
            ) from None
        finally:
            await tasks.cancel_all()
        counts = resends.audit()
        code, said = await process.verify(folder)
        if code:
            resends.problems.append(f"ledger verify: {said}")
        progress("")
    figures = {
        "kills": str(done),
        **{name: f"{number:,}" for name, number in sorted(resends.counts.items())},
        **{name: f"{number:,}" for name, number in counts.items()},
        "seed": str(seed),
        "seconds": f"{time.monotonic() - began:.0f}",
    }
    title = f"SIGKILL at {done} random moments, with clients that send again"
    return Report(title, figures, list(dict.fromkeys(resends.problems)))

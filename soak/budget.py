"""A crowd on small budgets: thousands of parallel requests from several processes, and not a nano-dollar too much.

Half of the crowd orders images at a fixed price with one key whose budget is enough for exactly ten. The other half
chats, each process with a key of its own, on the budget of their team; once the crowd is gone the rest of that budget
is spent one chat at a time, which shows that nothing stayed reserved.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from gateway.sandbox import Sandbox
from soak import audit, books, process
from soak.clients import http_client
from soak.orders import CHAT, IMAGES
from soak.process import SoakError
from soak.report import Report, progress

PROCESSES = 4

IMAGE = 20_000_000
BOUGHT = 10
"""Nano-dollars of an image, and how many the mask_renderer's budget is for."""

TEAM_BUDGET = 500_000
"""Nano-dollars for all chats: enough for some forty, of which some twenty can be reserved at once."""

PAINTER = "gw-soak-mask_renderer-00112233"
CHATTERS = [f"gw-soak-chatter-{number}-00112233" for number in range(PROCESSES)]
KEYS: list[dict[str, str]] = [
    {"name": "mask_renderer", "key": PAINTER, "budget": "0.20/total"},
    *({"name": f"chatter-{number}", "key": key, "team": "crowd"} for number, key in enumerate(CHATTERS)),
]
_PAINT = {"name": "image", "path": IMAGES, "key": PAINTER, "body": {"model": "gpt-4o-image", "prompt": "a lamp"}}
_TALK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "How long is a piece of string, on the whole?"}],
}


async def run(folder: Path, requests: int) -> Report:
    """``requests``: in all, a multiple of eight. Raises SoakError if the run itself fails."""
    began = time.monotonic()
    async with Sandbox(roles=("api", "proxy")) as sandbox, http_client() as client:
        sandbox.set_default("slow;delay=20")
        process.write_config(folder, _config(folder, sandbox))
        async with process.serving(folder) as gateway:
            await gateway.announced()
            progress(f"{requests} requests from {PROCESSES} processes")
            answered = await _rush(gateway.url, requests)
            progress("what is left")
            sandbox.set_default("ok")
            answered += await _spend_the_rest(client, gateway.url)
            used = books.used(await books.scrape(client, gateway.admin))
            await gateway.stop()
        billed = sandbox.billed
        progress("")
    rows, _ = books.rows_after(folder, 0)
    code, said = await process.verify(folder)
    spent = audit.spent(rows)
    chats = sum(charged for key, charged in spent.items() if key != "mask_renderer")
    problems = [*_wrong_answers(answered, requests), *_wrong_sums(rows, spent.get("mask_renderer", 0), chats, billed)]
    if used != {"mask_renderer": spent.get("mask_renderer")}:
        problems.append(f"the metrics say {used} is used of budgets, the rows {dict(spent)}")
    if code:
        problems.append(f"ledger verify: {said}")
    figures = {
        **{f"answered {name}": f"{number:,}" for name, number in sorted(answered.items())},
        "images: budget, charged": f"{IMAGE * BOUGHT:,}, {spent.get('mask_renderer', 0):,} nano-dollars",
        "chats: budget, charged": f"{TEAM_BUDGET:,}, {chats:,} nano-dollars",
        "overspent": f"{max(0, spent.get('mask_renderer', 0) - IMAGE * BOUGHT) + max(0, chats - TEAM_BUDGET):,}",
        "seconds": f"{time.monotonic() - began:.0f}",
    }
    return Report(f"{requests:,} parallel requests on small budgets", figures, problems)


def _config(folder: Path, sandbox: Sandbox) -> dict[str, Any]:
    """Only PiAPI sells: a dearer backup would make every reservation larger than the price."""
    return {
        **process.base_config(folder, sandbox, KEYS),
        "teams": {"crowd": {"budget": f"{TEAM_BUDGET / 1e9:.6f}/month"}},
    }


async def _rush(url: str, requests: int) -> Counter[str]:
    """Start the processes, wait until each has its connections, let them all ask at once."""
    place = urlsplit(url)
    each = requests // PROCESSES // 2
    started: list[asyncio.subprocess.Process] = []
    try:
        for key in CHATTERS:
            orders = [
                {**_PAINT, "count": each},
                {"name": "chat", "path": CHAT, "key": key, "body": _TALK, "count": each},
            ]
            one = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "soak.rush"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=Path(__file__).parent.parent,
            )
            started.append(one)
            _tell(one, json.dumps({"host": place.hostname, "port": place.port, "orders": orders}))
        for one in started:
            if await _heard(one) != b"ready":
                raise SoakError("a client process could not open its connections")
        for one in started:
            _tell(one, "go")
        answered: Counter[str] = Counter()
        for one in started:
            answered.update(json.loads(await _heard(one) or b"{}"))
        return answered
    finally:
        for one in started:
            if one.returncode is None:
                one.kill()
            await one.wait()


def _tell(one: asyncio.subprocess.Process, line: str) -> None:
    assert one.stdin is not None
    one.stdin.write(line.encode() + b"\n")


async def _heard(one: asyncio.subprocess.Process) -> bytes:
    assert one.stdout is not None
    async with asyncio.timeout(120):
        return (await one.stdout.readline()).strip()


async def _spend_the_rest(client: httpx2.AsyncClient, url: str) -> Counter[str]:
    """One chat after the other until the team's budget has no room for another."""
    answered: Counter[str] = Counter()
    while not answered["chat 429 insufficient_quota, afterwards"]:
        answer = await client.post(f"{url}{CHAT}", json=_TALK, headers={"authorization": f"Bearer {CHATTERS[0]}"})
        code = "" if answer.status_code == 200 else f" {answer.json()['error']['code']}"
        answered[f"chat {answer.status_code}{code}, afterwards"] += 1
        if answered.total() > 1_000:
            raise SoakError("a thousand chats did not use up what was left of the budget")
    return answered


def _wrong_answers(answered: Counter[str], requests: int) -> list[str]:
    """Ten images and no other; everything else is refused for the budget's sake, or told to come back."""
    images, chats = (refused(answered, kind) for kind in ("image", "chat"))
    problems = []
    if (answered["image 200"], images) != (BOUGHT, requests // 2 - BOUGHT):
        problems.append(f"{answered['image 200']} images were let through and {images} refused")
    if answered["chat 200"] + chats != requests // 2 or not answered["chat 200"]:
        problems.append("chats were answered in other ways, or none was let through")
    return problems


def refused(answered: Mapping[str, int], kind: str) -> int:
    """How many requests of a kind had no room: for good, or while others ran."""
    return sum(answered.get(f"{kind} 429 {code}", 0) for code in ("insufficient_quota", "rate_limit_exceeded"))


def _wrong_sums(rows: list[audit.Row], images: int, chats: int, billed: int) -> list[str]:
    problems = []
    if images != IMAGE * BOUGHT:
        problems.append(f"images were charged {images}, their budget is {IMAGE * BOUGHT}")
    if chats > TEAM_BUDGET:
        problems.append(f"chats were charged {chats}, the team's budget is {TEAM_BUDGET}")
    dearest = max((row.reserved for row in rows if row.key != "mask_renderer"), default=0)
    if TEAM_BUDGET - chats >= dearest:
        problems.append(f"{TEAM_BUDGET - chats} of the team's budget was left, and {dearest} was refused")
    if images + chats != billed:
        problems.append(f"charged were {images + chats}, the upstream's bill is {billed}")
    return problems

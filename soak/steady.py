"""Steady traffic of a whole department: series and memory stay bounded, and no request waits for the ledger.

At first every key asks for everything once, so that every series exists that ever should. From then on nothing may be
added, although prompts, request ids, unknown models and wrong keys are new every time. How long requests wait for the
ledger is what the gateway's own histogram ``gateway_ledger_wait_seconds`` says.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from gateway.sandbox import Sandbox
from soak import audit, books, process
from soak.books import Sample
from soak.clients import http_client
from soak.report import Report, progress
from soak.traffic import Traffic

WAIT_LIMIT = 0.005
"""Seconds that 99 of 100 waits for the ledger may take at most; a bound of the histogram's buckets."""

GROWTH = 32 << 20
"""Bytes by which the process may grow after the warm-up: SQLite's and the allocator's caches fill, and then no more."""

EVERY = 15.0
"""Seconds between two looks: Prometheus looks as often, and a look takes the gateway's time."""

CARRIED = 0.95
"""The part of the wanted rate that must have been sent, or the load was not what it should have been."""

TEAM_SIZE = 10


Series = frozenset[str]
"""The names of series, with their labels."""

_LEARNED = "gateway_learned_duration_seconds"


@dataclass
class Look:
    """What was seen at one moment. ``memory``: bytes resident.

    ``waits``: by row, how many waits for the ledger there were, and how many of at most WAIT_LIMIT.
    """

    memory: int
    waits: dict[str, tuple[float, float]]


@dataclass
class Run:
    """What a run left behind.

    ``warm``: requests of the warm-up. ``seconds``: how long the traffic after it lasted. ``before``, ``after``: the
    series at its beginning and end. ``billed``: nano-dollars.
    """

    traffic: Traffic
    warm: int
    seconds: float
    before: Series
    after: Series
    looks: list[Look]
    billed: int


async def run(folder: Path, minutes: float, rate: float, keys: int, *, limits: bool = True) -> Report:
    """``limits``: whether slowness counts as wrong, the machine's included.

    Raises SoakError if the run itself fails.
    """
    ran = await _run(folder, minutes * 60, rate, [f"key-{number:03}" for number in range(keys)])
    traffic, looks = ran.traffic, ran.looks
    rows, _ = books.rows_after(folder, 0)
    problems = [*traffic.wrong, *_added(ran), *_grown(looks), *_wrong_books(rows, ran.billed)]
    if limits:
        problems += _slow(looks)
        if traffic.sent < CARRIED * rate * minutes * 60:
            problems.append(f"only {traffic.sent / ran.seconds:.1f} requests a second could be sent, not {rate:g}")
    code, said = await process.verify(folder)
    if code:
        problems.append(f"ledger verify: {said}")
    figures = {
        "keys": str(keys),
        "requests": f"{ran.warm:,} to warm up, then {traffic.sent:,}, {traffic.sent / ran.seconds:.1f} a second",
        **{f"answered {name}": f"{count:,}" for name, count in sorted(traffic.answered.items())},
        "metrics series": f"{len(ran.before):,} after the warm-up, {len(ran.after):,} at the end",
        "memory": " → ".join(f"{_settled(part) / 2**20:.0f} MiB" for part in (looks[:3], looks[-3:])),
        **_waits(looks),
        "rows": f"{len(rows):,}",
    }
    return Report(f"{minutes:g} minutes at {rate:g} requests/s", figures, problems)


async def _run(folder: Path, seconds: float, rate: float, names: Sequence[str]) -> Run:
    values = [f"gw-soak-{name}-00112233" for name in names]
    async with Sandbox(roles=("api", "proxy", "backup"), history=2_000) as sandbox, http_client() as client:
        sandbox.set_default("ok;concurrency=1000")
        process.write_config(folder, _config(folder, sandbox, names, values))
        async with process.serving(folder) as gateway:
            await gateway.announced()
            traffic = Traffic(client, gateway.url, random.Random(1), values)
            progress("warming up")
            await traffic.send(traffic.everything(), rate)
            warm, traffic.sent = traffic.sent, 0
            before = await books.scrape(client, gateway.admin)
            looks = [_look(before, gateway)]
            began = time.monotonic()
            async with asyncio.TaskGroup() as side:
                watching = side.create_task(_watch(client, gateway, looks, seconds))
                await traffic.send(traffic.endless(seconds), rate)
                watching.cancel()
            took = time.monotonic() - began
            after = await books.scrape(client, gateway.admin)
            looks.append(_look(after, gateway))
            await gateway.stop()
        progress("")
        return Run(traffic, warm, took, _series(before), _series(after), looks, sandbox.billed)


def _config(folder: Path, sandbox: Sandbox, names: Sequence[str], values: Sequence[str]) -> dict[str, Any]:
    keys = [
        {
            "name": name,
            "key": value,
            "team": f"team-{number // TEAM_SIZE}",
            "budget": "1000/month",
            "rpm": 100_000,
            "tpm": 1_000_000_000,
            "parallel": 1_000,
        }
        for number, (name, value) in enumerate(zip(names, values, strict=True))
    ]
    teams = {key["team"]: {"budget": "10000/month"} for key in keys}
    config = process.base_config(folder, sandbox, keys)
    # Unknown models are to be nonsense here, which the gateway answers alone, and not orders for the upstreams.
    return {**config, "teams": teams, "default_route": [], "log": {"format": "json", "level": "info"}}


async def _watch(client: httpx2.AsyncClient, gateway: process.Process, looks: list[Look], seconds: float) -> None:
    while True:
        await asyncio.sleep(EVERY)
        samples = await books.scrape(client, gateway.admin)
        looks.append(_look(samples, gateway))
        progress(f"{len(looks) * EVERY:.0f} of {seconds:.0f} s, {len(samples):,} series")


def _look(samples: Sequence[Sample], gateway: process.Process) -> Look:
    return Look(gateway.memory(), {row: _counted(samples, row) for row in ("intent", "task")})


def _series(samples: Sequence[Sample]) -> Series:
    """Those that any request can add; what is learned of a model is shown once twelve orders were seen."""
    lasting = (sample for sample in samples if sample.name != _LEARNED)
    return frozenset(f"{sample.name}{dict(sorted(sample.labels.items()))}" for sample in lasting)


def _counted(samples: Sequence[Sample], row: str) -> tuple[float, float]:
    name = "gateway_ledger_wait_seconds"
    own = [sample for sample in samples if sample.name.startswith(name) and sample.labels.get("row") == row]
    count = sum(sample.value for sample in own if sample.name == f"{name}_count")
    quick = sum(sample.value for sample in own if float(sample.labels.get("le", "inf")) == WAIT_LIMIT)
    return count, quick


def _waits(looks: Sequence[Look]) -> dict[str, str]:
    """The part of the waits since the warm-up that was short enough, by what was waited for."""
    figures = {}
    for row, (count, quick) in looks[-1].waits.items():
        before = looks[0].waits[row]
        count, quick = count - before[0], quick - before[1]
        part = quick / count if count else 1.0
        figures[f"waits for the ledger, {row} rows"] = f"{part:.3%} of {count:,.0f} within {WAIT_LIMIT * 1000:g} ms"
    return figures


def _slow(looks: Sequence[Look]) -> list[str]:
    """Rows of both kinds together: a request waits for either."""
    count, quick = (
        sum(looks[-1].waits[row][place] - looks[0].waits[row][place] for row in looks[-1].waits) for place in (0, 1)
    )
    if count and quick >= 0.99 * count:
        return []
    return [f"{count - quick:,.0f} of {count:,.0f} waits for the ledger took longer than {WAIT_LIMIT * 1000:g} ms"]


def _added(ran: Run) -> list[str]:
    added = sorted(ran.after - ran.before)
    return [f"{len(added)} series were added after the warm-up, such as {added[0]}"] if added else []


def _grown(looks: Sequence[Look]) -> list[str]:
    grown = _settled(looks[-3:]) - _settled(looks[:3])
    return [f"the process grew by {grown / 2**20:.0f} MiB after the warm-up"] if grown > GROWTH else []


def _settled(looks: Sequence[Look]) -> float:
    """Memory, without the moment's ups and downs."""
    return statistics.median(look.memory for look in looks)


def _wrong_books(rows: Sequence[audit.Row], billed: int) -> list[str]:
    """Nothing went wrong, so every row is settled and what the keys pay is what the upstreams bill."""
    problems = [f"row {row.id} is {row.standing}" for row in rows if row.standing != "settled"]
    charged = sum(row.charged for row in rows)
    return problems if charged == billed else [*problems, f"charged were {charged}, the upstreams billed {billed}"]

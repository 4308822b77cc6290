"""A Prometheus of one's own: started from deploy/prometheus, pointed at a gateway, asked over HTTP."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRAPE_INTERVAL = "250ms"
"""Of the rehearsal: so short that what takes minutes in earnest is over in seconds."""

PATIENCE = 30.0
"""Seconds after which something that should have come is given up."""

_LISTENING = re.compile(r'msg="Listening on" (?:component=web )?address=(\S+)')

Labels = Mapping[str, str]


class QueryRefused(Exception):
    """Prometheus would not answer; the message is its own."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: times in seconds since 1970, and values."""

    labels: Labels
    points: list[tuple[float, float]]


class Prometheus:
    """A client of Prometheus's HTTP API."""

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self.url = url
        self._http = http

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Prometheus]:
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as http:
            yield cls(url, http)

    async def instant(self, query: str, time: float) -> list[Series]:
        """The series at a moment. QueryRefused."""
        found = await self._get("/api/v1/query", query=query, time=time)
        if found["resultType"] == "scalar":
            return [Series({}, [_point(found["result"])])]
        return [Series(one["metric"], [_point(one["value"])]) for one in found["result"]]

    async def range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """The series from ``start`` to ``end``, every ``step`` seconds. QueryRefused."""
        found = await self._get("/api/v1/query_range", query=query, start=start, end=end, step=step)
        return [Series(one["metric"], list(map(_point, one["values"]))) for one in found["result"]]

    async def label_values(self, metric: str, label: str) -> list[str]:
        """The values that a label of a metric has had."""
        found: list[str] = await self._get(f"/api/v1/label/{label}/values", **{"match[]": metric})
        return found

    async def number(self, query: str, time: float) -> float:
        """The only value of a query; 0 where there is none."""
        found = await self.instant(query, time)
        return found[0].points[0][1] if found else 0.0

    async def _get(self, path: str, **query: Any) -> Any:
        answer = (await self._http.get(path, params=query)).json()
        if answer["status"] != "success":
            raise QueryRefused(f"{answer['error']}: {query}")
        return answer["data"]


def installed() -> bool:
    """Whether this machine has Prometheus."""
    return shutil.which("prometheus") is not None


def rehearsal_config(metrics_url: str) -> str:
    """deploy/prometheus/prometheus.yml with the target and the rhythm of a rehearsal, and nothing else changed."""
    document = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    document["global"] = {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL}
    document["rule_files"] = [str(DEPLOY / "prometheus" / pattern) for pattern in document["rule_files"]]
    [job] = document["scrape_configs"]
    job["static_configs"] = [{"targets": [urlsplit(metrics_url).netloc]}]
    return yaml.safe_dump(document)


@asynccontextmanager
async def running_prometheus(folder: Path, metrics_url: str) -> AsyncIterator[Prometheus]:
    """Prometheus as deploy/prometheus sets it up, scraping one gateway, with its data in ``folder``.

    RuntimeError, with what it said, if it does not start.
    """
    config = folder / "prometheus.yml"
    config.write_text(rehearsal_config(metrics_url), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'series'}",
        "--web.listen-address=127.0.0.1:0",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    reading: asyncio.Future[tuple[None]] | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            address = await _address(process.stderr)
        reading = asyncio.gather(_drain(process.stderr))
        async with Prometheus.at(f"http://{address}") as prometheus:
            yield prometheus
    finally:
        process.terminate()
        await process.wait()
        if reading is not None:
            await reading


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, within: float = PATIENCE) -> None:
    """Wait until ``condition`` holds, for so many seconds. TimeoutError says ``what`` never came."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not await condition():
        if loop.time() > deadline:
            raise TimeoutError(f"waited in vain for: {what}")
        await asyncio.sleep(0.1)


def _point(pair: tuple[float, str]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


async def _address(stderr: asyncio.StreamReader) -> str:
    said = []
    async for line in stderr:
        said.append(line.decode(errors="replace"))
        if (found := _LISTENING.search(said[-1])) is not None:
            return found[1]
    raise RuntimeError(f"prometheus did not start: {''.join(said)}")


async def _drain(stderr: asyncio.StreamReader) -> None:
    async for _ in stderr:
        pass

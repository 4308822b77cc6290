"""What a pod does before SIGTERM: the chart's own program, run against a real gateway with a stream in flight."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts.dashboards.rehearsal import Stage, chat, rehearsal
from tests.e2e.books import Figures

from .chart import VALUES, needs_helm, only, rendered

pytestmark = needs_helm

SLOW = chat("alice", "gpt-4o", "slow;delay=100", stream=True)


def program(admin_url: str, *, delay: float = 0.0, most: float = 30.0) -> str:
    """The chart's, for another port and with shorter times."""
    [path] = [path for path in VALUES if path.stem == "defaults"]
    [container] = only(rendered(path), "Deployment")["spec"]["template"]["spec"]["containers"]
    *_, text = container["lifecycle"]["preStop"]["exec"]["command"]
    for given, wanted in (
        ("http://127.0.0.1:8401", admin_url),
        ("time.monotonic() + 60", f"time.monotonic() + {most}"),
        ("time.sleep(5)", f"time.sleep({delay})"),
    ):
        assert given in text
        text = text.replace(given, wanted)
    return str(text)


async def run(text: str) -> float:
    """Its seconds; it must end well."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", text)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
    return time.monotonic() - began


@pytest.fixture
async def stage(tmp_path: Path):
    async with rehearsal(tmp_path) as stage:
        yield stage


async def in_flight(stage: Stage) -> None:
    """Wait until a request is being served."""
    async with asyncio.timeout(10):
        while 'gateway_requests_in_flight{route="/v1/chat/completions"} 1' not in await stage.metrics():
            await asyncio.sleep(0.01)


async def test_it_waits_until_what_is_served_has_ended(stage: Stage) -> None:
    async with asyncio.TaskGroup() as tasks:
        stream = tasks.create_task(stage.send(SLOW))
        await in_flight(stage)
        await run(program(stage.gateway.admin_url))
        ended = Figures(await stage.metrics())
        assert ended.total("gateway_requests_in_flight") == 0
        assert ended.total("gateway_requests_total") == 1
    assert stream.result() == 200, "the request that it waited for"


async def test_it_waits_no_longer_than_it_may(stage: Stage) -> None:
    async with asyncio.TaskGroup() as tasks:
        stream = tasks.create_task(stage.send(SLOW))
        await in_flight(stage)
        await run(program(stage.gateway.admin_url, most=0.0))
        assert not stream.done()
    assert stream.result() == 200


async def test_nothing_in_flight_ends_it_after_the_delay(stage: Stage) -> None:
    assert await run(program(stage.gateway.admin_url, delay=1.0)) >= 1.0


async def test_a_gateway_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    async with rehearsal(tmp_path) as stage:
        url = stage.gateway.admin_url
    assert urlsplit(url).port
    assert await run(program(url)) < 20.0, "of the thirty seconds that it may wait"

"""Bodies that are small on the wire and would be large in memory: what a gateway in a process of its own takes."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
import yaml

from gateway.sandbox import Sandbox
from tests.raw_client import RawClient

from .running import Gateway, settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")

MIB = 1 << 20
NEST = b"[" * 200 + b"]" * 200
NESTED = b"[" + b",".join([NEST] * (19 * MIB // (len(NEST) + 1))) + b"]"
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"x":' + NESTED + b"}"

AT_ONCE = 8


def peak(gateway: Gateway) -> int:
    """The most memory that the process had so far, in bytes."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def ask(url: str) -> int:
    client = await RawClient.connect(url)
    try:
        await client.ask(BODY)
        return (await client.rest(await client.head())).status
    finally:
        await client.close()


async def ping(url: str, until: asyncio.Event) -> int:
    """How many pings were answered before the attack was over."""
    client = await RawClient.connect(url)
    answered = 0
    try:
        while not until.is_set():
            await client.ask(method="GET", target="/healthz", key=None)
            assert (await client.rest(await client.head())).status == 200
            answered += 1
            await asyncio.sleep(0.005)
        return answered
    finally:
        await client.close()


async def test_nested_lists_take_little_more_than_their_bytes_and_nobody_waits(tmp_path: Path) -> None:
    async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings(sandbox, tmp_path)), encoding="utf-8")
        async with Gateway.serve(tmp_path) as gateway:
            before = peak(gateway)
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                pings = group.create_task(ping(gateway.url, over))
                alone = await ask(gateway.url)
                after_one = peak(gateway)
                together = await asyncio.gather(*(ask(gateway.url) for _ in range(AT_ONCE)))
                over.set()
            assert alone == 400
            assert set(together) <= {400, 503}  # 503: more than a fair share of the memory for bodies
            assert pings.result() > AT_ONCE + 1  # more than one between any two of the attacks
            assert after_one - before < 8 * len(BODY)  # parsed, it would be fifty times as much
            assert peak(gateway) - before < 3 * AT_ONCE * len(BODY)
        assert sandbox.requests == []

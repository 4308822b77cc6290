"""What a request of a limited key costs with Valkey: waiting, CPU of ours and of the server's, bytes; and a stall.

.venv/bin/python -m bench.shared_state
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
import uvloop

from gateway.core.limits.key_limits import KeyLimits, Lease
from gateway.core.types import VirtualKey
from gateway.runtime.tasks import TrackedTasks
from gateway.sandbox import Sandbox
from gateway.shared_state.valkey.state import ValkeyState
from tests.e2e.harness import ROLES, Rig, chat_body
from tests.engines import ValkeyServer

KEY = VirtualKey("member", rpm=10**9, tpm=10**12, parallel=10**6)
ONE_BY_ONE, AT_ONCE, ROUNDS = 3000, 100, 100
MEMBER = "gw-member-0000111122223333"


def line(name: str, value: str) -> None:
    print(f"  {name:<58} {value}")


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def seen(client: redis.Redis) -> dict[str, float]:
    """What the server has done so far."""
    found: Any = {**client.info("stats"), **client.info("cpu"), **client.info("commandstats")}
    return {
        "bytes in": found["total_net_input_bytes"],
        "bytes out": found["total_net_output_bytes"],
        "cpu": found["used_cpu_user"] + found["used_cpu_sys"],
        "scripts": found.get("cmdstat_evalsha", {}).get("calls", 0),
        "reads": found.get("total_reads_processed", 0),
    }


async def through(state: ValkeyState, number: int) -> None:
    """Let one request in, and end it."""
    now = asyncio.get_running_loop().time()
    lease = await state.limits.ask(KEY, 100, now)
    assert isinstance(lease, Lease)
    state.limits.release(lease, 100 + number % 2, now)


async def limits_alone(server: ValkeyServer) -> None:
    """The engine by itself."""
    state = ValkeyState(server.url, "gw_bench", TrackedTasks(lambda *_: None), lambda *_: None)
    await state.start(2.0)
    await asyncio.sleep(1.0)
    print("one at a time, rpm, tpm and parallel set")
    waits = []
    for number in range(ONE_BY_ONE):
        began = time.perf_counter()
        await through(state, number)
        waits.append(time.perf_counter() - began)
    line("waiting for the admission, p50", f"{quantile(waits, 0.5) * 1e6:.0f} us")
    line("p99", f"{quantile(waits, 0.99) * 1e6:.0f} us")

    print(f"{AT_ONCE} at a time")
    with redis.Redis(port=server.port) as client:
        before, cpu, began = seen(client), time.process_time(), time.perf_counter()
        for _ in range(ROUNDS):
            await asyncio.gather(*(through(state, number) for number in range(AT_ONCE)))
        wall, cpu, total = time.perf_counter() - began, time.process_time() - cpu, ROUNDS * AT_ONCE
        await asyncio.sleep(0.1)
        after = seen(client)
    each = {name: (after[name] - before[name]) / total for name in after}
    line("requests a second, one gateway", f"{total / wall:.0f}")
    line("our CPU a request", f"{cpu / total * 1e6:.0f} us")
    line("the server's CPU a request", f"{each['cpu'] * 1e6:.0f} us")
    line("scripts a request (admit, release)", f"{each['scripts']:.2f}")
    line("reads of the server a request (round trips)", f"{each['reads']:.3f}")
    line("bytes to the server, and back", f"{each['bytes in']:.0f}, {each['bytes out']:.0f}")

    print("the same in memory")
    limits, cpu = KeyLimits(), time.process_time()
    for number in range(total):
        lease = limits.admit(KEY, 100, time.monotonic())
        assert isinstance(lease, Lease)
        limits.release(lease, 100 + number % 2, time.monotonic())
    line("our CPU a request", f"{(time.process_time() - cpu) / total * 1e6:.1f} us")

    print("the server stands still")
    server.pause()
    waits = []
    for _ in range(500):
        began = time.perf_counter()
        now = asyncio.get_running_loop().time()
        if state.limits.admit(KEY, 100, now) is None:
            await state.limits.ask(KEY, 100, now)
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)
    line("the longest wait of 500 requests in a row", f"{max(waits) * 1e3:.1f} ms")
    line("requests that waited more than 1 ms", f"{sum(wait > 0.001 for wait in waits)}")
    server.resume()
    began = time.perf_counter()
    while not state.up:  # noqa: ASYNC110 - the event would be ours
        await asyncio.sleep(0.005)
    line("back after", f"{(time.perf_counter() - began) * 1e3:.0f} ms")
    await state.close()


async def whole_answers(url: str) -> float:
    """The median of a whole chat answer of a limited key, in microseconds."""
    async with Sandbox(roles=ROLES) as sandbox:
        key = f"{{name: member, key: {MEMBER}, rpm: 100000000, tpm: 100000000000, parallel: 1000}}"
        overrides = f"{{shared_state: '{url}', keys: [{key}], log: {{level: warning}}}}"
        rig = await Rig.start(sandbox, Path(tempfile.mkdtemp()), overrides)
        took = []
        async with rig.client() as client:
            body = chat_body()
            for number in range(1300):
                began = time.perf_counter()
                await client.ask(body, MEMBER)
                assert (await client.rest(await client.head())).status == 200
                if number >= 300:
                    took.append(time.perf_counter() - began)
        await rig.gateway.close()
    return statistics.median(took) * 1e6


async def main() -> int:
    server = ValkeyServer()
    try:
        await limits_alone(server)
        print("whole chat answers one after the other, sandbox and client in the same process")
        line("memory://, p50", f"{await whole_answers('memory://'):.0f} us")
        line("Valkey, p50", f"{await whole_answers(server.url):.0f} us")
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))

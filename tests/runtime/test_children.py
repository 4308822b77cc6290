from __future__ import annotations

import asyncio
import signal
import sys

from gateway.runtime.children import send_signal


async def child(text: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", text, stdout=asyncio.subprocess.PIPE)


async def test_a_signal_reaches_the_child_and_is_its_end() -> None:
    process = await child("import time; time.sleep(60)")
    send_signal(process, signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM


async def test_a_signal_to_a_child_that_has_just_ended_leaves_its_exit_code() -> None:
    """Its output is over before asyncio hears of its end: that is when ``Process.send_signal`` takes the code away."""
    for _ in range(20):
        process = await child("import os; os._exit(7)")
        assert process.stdout is not None
        await process.stdout.read()
        while process.returncode is None:
            send_signal(process, signal.SIGTERM)
            await asyncio.sleep(0)
        assert process.returncode == 7


async def test_a_signal_to_a_child_that_ended_long_ago_is_not_sent() -> None:
    process = await child("pass")
    assert await process.wait() == 0
    send_signal(process, signal.SIGKILL)
    assert process.returncode == 0

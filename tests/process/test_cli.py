"""The command line where a process makes a difference: signals, pipes, addresses and stores that are taken."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx2
import pytest

from gateway.sandbox import SCENARIOS, Sandbox
from tests.cli.in_process import one_line

from .running import PROGRAM, Gateway, Program, chat, command, settings, write

HOME = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


async def test_a_taken_address_and_a_taken_ledger_are_told_plainly(tmp_path: Path, sandbox: Sandbox) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write(folder, settings(sandbox, folder))
    async with Gateway.serve(first) as running:
        place = running.url[len("http://") :]
        write(second, settings(sandbox, second) | {"listen": place})
        listen, store, box = await asyncio.gather(
            command(second, "serve"), command(first, "serve"), command(second, "sandbox", "--listen", place)
        )
    assert listen.code == 1
    made, told = listen.err.splitlines()
    assert '"store_made"' in made
    assert f"cannot listen on {place}: the address is already in use" in told
    assert f"is being written by process {running.process.pid}" in one_line(store, 1)
    assert f"cannot listen on {place}: Address already in use" in one_line(box, 1)


async def test_the_sandbox_serves_until_it_is_told_to_stop(tmp_path: Path, client: httpx2.AsyncClient) -> None:
    listed = await command(tmp_path, "sandbox", "--list")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == list(SCENARIOS)
    for number in (signal.SIGTERM, signal.SIGINT):
        async with Program.run(tmp_path, "sandbox", "--listen", "127.0.0.1:0", "--scenario", "status;code=418") as box:
            line = await box.out.first(lambda line: line.startswith("SANDBOX listens on "))
            answer = await client.post(f"{line.split()[-1]}/v1/chat/completions", json=chat())
            assert (answer.status_code, answer.headers["x-sandbox"]) == (418, "1")
            box.signal(number)
            assert await box.wait() == 0
        assert box.err.text == ""


async def test_status_can_be_watched_until_interrupted(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    (tmp_path / "watch").mkdir()
    async with Gateway.serve(tmp_path) as gateway:
        write(tmp_path / "watch", settings(sandbox, tmp_path) | {"admin": {"listen": gateway.admin[len("http://") :]}})
        async with Program.run(tmp_path / "watch", "status", "--watch", "--interval", "0.01") as watching:
            await watching.out.first(lambda _: sum("serving" in line for line in watching.out.lines) >= 3)
            watching.signal(signal.SIGINT)
            assert await watching.wait() == 0
        assert watching.err.text == ""


@pytest.mark.parametrize("line", ["sandbox --list", "models --json", "doctor --offline", "--help"])
async def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, line: str) -> None:
    """As in ``piapi-gateway models --json | head -1``, at its worst: the reader has left before the first byte."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *line.split(), cwd=tmp_path, env=HOME, stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    _, complaint = await process.communicate()
    assert (process.returncode, complaint) == (0, b"")

"""Starts and stops at the edges: signals during a start, terminals that close, outputs that take nothing."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from gateway.sandbox import Sandbox
from gateway.stores.sqlite.mark import read_mark
from gateway.stores.sqlite.queries import verify

from .running import PATIENCE, PROGRAM, Gateway, Program, ask, chat, new_client, settings, write

ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


async def test_a_load_balancer_has_time_to_notice(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    """With drain_delay /readyz says 503 while requests are still served."""
    write(tmp_path, settings(sandbox, tmp_path, drain_delay="1h", drain="0s"))
    async with Gateway.serve(tmp_path) as gateway:
        assert (await client.get(f"{gateway.url}/readyz")).status_code == 200
        gateway.signal(signal.SIGTERM)
        await gateway.event("leaving", seconds=3600.0)
        not_ready = await client.get(f"{gateway.url}/readyz")
        assert (not_ready.status_code, "draining" in not_ready.text) == (503, True)
        assert (await client.get(f"{gateway.url}/healthz")).status_code == 200
        assert (await ask(client, gateway, chat())).status == 200
        gateway.signal(signal.SIGTERM)  # a second one ends the waiting
        assert await gateway.wait() == 0
    assert verify(tmp_path / "gateway.db").settled == 1
    assert read_mark(tmp_path / "gateway.db").clean


async def test_sigterm_during_a_long_start_is_heeded(tmp_path: Path, sandbox: Sandbox) -> None:
    """The store takes long to be opened: here it is locked by another program, which SQLite waits for."""
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        assert (await ask(client, gateway, chat())).status == 200
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with Program.run(tmp_path, "serve") as starting:
            lock = tmp_path / "gateway.db.lock"
            while lock.read_text().strip() != str(starting.process.pid):
                await asyncio.sleep(0.01)
            starting.signal(signal.SIGTERM)
            assert await starting.wait() == 0
            assert "listens on" not in starting.out.text
        other.execute("ROLLBACK")
    assert verify(tmp_path / "gateway.db").settled == 1


@pytest.mark.parametrize("command", ["serve", "demo"])
async def test_a_terminal_that_closes_takes_what_runs_in_it_along(
    tmp_path: Path, sandbox: Sandbox, command: str
) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: ASYNC220
        [PROGRAM, command], cwd=tmp_path, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=lambda: _take_terminal(0),
    )  # fmt: skip
    os.close(theirs)
    try:
        await asyncio.to_thread(_read_until, ours, b"listens on" if command == "serve" else b"curl")
        os.close(ours)  # the kernel sends SIGHUP to the foreground of a terminal that is gone
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


async def test_who_watches_sees_a_restart_through(tmp_path: Path, sandbox: Sandbox) -> None:
    admin = f"127.0.0.1:{free_port()}"
    write(tmp_path, settings(sandbox, tmp_path, admin={"listen": admin}))
    async with Program.run(tmp_path, "status", "--watch", "--interval", "0.05") as watching:
        await watching.err.first(lambda line: "is it running" in line)
        for _ in range(2):
            seen = len(watching.out.lines)
            async with Gateway.serve(tmp_path) as gateway:
                await watching.out.first(lambda line: ": serving" in line)
                await until(lambda seen=seen: any(": serving" in line for line in watching.out.lines[seen:]))
                gateway.signal(signal.SIGTERM)
                assert await gateway.wait() == 0
        assert watching.process.returncode is None
        watching.signal(signal.SIGINT)
        assert await watching.wait() == 0


async def test_as_a_service_sighup_reloads(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        gateway.signal(signal.SIGHUP)
        await gateway.event("config_reloaded")
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0


async def test_without_standard_streams_the_ledger_stays_whole(tmp_path: Path, sandbox: Sandbox) -> None:
    """With them closed, the ledger's file would get their numbers, and what is printed would be written into it."""
    path = write(tmp_path, settings(sandbox, tmp_path, listen="127.0.0.1:0"))
    (tmp_path / "gateway.db").unlink(missing_ok=True)
    process = await asyncio.create_subprocess_shell(
        f"exec {PROGRAM} serve --config {path} 0<&- 1>&- 2>&-", cwd=tmp_path, env=ENVIRONMENT
    )
    try:
        lock = tmp_path / "gateway.db.mark"
        async with asyncio.timeout(PATIENCE):
            while not lock.exists():
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)  # it prints where it listens, and logs, after that
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert verify(tmp_path / "gateway.db").problems == []
    assert (tmp_path / "gateway.db").read_bytes().startswith(b"SQLite format 3\x00")


async def test_an_output_that_takes_nothing_does_not_keep_it_from_serving(tmp_path: Path, sandbox: Sandbox) -> None:
    path = write(tmp_path, settings(sandbox, tmp_path))
    process = await asyncio.create_subprocess_shell(
        f"exec {PROGRAM} serve --config {path} >/dev/full 2>{tmp_path}/log", cwd=tmp_path, env=ENVIRONMENT
    )
    mark = tmp_path / "gateway.db.mark"
    async with asyncio.timeout(PATIENCE):
        while not mark.exists():
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert process.returncode is None, (tmp_path / "log").read_text()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("arguments", ["models", "check", "--help"])
def test_a_full_disk_is_told_and_no_abort(tmp_path: Path, arguments: str) -> None:
    finished = subprocess.run(
        f"exec {PROGRAM} {arguments} >/dev/full", shell=True, cwd=tmp_path, env=ENVIRONMENT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 1
    assert "No space left" in finished.stderr.splitlines()[-1]
    assert "Traceback" not in finished.stderr
    assert "Exception ignored" not in finished.stderr


@pytest.mark.parametrize("output", ["disk", "pipe"])
def test_a_key_that_could_not_be_printed_is_known_to_be_there(tmp_path: Path, output: str) -> None:
    """Its name is given once, so that whoever runs the command again would only hear that it is taken."""

    def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
        writing = os.open("/dev/full", os.O_WRONLY) if output == "disk" else unread_pipe()
        try:
            return subprocess.run(
                (PROGRAM, "keys", *arguments), cwd=tmp_path, env=ENVIRONMENT, stdout=writing, stderr=subprocess.PIPE,
                text=True, check=False,
            )  # fmt: skip
        finally:
            os.close(writing)

    for arguments in (("create", "alice"), ("rotate", "alice", "--json")):
        finished = keys(*arguments)
        assert finished.returncode == 1
        assert "The key of 'alice' was made, but could not be printed" in finished.stderr
        assert finished.stderr.endswith("make another with: piapi-gateway keys rotate alice\n")
        assert "Traceback" not in finished.stderr
    listed = keys("list")  # nothing is lost with a list
    assert (listed.returncode, "was made" in listed.stderr) == (1 if output == "disk" else 0, False)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_with_the_key_is_no_error(tmp_path: Path, unbuffered: str) -> None:
    """As in ``KEY=$(piapi-gateway keys create alice | head -1)``: ``head`` leaves as soon as it has its line."""
    environment = ENVIRONMENT | {"PYTHONUNBUFFERED": unbuffered}
    command = (PROGRAM, "keys", "create", "alice")
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as creating:
        assert creating.stdout is not None
        assert creating.stderr is not None
        assert os.read(creating.stdout.fileno(), 3) == b"gw-"
        creating.stdout.close()
        complaint = creating.stderr.read().decode()
    assert creating.returncode == 0, complaint
    assert "could not be printed" not in complaint


@pytest.mark.parametrize("arguments", [["keys", "list"], ["usage"], ["serve"], ["doctor"], ["init"]])
def test_a_working_directory_that_is_gone_is_called_so(tmp_path: Path, arguments: list[str]) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    finished = subprocess.run(
        ["sh", "-c", 'rmdir ../gone && exec "$0" "$@"', PROGRAM, *arguments], cwd=folder, env=ENVIRONMENT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last == "piapi-gateway: the working directory is gone; change into one that is there"


def unread_pipe() -> int:
    """A pipe's end to write into, whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as opened:
        number: int = opened.getsockname()[1]
        return number


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.02)


def _take_terminal(descriptor: int) -> None:
    """Make a terminal the controlling one of this process's new session."""
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def _read_until(descriptor: int, wanted: bytes) -> None:
    seen = b""
    while wanted not in seen:
        seen += os.read(descriptor, 4096)

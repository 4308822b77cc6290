"""A file saved in part, or in pieces, or no file at all: no reload widens what keys may do, and nothing hangs."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx2
import pytest

from gateway.sandbox import Sandbox

from .running import BOB_KEY, Gateway, Program, ask, chat, command, settings

TAIL = f"""\
keys:
  - name: alice
    key: gw-alice-000111222333444555
    rpm: 60
  - name: bob
    key: {BOB_KEY}
    models:
      - gpt-4o-mini
    budget: 5/day
    rpm: 50
"""


@pytest.fixture
def whole(sandbox: Sandbox, tmp_path: Path) -> str:
    """A file as people write it, whose last lines are what a key may do."""
    import yaml

    head = {name: value for name, value in settings(sandbox, tmp_path).items() if name != "keys"}
    return str(yaml.safe_dump(head)) + TAIL


def save(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


async def reloaded(gateway: Gateway, client: httpx2.AsyncClient) -> httpx2.Response:
    return await client.post(f"{gateway.admin}/admin/v1/reload")


async def of_bob(gateway: Gateway, client: httpx2.AsyncClient) -> object:
    listed = (await client.get(f"{gateway.admin}/admin/v1/keys/bob")).json()
    return listed.get("models"), listed.get("budget"), listed.get("rpm")


BOUND = (["gpt-4o-mini"], "5/day", 50)


async def test_a_file_cut_at_any_line_of_a_key_changes_nothing(
    tmp_path: Path, whole: str, client: httpx2.AsyncClient
) -> None:
    save(tmp_path, whole)
    lines = whole.splitlines(keepends=True)
    async with Gateway.serve(tmp_path) as gateway:
        for lost in range(1, 6):
            path = save(tmp_path, "".join(lines[:-lost]))
            os.utime(path, (1_000_000_000, 1_000_000_000))  # and stable ever since
            answer = await reloaded(gateway, client)
            assert answer.status_code == 400, (lost, answer.text)
            assert await of_bob(gateway, client) == BOUND
            if lost < 3:
                assert f"went on for {lost} more line" in answer.json()["error"]["message"]
                assert "keys.bob" in answer.json()["error"]["message"]
        # What is meant is said by an end of its own.
        path = save(tmp_path, "".join(lines[:-1]) + "# the end\n")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        answer = await reloaded(gateway, client)
        assert answer.json()["changed"] == ["keys.bob: rpm 50 -> none"]
        assert answer.json()["warnings"][0] == "weaker than before: keys.bob: rpm 50 -> none"
        assert "gw-bob" not in answer.text


async def test_taking_the_last_key_away_is_no_cut(tmp_path: Path, whole: str, client: httpx2.AsyncClient) -> None:
    save(tmp_path, whole)
    async with Gateway.serve(tmp_path) as gateway:
        save(tmp_path, whole[: whole.index("  - name: bob")])
        assert (await reloaded(gateway, client)).json()["changed"] == ["keys.bob: removed"]


async def test_a_slow_writer_is_waited_for_and_nobody_else_waits(
    tmp_path: Path, whole: str, client: httpx2.AsyncClient
) -> None:
    """Pieces that are a second apart, of a version whose lines are all new, so that only its rest can tell."""
    save(tmp_path, whole)
    newer = whole.replace("- gpt-4o-mini", "- gpt-4o-mini  # still").replace("rpm: 50", "rpm: 49")
    lines = newer.splitlines(keepends=True)
    order = []
    async with Gateway.serve(tmp_path) as gateway:
        path = save(tmp_path, "".join(lines[:-2]) + "    alert: 89\n")

        async def write() -> None:
            for piece in range(4):
                await asyncio.sleep(1.0)
                path.write_text("".join(lines[:-2]) + f"    alert: {90 + piece}\n")
            path.write_text(newer)
            order.append("written")

        async def ping() -> None:
            for _ in range(10):
                assert (await ask(client, gateway, chat())).status == 200
            order.append("pings")

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(reloaded(gateway, client))
            group.create_task(write())
            group.create_task(ping())
        assert order == ["pings", "written"]
        assert asking.result().json()["changed"] == ["keys.bob: rpm 50 -> 49"]
        assert await of_bob(gateway, client) == (["gpt-4o-mini"], "5/day", 49)


@pytest.mark.parametrize("place", ["/dev/zero", ".", "huge.yaml", "missing.yaml", "/proc/self/mem", "loop.yaml"])
async def test_what_is_no_configuration_is_told_at_once(tmp_path: Path, place: str) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for words in (("check", "--config", place), ("serve", "--config", place)):
        told = await command(tmp_path, *words)
        assert told.code == 2
        assert "Traceback" not in told.err
        assert told.err.count("\n") == 1


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder"])
async def test_a_file_that_became_something_else_hangs_no_reload(
    tmp_path: Path, whole: str, client: httpx2.AsyncClient, kind: str
) -> None:
    path = save(tmp_path, whole)
    async with Gateway.serve(tmp_path) as gateway:
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
        answer = await reloaded(gateway, client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "config_rejected")
        gateway.signal(signal.SIGHUP)
        await gateway.event("config_rejected")
        assert (await ask(client, gateway, chat())).status == 200


async def test_signals_that_nobody_asked_for_do_nothing(tmp_path: Path, whole: str, client: httpx2.AsyncClient) -> None:
    save(tmp_path, whole)
    async with Gateway.serve(tmp_path) as gateway:
        before = len(gateway.err.lines)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGWINCH):
            gateway.signal(number)
        assert (await ask(client, gateway, chat())).status == 200
        assert not [line for line in gateway.err.lines[before:] if "config_reloaded" in line]
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0


async def test_a_pipe_that_trickles_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    async with Program.run(tmp_path, "check", "--config", "pipe.yaml") as program:
        descriptor = await asyncio.to_thread(os.open, tmp_path / "pipe.yaml", os.O_WRONLY)
        try:
            while program.process.returncode is None:
                try:
                    os.write(descriptor, b"#")
                except BrokenPipeError:
                    break
                await asyncio.sleep(0.5)
        finally:
            os.close(descriptor)
        assert await program.wait() == 2
        assert "its end did not come" in program.err.text

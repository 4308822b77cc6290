"""Where the log of a process goes: a file that may be moved, a terminal; and signals that must not kill."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import stat
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.sandbox import Sandbox

from .running import PROGRAM, Gateway, settings, write


async def knock(gateway: Gateway, identifier: str) -> None:
    """A request that leaves a line."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        await client.get(gateway.url + "/nowhere", headers={"x-request-id": identifier})


async def holds(path: Path, identifier: str) -> list[dict[str, Any]]:
    """The lines of a log's file, each of them whole, once one of them is this request's."""

    def there() -> bool:
        return path.exists() and identifier in path.read_text()

    async with asyncio.timeout(20):
        while not there():
            await asyncio.sleep(0.05)
    text = await asyncio.to_thread(path.read_text)
    return [json.loads(line) for line in text.splitlines()]


async def appears(path: Path) -> None:
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(path.exists):
            await asyncio.sleep(0.05)


class TestFile:
    async def test_it_lies_beside_the_configuration_and_is_for_its_user_alone(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        write(tmp_path, settings(sandbox, tmp_path, log={"file": "gateway.log"}))
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        async with Gateway.run(elsewhere, "serve", "--config", "../config.yaml") as gateway:
            assert str(tmp_path / "gateway.log") in await gateway.out.first(lambda line: "The log goes to" in line)
            gateway.url = gateway.out.text.split()[4]
            await knock(gateway, "in-the-file")
            await holds(tmp_path / "gateway.log", "in-the-file")
        assert stat.S_IMODE((tmp_path / "gateway.log").stat().st_mode) == 0o600
        assert gateway.err.text == ""

    @pytest.mark.parametrize("asked", [True, False], ids=["SIGUSR1", "by itself"])
    async def test_it_may_be_moved_away(self, sandbox: Sandbox, tmp_path: Path, asked: bool) -> None:
        write(tmp_path, settings(sandbox, tmp_path, log={"file": "gateway.log"}))
        async with Gateway.serve(tmp_path) as gateway:
            await knock(gateway, "before")
            await holds(tmp_path / "gateway.log", "before")
            (tmp_path / "gateway.log").rename(tmp_path / "gateway.log.1")
            if asked:
                gateway.signal(signal.SIGUSR1)
                await appears(tmp_path / "gateway.log")
            await knock(gateway, "after")
            lines = await holds(tmp_path / "gateway.log", "after")
        assert "before" not in [line.get("request_id") for line in lines]
        assert "after" not in (tmp_path / "gateway.log.1").read_text()

    async def test_it_may_be_cut_or_removed_too(self, sandbox: Sandbox, tmp_path: Path) -> None:
        write(tmp_path, settings(sandbox, tmp_path, log={"file": "gateway.log"}))
        path = tmp_path / "gateway.log"
        async with Gateway.serve(tmp_path) as gateway:
            await knock(gateway, "before")
            await holds(path, "before")
            os.truncate(path, 0)  # logrotate's copytruncate
            await knock(gateway, "after")
            assert (await holds(path, "after"))[-1]["request_id"] == "after"
            path.unlink()
            await knock(gateway, "again")
            await holds(path, "again")

    async def test_one_that_cannot_be_written_is_said_in_one_line(self, sandbox: Sandbox, tmp_path: Path) -> None:
        write(tmp_path, settings(sandbox, tmp_path, log={"file": "no/such/folder/gateway.log"}))
        async with Gateway.run(tmp_path, "serve") as gateway:
            assert await gateway.wait() == 1
        assert gateway.err.text.startswith("piapi-gateway: the log cannot be written to ")
        assert gateway.err.text.count("\n") == 1


async def test_a_log_on_a_terminal_is_for_people(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "serve", cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stderr=theirs, stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    shown = b""
    while b"stopped" not in shown:
        shown += await asyncio.to_thread(os.read, ours, 65536)
    assert await process.wait() == 0
    os.close(ours)
    assert b"draining" in shown
    assert b'"event"' not in shown


async def test_signals_that_mean_nothing_do_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            gateway.signal(number)
        await gateway.event("log_not_opened_again")
        await knock(gateway, "still-here")
        await gateway.event("refused", request_id="still-here")


async def test_upstream_keys_are_asked_about_once_at_the_start(sandbox: Sandbox, tmp_path: Path) -> None:
    document = settings(sandbox, tmp_path)
    wrong = "sandbox-invalid-"
    document["upstreams"]["piapi"]["keys"] = [
        {"name": "first", "value": "piapi-key-one"},
        {"name": "old", "value": wrong + "1"},
    ]
    document["upstreams"]["backup"]["keys"] = [
        {"name": "wrong", "value": wrong + "2"},
        {"name": "right", "value": "backup-key-one"},
        {"name": "wrong-too", "value": wrong + "3"},
    ]
    write(tmp_path, document)
    async with Gateway.serve(tmp_path) as gateway:
        for upstream, name in (("piapi", "old"), ("backup", "wrong"), ("backup", "wrong-too")):
            line = await gateway.event("upstream_key_refused", upstream=upstream, upstream_key=name)
            assert line["status"] == 401
        await asyncio.sleep(0.3)
        gateway.signal(signal.SIGHUP)
        await gateway.event("config_reloaded")
        assert len(gateway.events("upstream_key_refused")) == 3
        assert wrong not in gateway.err.text
    asked = [str(each.key) for each in sandbox.key_checks if each.path == "/account/info"]
    assert sorted(asked) == ["piapi-key-one", wrong + "1"]
    lists = [
        each.key
        for each in (*sandbox.listings, *sandbox.key_checks)
        if each.role == "backup" and each.path == "/v1/models"
    ]
    assert (lists.count(wrong + "2"), lists.count(wrong + "3")) == (1, 1)


async def test_options_of_serve_go_before_the_file(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.run(tmp_path, "serve", "--listen", "127.0.0.2:0", "--store", "sqlite:///other.db") as gateway:
        line = await gateway.out.first(lambda line: "listens on" in line)
        assert "http://127.0.0.2:" in line
        gateway.signal(signal.SIGHUP)
        await gateway.event("config_reloaded")
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "gateway.db").exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--listen", "8400", "--listen: listen: expected HOST:PORT"),
        ("--store", "gateway.db", "--store: store: expected sqlite:///FILE"),
        ("--listen", "0.0.0.0:8401", "listen and admin.listen must be different"),
    ],
)
async def test_options_that_make_no_sense_are_refused_as_the_files_values_are(
    sandbox: Sandbox, tmp_path: Path, option: str, value: str, said: str
) -> None:
    document = settings(sandbox, tmp_path)
    document["admin"] = {"listen": "127.0.0.1:8401"}
    write(tmp_path, document)
    async with Gateway.run(tmp_path, "serve", option, value) as gateway:
        assert await gateway.wait() == 2
    assert said in gateway.err.text

"""What a running gateway leaves on the machine for others to find: files, its command line, a dump of its memory."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.sandbox import Sandbox
from scripts.docs.cli import whole_command

from .running import ALICE_KEY, BOB_KEY, Gateway, ask, chat, command, settings, write

ADMIN_KEY = "admin-0123456789abcdef-secret"
SECRETS = (ADMIN_KEY, ALICE_KEY, BOB_KEY, "piapi-key-one", "piapi-key-two", "backup-key-one")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")


def configured(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    return settings(
        sandbox,
        folder,
        admin={"listen": "127.0.0.1:0", "key": "${GATEWAY_ADMIN_KEY}"},
        images={"dir": str(folder / "images"), "keep": "1h"},
        log={"format": "json", "file": str(folder / "gateway.log")},
    )


def modes(folder: Path) -> dict[str, int]:
    """Every file and folder below, with its mode."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


async def test_whatever_it_writes_is_for_its_user_alone(
    tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    """Also where the user's umask would let all read."""
    write(tmp_path, configured(sandbox, tmp_path))
    before = os.umask(0o000)
    try:
        async with Gateway.serve(tmp_path, {"GATEWAY_ADMIN_KEY": ADMIN_KEY}) as gateway:
            assert (await ask(client, gateway, chat())).status == 200
            order = {"model": "gpt-image-1", "prompt": "a hat", "response_format": "url", "size": "1024x1024"}
            picture = await client.post(f"{gateway.url}/v1/images/generations", json=order)
            assert "/images/" in picture.text, picture.text
            backup = await command(tmp_path, "backup", "safe", env={"GATEWAY_ADMIN_KEY": ADMIN_KEY})
            assert backup.code == 0, backup.err
            running = modes(tmp_path)
            gateway.process.send_signal(signal.SIGTERM)
            assert await gateway.wait() == 0
    finally:
        os.umask(before)
    for found in (running, modes(tmp_path)):
        assert {name for name, mode in found.items() if mode & 0o077} == set()
        assert {"gateway.db", "gateway.db.pepper", "gateway.db.lock", "gateway.log", "images", "safe"} <= set(found)
        assert [name for name in found if name.startswith("images/")]


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs Linux's /proc")
async def test_neither_its_command_line_nor_a_dump_holds_a_secret(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, configured(sandbox, tmp_path))
    async with Gateway.serve(tmp_path, {"GATEWAY_ADMIN_KEY": ADMIN_KEY}) as gateway:
        home = Path(f"/proc/{gateway.process.pid}")
        line = (home / "cmdline").read_bytes().decode()
        assert not [secret for secret in SECRETS if secret in line]
        [limit] = [each for each in (home / "limits").read_text().splitlines() if each.startswith("Max core file size")]
        assert limit.split()[4] == "0"
        environments = [(home / "environ").stat().st_mode & 0o077]
        assert environments == [0], "what was given in the environment is for its user alone"


def test_no_command_takes_a_secret_on_its_line() -> None:
    """What stands on a command line is for every user of the machine to read (``ps``)."""
    options = {name for each in whole_command().below() for name in each.option_names}
    assert not [name for name in options if any(word in name for word in ("secret", "password", "token", "pepper"))]
    assert "--key" not in options
    assert "--admin-key" not in options


@pytest.mark.parametrize("name", ["GATEWAY_ADMIN_KEY", "GATEWAY_KEY_PEPPER"])
async def test_what_is_wrong_with_a_secret_is_told_without_it(tmp_path: Path, sandbox: Sandbox, name: str) -> None:
    """A secret that cannot be one: with a line end, with what is no ASCII, of the wrong length."""
    for value in ("canary\nsecret-0123456789", "canary-ﬀ-secret-0123456789", "canary" * 400, "canary"):
        write(tmp_path, configured(sandbox, tmp_path))
        ended = await command(tmp_path, "check", "--json", env={"GATEWAY_ADMIN_KEY": ADMIN_KEY, name: value})
        assert "canary" not in ended.out + ended.err, value[:30]
        if name == "GATEWAY_KEY_PEPPER":
            started = await command(tmp_path, "serve", env={"GATEWAY_ADMIN_KEY": ADMIN_KEY, name: value})
            assert started.code != 0
            assert "canary" not in started.out + started.err

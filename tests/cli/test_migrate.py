"""``piapi-gateway migrate``: a store moved to a PostgreSQL, its keys with it, and what is said of it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.stores.sqlite.lock import StoreLock
from tests.engines import PostgresServer
from tests.process.running import ask, chat, new_client, settings, write
from tests.stores.furnished import furnish
from tests.stores.sqlite.books import child

from .in_process import NOWHERE, command, done, obeyed, one_line, serving


async def test_a_gateway_on_the_new_store_knows_the_keys_and_what_they_spent(
    folder: Path, sandbox: Sandbox, postgres_url: str
) -> None:
    document = settings(sandbox, folder, keys=[], images={"dir": "shared"})
    write(folder, document)
    key = json.loads(await done("keys", "create", "carol", "--budget", "5/month", "--json"))["key"]
    async with serving(folder, document) as gateway, new_client(key) as client:
        assert (await ask(client, gateway, chat())).status == 200
    spent = json.loads(await done("keys", "show", "carol", "--json"))["budget_used_usd"]
    assert spent > 0
    moved = await command("migrate", "--to", postgres_url)
    assert moved.code == 0, moved
    assert "1 request(s) of 1 month(s)" in moved.out
    assert "1 virtual key(s)" in moved.out
    for sentence in ("write it into the configuration of every gateway: store: postgresql://", "od -An -v -tx1"):
        assert sentence in moved.err
    pepper = folder / "shared" / "keys.pepper"
    assert f"the keys' pepper was put into {pepper}" in moved.err
    assert stat.S_IMODE(pepper.stat().st_mode) == 0o600
    assert pepper.read_bytes() == (folder / "gateway.db.pepper").read_bytes()
    assert pepper.read_bytes().hex() not in moved.err + moved.out
    document["store"] = postgres_url
    async with serving(folder, document) as gateway, new_client(key) as client:
        assert (await ask(client, gateway, chat())).status == 200
    shown = json.loads((await command("keys", "show", "carol", "--json")).out)
    assert (shown["budget_used_usd"], shown["budget"]) == (2 * spent, "5/month")


async def test_scripts_are_told_and_a_second_time_changes_nothing(folder: Path, postgres_url: str) -> None:
    await furnish(folder / "gateway.db", 5)
    (folder / "gateway.db.pepper").touch(mode=0o600)
    (folder / "gateway.db.pepper").write_bytes(b"p" * 32)
    write(folder, {"admin": NOWHERE})
    first = json.loads((await command("migrate", "--to", postgres_url, "--json")).out)
    assert first["from"] == str(folder / "gateway.db")
    assert (first["compared"]["alike"], first["compared"]["keys"], first["ended_before"]) == (True, 4, False)
    assert first["rows"]["jobs"] == 3
    second = await command("migrate", "--from", "sqlite:///gateway.db", "--to", postgres_url)
    assert second.code == 0
    assert "was carried over to postgresql://127.0.0.1" in second.out


async def test_another_pepper_in_its_place_is_told_and_stays(folder: Path, postgres_url: str) -> None:
    await furnish(folder / "gateway.db", 3)
    (folder / "gateway.db.pepper").touch(mode=0o600)
    (folder / "gateway.db.pepper").write_bytes(b"p" * 32)
    write(folder, {"admin": NOWHERE, "images": {"dir": "images"}})
    (folder / "images").mkdir()
    (folder / "images" / "keys.pepper").touch(mode=0o600)
    (folder / "images" / "keys.pepper").write_bytes(b"q" * 32)
    told = await command("migrate", "--to", postgres_url)
    assert told.code == 1
    assert "keys.pepper is another pepper than" in told.err
    assert (folder / "images" / "keys.pepper").read_bytes() == b"q" * 32


async def test_a_store_in_use_is_refused_in_one_line(folder: Path, postgres_url: str) -> None:
    await furnish(folder / "gateway.db", 3)
    write(folder, {"admin": NOWHERE})
    lock = StoreLock.take(folder / "gateway.db")
    told = one_line(await command("migrate", "--to", postgres_url), 1)
    assert f"is in use by process {os.getpid()}" in told
    lock.release()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--to must be postgresql://"),
        (("--to", "mysql://h/d"), "--to must be postgresql://"),
        (("--from", "gateway.db", "--to", "postgresql://h/d"), "--from must be sqlite:///FILE"),
    ],
)
def test_what_makes_no_sense_is_bad_usage(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    write(folder, {"admin": NOWHERE})
    assert words in one_line(obeyed("migrate", *arguments), 2)


async def test_no_message_has_the_password(folder: Path) -> None:
    await furnish(folder / "gateway.db", 3)
    write(folder, {"admin": NOWHERE})
    told = one_line(await command("migrate", "--to", "postgresql://gateway:its-password@127.0.0.1:1/books"), 1)
    assert "cannot be reached" in told
    assert "its-password" not in told


async def test_a_bar_is_shown_on_a_terminal_and_nowhere_else(folder: Path, postgres_server: PostgresServer) -> None:
    await furnish(folder / "gateway.db", 5)
    write(folder, {"admin": NOWHERE})
    quiet = await command("migrate", "--to", postgres_server.new_database())
    assert "\r" not in quiet.err
    assert "%" not in quiet.err
    script = "import os, sys; os.dup2(os.open(sys.argv[1], os.O_RDWR), 2)\n"
    script += "from gateway.cli.main import main; sys.exit(main(sys.argv[2:]))"
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    shown = b""
    with child(script, os.ttyname(theirs), "migrate", "--to", postgres_server.new_database()) as process:
        running = True
        while running:
            running = process.poll() is None
            with suppress(BlockingIOError):
                shown += os.read(ours, 65536)
            await asyncio.sleep(0.01)
    os.close(theirs)
    os.close(ours)
    assert b"] 100 % of " in shown
    assert b"rows: comparing" in shown
    assert process.returncode == 0

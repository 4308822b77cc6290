"""What is taken from the books is noticed: at the next start, or within seconds by a gateway that is running.

Every attack is on the files of a real process, most of them after a SIGKILL. The start is refused, the files are left
as they are, and what the message says to do works. What only looks like a loss refuses nothing.
"""

# ruff: noqa: ASYNC230, ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import zlib
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.runtime.ports import SystemClock
from gateway.sandbox import Sandbox
from gateway.stores.records import AuditEntry
from gateway.stores.sqlite import audit
from gateway.stores.sqlite.accept import accept_loss
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify
from tests.stores.sqlite.books import intent, nothing_pending, old_store, settlement, tamper

from .running import PATIENCE, Finished, Gateway, ask, chat, command, commands, new_client, settings, write

CHATS = 12


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of the one gateway lie that was killed for this module's tests."""
    return tmp_path_factory.mktemp("kept") / "killed"


@pytest.fixture
async def folder(tmp_path: Path, kept: Path, sandbox: Sandbox) -> Path:
    """A gateway's folder: some requests and a key of the store, and a process that was killed right after them."""
    folder = tmp_path / "gateway"
    if not kept.exists():
        kept.mkdir()
        write(kept, settings(sandbox, kept))
        made = await command(kept, "keys", "create", "carol")
        assert made.code == 0, made.err
        async with Gateway.serve(kept) as gateway:
            await chats(gateway, CHATS)
            await asyncio.sleep(0.5)  # the last one is settled, and the mark written
            gateway.signal(signal.SIGKILL)
            await gateway.wait()
    shutil.copytree(kept, folder)
    write(folder, settings(sandbox, folder))
    return folder


async def chats(gateway: Gateway, number: int) -> None:
    async with new_client() as client:
        for _ in range(number):
            assert (await ask(client, gateway, chat())).status == 200


async def another_store(path: Path, requests: int) -> None:
    ledger = await SQLiteLedger.open(path, clock=SystemClock())
    for number in range(requests):
        await ledger.reserve(intent(f"other{number}"))
        ledger.settle(settlement(f"other{number}"))
    await nothing_pending(ledger)
    shutil.copy(f"{path}-wal", f"{path}.log")
    await ledger.close()


def fold(store: Path) -> None:
    """Bring the log into the file, as a clean end does."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def lose_log(store: Path) -> None:
    for ending in ("-wal", "-shm"):
        Path(f"{store}{ending}").unlink()


async def cut_log(store: Path) -> None:
    os.truncate(f"{store}-wal", os.path.getsize(f"{store}-wal") // 2)


async def flip_in_log(store: Path) -> None:
    with open(f"{store}-wal", "r+b") as log:
        log.seek(os.path.getsize(f"{store}-wal") // 3)
        log.write(b"\xff\x00\xff\x00")


async def foreign_log(store: Path) -> None:
    other = store.with_name("elsewhere.db")
    await another_store(other, CHATS + 5)
    shutil.copy(f"{other}.log", f"{store}-wal")


async def delete_rows(store: Path) -> None:
    fold(store)
    some = "(SELECT id FROM intents ORDER BY rowid LIMIT 3 OFFSET 4)"
    tamper(store, f"DELETE FROM settlements WHERE id IN {some}", f"DELETE FROM intents WHERE id IN {some}")


async def delete_rows_with_the_guards_lifted(store: Path) -> None:
    """The count is kept then, and says of itself that rows left without being pruned."""
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("DROP TRIGGER intents_keep_delete")
        connection.execute("DELETE FROM intents WHERE rowid = 5")


async def change_amount(store: Path) -> None:
    tamper(store, "UPDATE settlements SET charged = 0, upstream_cost = 0, attempts = '[]' WHERE rowid = 3")


async def empty_keys(store: Path) -> None:
    tamper(store, "DELETE FROM keys")


async def empty_everything(store: Path) -> None:
    tamper(store, *(f"DELETE FROM {name}" for name in ("intents", "settlements", "spent", "keys", "tally")))


async def old_copy(store: Path) -> None:
    """The file as it was some requests ago, put back by hand."""
    fold(store)
    earlier = store.with_name("earlier")
    shutil.copy(store, earlier)
    ledger = await SQLiteLedger.open(store, clock=SystemClock())
    await ledger.reserve(intent("later"))
    ledger.settle(settlement("later"))
    await nothing_pending(ledger)
    await ledger.close()
    shutil.copy(earlier, store)


async def old_version(store: Path) -> None:
    store.unlink()
    await lose_log(store)
    old_store(store, 12).close()


async def other_store(store: Path) -> None:
    other = store.with_name("elsewhere.db")
    await another_store(other, CHATS + 20)
    await lose_log(store)
    other.replace(store)


async def remove(store: Path) -> None:
    store.unlink()
    await lose_log(store)


async def remove_file_alone(store: Path) -> None:
    store.unlink()


async def empty(store: Path) -> None:
    os.truncate(store, 0)


async def cut(store: Path) -> None:
    fold(store)
    os.truncate(store, 3 * 4096)


async def flip_in_schema(store: Path) -> None:
    fold(store)
    with store.open("r+b") as file:
        file.seek(103)  # how many tables there are
        file.write(b"\x00\x00")


async def flip_in_data(store: Path) -> None:
    fold(store)
    with closing(sqlite3.connect(store)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'settlements'").fetchone()
    with store.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x00" * 8)


async def drop_a_table(store: Path) -> None:
    fold(store)
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("DROP TABLE settlements")


LOSSES = (
    lose_log, cut_log, flip_in_log, foreign_log, delete_rows, delete_rows_with_the_guards_lifted, change_amount,
    empty_keys, empty_everything, old_copy, old_version, other_store, remove,
)  # fmt: skip
DAMAGES = (remove_file_alone, empty, cut, flip_in_schema, flip_in_data, drop_a_table)

Attack = Callable[[Path], Awaitable[None]]


def contents(folder: Path) -> dict[str, bytes]:
    """What matters of the store's files."""
    return {
        ending: Path(f"{folder / 'gateway.db'}{ending}").read_bytes()
        for ending in ("", "-wal", ".mark")
        if Path(f"{folder / 'gateway.db'}{ending}").is_file()
    }


async def refused(folder: Path) -> Finished:
    """A start that does not come about; what is there is left alone."""
    before = contents(folder)
    start = await command(folder, "serve")
    assert start.code == 1, start.out + start.err
    assert "listens on" not in start.out
    after = contents(folder)
    assert {name: content for name, content in after.items() if content} == {
        name: content for name, content in before.items() if content
    }
    return start


def acceptances(store: Path) -> list[AuditEntry]:
    return [entry for entry in audit.entries(store, 0) if entry.act == "ledger.accept_loss"]


@pytest.mark.parametrize("attack", LOSSES, ids=lambda attack: attack.__name__)
async def test_a_store_that_lost_something_is_not_served_until_that_is_accepted(folder: Path, attack: Attack) -> None:
    store = folder / "gateway.db"
    await attack(store)
    start = await refused(folder)
    assert "has lost what it held" in start.err
    assert "ledger verify --accept-loss REASON" in start.err
    assert "restore DIR" in start.err

    accept_loss(store, SystemClock().wall_ns(), "local user root", "the disk died on Monday")
    [entry] = acceptances(store)
    assert entry.details["lost"]
    for number in range(2):  # served again, and again
        ledger = await SQLiteLedger.open(store, clock=SystemClock())
        await ledger.reserve(intent(f"after{number}"))
        await ledger.close()


async def test_the_commands_say_the_same_and_the_loss_can_be_accepted(folder: Path) -> None:
    store = folder / "gateway.db"
    ((charged,),) = rows_of(store, "SELECT sum(charged) FROM settlements")
    await lose_log(store)
    start = await refused(folder)
    assert f"{CHATS} of {CHATS} requests" in start.err
    verified, key, nothing = await commands(
        folder, ["ledger", "verify"], ["keys", "create", "dave"], ["ledger", "verify", "--accept-loss", "  "]
    )
    assert verified.code == 1
    assert key.code == 1, "no command goes on with it either, or the loss would be forgotten"
    assert nothing.code == 2
    accepted = await command(folder, "ledger", "verify", "--accept-loss", "the disk died on Monday")
    assert accepted.code == 0, accepted.err
    assert "accepted as lost: " in accepted.out
    assert accepted.out.startswith("settled 0, released 0, unknown 0, open 0\n")
    [entry] = acceptances(store)
    assert entry.reason == "the disk died on Monday"
    assert entry.who.startswith("local user ")
    assert entry.details["rows"]["intents"] == CHATS
    assert entry.details["rows"]["settlements"] >= CHATS - 1, "the last may have been killed before it was noted"
    assert 0 < entry.details["charged_nano"] <= charged
    async with Gateway.serve(folder) as gateway:
        await chats(gateway, 1)


@pytest.mark.parametrize("attack", DAMAGES, ids=lambda attack: attack.__name__)
async def test_a_store_that_is_damaged_is_refused_as_it_is(folder: Path, attack: Attack) -> None:
    await attack(folder / "gateway.db")
    start = await refused(folder)
    assert "restore" in start.err.lower()


def requests(store: Path) -> int:
    """How many the books know of; the last ones before a kill may be of unknown outcome, or open."""
    books = verify(store)
    assert books.problems == []
    return books.settled + books.unknown + books.open


def rows_of(store: Path, query: str) -> list[tuple[int, ...]]:
    """Read through a copy: a look at a store that was killed may fold its log."""
    copy = store.with_name("look")
    copy.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(f"{store}{ending}", copy / f"gateway.db{ending}")
    with closing(sqlite3.connect(copy / "gateway.db")) as connection:
        found = connection.execute(query).fetchall()
    shutil.rmtree(copy)
    return found


async def test_a_log_that_is_put_back_is_taken_up(folder: Path) -> None:
    store = folder / "gateway.db"
    log = Path(f"{store}-wal")
    log.rename(folder / "saved")
    Path(f"{store}-shm").unlink()
    await refused(folder)
    (folder / "saved").replace(log)
    async with Gateway.serve(folder) as gateway:
        await chats(gateway, 1)
    assert requests(store) == CHATS + 1


async def test_a_backup_can_be_restored_in_the_place_of_what_was_lost(folder: Path) -> None:
    made = await command(folder, "backup", str(folder / "copy"))
    assert made.code == 0, made.err
    await lose_log(folder / "gateway.db")
    await refused(folder)
    restored = await command(folder, "restore", str(folder / "copy"))
    assert restored.code == 0, restored.err
    async with Gateway.serve(folder) as gateway:
        await chats(gateway, 1)


async def test_a_backup_of_a_store_that_lost_rows_does_not_replace_a_good_one(folder: Path) -> None:
    assert (await command(folder, "backup", str(folder / "copy"))).code == 0
    await lose_log(folder / "gateway.db")
    again = await command(folder, "backup", str(folder / "copy"))
    assert (again.code, "has lost what it held" in again.err) == (1, True)
    assert verify(folder / "copy" / "gateway.db").settled >= CHATS - 1


def garbage_in_index(store: Path) -> None:
    Path(f"{store}-shm").write_bytes(os.urandom(32768))


def journal_mode_changed(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def vacuumed(store: Path) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("VACUUM")


def mark_removed(store: Path) -> None:
    Path(f"{store}.mark").unlink()


def mark_garbled(store: Path) -> None:
    Path(f"{store}.mark").write_bytes(os.urandom(9000))


def mark_torn(store: Path) -> None:
    """The slot that was written last."""
    mark = Path(f"{store}.mark")
    content = bytearray(mark.read_bytes())
    numbers = [json.loads(content[start + 9 : start + 4096].split(b"\n")[0])["number"] for start in (0, 4096)]
    start = 4096 * numbers.index(max(numbers))
    content[start + 100 : start + 4096] = bytes(3996)
    mark.write_bytes(content)


def mark_that_is_a_folder(store: Path) -> None:
    """It cannot be written either."""
    Path(f"{store}.mark").unlink()
    Path(f"{store}.mark").mkdir()


def mark_of_another_boot(store: Path) -> None:
    """A power cut: only what was on the disk is owed."""
    mark = Path(f"{store}.mark")
    fields = json.loads(mark.read_bytes()[9:4096].split(b"\n")[0])
    text = json.dumps({**fields, "boot": "another", "number": 10**6}).encode()
    mark.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))


def copied_elsewhere_and_back(store: Path) -> None:
    """Another inode, the same store."""
    shutil.copy(store, store.with_name("copy"))
    store.with_name("copy").replace(store)


NO_LOSSES = (
    garbage_in_index, journal_mode_changed, vacuumed, mark_removed, mark_garbled, mark_torn, mark_that_is_a_folder,
    mark_of_another_boot, copied_elsewhere_and_back,
)  # fmt: skip


@pytest.mark.parametrize("change", NO_LOSSES, ids=lambda change: change.__name__)
async def test_what_only_looks_like_a_loss_refuses_nothing(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder / "gateway.db")
    async with Gateway.serve(folder) as gateway:
        await chats(gateway, 1)
        gateway.signal(signal.SIGKILL)
        await gateway.wait()
    ledger = await SQLiteLedger.open(folder / "gateway.db", clock=SystemClock())
    await ledger.close()
    assert requests(folder / "gateway.db") == CHATS + 1


async def test_killed_at_any_moment_nothing_is_taken_for_lost(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    chance = random.Random(13)
    answered = 0

    async def ask_on(gateway: Gateway) -> None:
        nonlocal answered
        async with new_client() as client:
            while (await ask(client, gateway, chat())).status == 200:
                answered += 1

    for _ in range(6):
        async with Gateway.serve(tmp_path) as gateway:  # it starts: nothing is taken for lost
            asking = [asyncio.get_running_loop().create_task(ask_on(gateway)) for _ in range(8)]
            wanted = answered + chance.randrange(12)
            async with asyncio.timeout(PATIENCE):
                while answered < wanted:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            gateway.signal(signal.SIGKILL)
            await gateway.wait()
            await asyncio.gather(*asking, return_exceptions=True)
    async with Gateway.serve(tmp_path) as gateway:
        await chats(gateway, 1)
    assert answered
    assert requests(tmp_path / "gateway.db") >= answered


@pytest.mark.parametrize("way", ["hard link", "symbolic link", "other spelling"])
async def test_no_second_gateway_by_another_name_of_the_file(tmp_path: Path, sandbox: Sandbox, way: str) -> None:
    base = settings(sandbox, tmp_path)
    write(tmp_path, base)
    aside = tmp_path / "aside"
    aside.mkdir()
    async with Gateway.serve(tmp_path) as gateway:
        await chats(gateway, 3)
        name = aside / "other.db"
        if way == "hard link":
            os.link(tmp_path / "gateway.db", name)
        elif way == "symbolic link":
            name.symlink_to(tmp_path / "gateway.db")
        else:
            name = aside / ".." / "gateway.db"
        write(aside, {**base, "store": f"sqlite:///{name}"})
        second, key = await commands(aside, ["serve"], ["keys", "create", "eve"])
        assert (second.code, key.code) == (1, 1), second.err
        assert "is being written by process" in second.err
        await chats(gateway, 1)  # the first one goes on, undisturbed
        gateway.signal(signal.SIGKILL)
        await gateway.wait()
    if way == "hard link":  # not even where no gateway runs: its log goes by the other name
        alone = await command(aside, "serve")
        assert (alone.code, "another name of a file" in alone.err) == (1, True)
    async with Gateway.serve(tmp_path) as gateway:
        await chats(gateway, 1)
    assert requests(tmp_path / "gateway.db") == 5


async def until_ready(gateway: Gateway, status: int) -> None:
    async with new_client() as client, asyncio.timeout(PATIENCE):
        while (await client.get(f"{gateway.url}/readyz")).status_code != status:
            await asyncio.sleep(0.05)


def move_away(store: Path) -> None:
    store.rename(store.with_name("away"))


def put_another(store: Path) -> None:
    shutil.copy(store, store.with_name("another"))
    store.with_name("another").replace(store)


def move_log_away(store: Path) -> None:
    Path(f"{store}-wal").rename(store.with_name("log"))


@pytest.mark.parametrize("attack", [move_away, put_another, move_log_away], ids=lambda attack: attack.__name__)
async def test_a_file_taken_from_a_running_gateway_is_noticed(
    tmp_path: Path, sandbox: Sandbox, attack: Callable[[Path], None]
) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        await chats(gateway, 5)
        attack(tmp_path / "gateway.db")
        await until_ready(gateway, 503)
        told = await gateway.event("store_gone")
        assert "was moved, removed or replaced" in told["message"]
        answer = await ask(client, gateway, chat())
        assert (answer.status, answer.error["code"]) == (503, "ledger_unavailable")
        assert (await client.get(f"{gateway.url}/healthz")).status_code == 200
        gateway.signal(signal.SIGKILL)
        await gateway.wait()
    if attack is move_log_away:  # what had been committed was written to the file itself
        assert requests(tmp_path / "gateway.db") == 5
        async with Gateway.serve(tmp_path) as gateway:
            await chats(gateway, 1)


async def test_a_file_that_is_put_back_is_written_again(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.set_default("slow;delay=3")
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        running = asyncio.get_running_loop().create_task(ask(client, gateway, chat()))
        await sandbox_has_one(sandbox)
        move_away(tmp_path / "gateway.db")
        await until_ready(gateway, 503)
        assert (await running).status == 200, "what ran ends, and is spilled"
        (tmp_path / "away").rename(tmp_path / "gateway.db")
        await until_ready(gateway, 200)
        await gateway.event("store_back")
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    books = verify(tmp_path / "gateway.db")
    assert (books.settled, books.open, books.problems) == (1, 0, [])


async def sandbox_has_one(sandbox: Sandbox) -> None:
    async with asyncio.timeout(PATIENCE):
        while not sandbox.requests:
            await asyncio.sleep(0.02)

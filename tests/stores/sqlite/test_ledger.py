"""The ledger in a real file: what is acknowledged is there, and settled once, whatever comes in which order."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import GatewayFault, StoreError
from gateway.stores.base import Ledger
from gateway.stores.records import BookedPrice
from gateway.stores.sqlite import inserts
from gateway.stores.sqlite import ledger as ledger_module
from gateway.stores.sqlite.ledger import MAX_WAITING, SQLiteLedger
from gateway.stores.sqlite.queries import verify
from gateway.stores.sqlite.store import store_path

from .books import StoppedClock, intent, nothing_pending, released, rows, settlement


def test_the_url_of_a_store_names_its_file():
    assert store_path("sqlite:///gateway.db") == Path("gateway.db")
    assert store_path("sqlite:////var/lib/gateway.db") == Path("/var/lib/gateway.db")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///",
        "sqlite:////",
        "sqlite://gateway.db",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "gateway.db",
        "",
    ],
)
def test_other_urls_are_refused_with_the_right_form(url: str):
    with pytest.raises(StoreError, match=r"sqlite:///file\.db"):
        store_path(url)


async def test_a_reserve_that_returned_is_in_the_file(ledger: SQLiteLedger, path: Path):
    books: Ledger = ledger
    await books.reserve(intent("a", team=None, paid=True))
    assert rows(path, "SELECT * FROM intents") == [
        ("a", StoppedClock().wall_ns(), "alice", None, "chat", "gpt-4o", "req-a", 100, 1, 1, None)
    ]
    assert books.pending == 0
    assert books.usable()


async def test_a_reserve_does_not_return_before_its_commit(
    ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    gate = threading.Event()
    real = inserts.insert_intents

    def held_up(connection, intents):
        gate.wait()
        real(connection, intents)

    monkeypatch.setattr(inserts, "insert_intents", held_up)
    waiting = asyncio.get_running_loop().create_task(ledger.reserve(intent("a")))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    assert rows(path, "SELECT id FROM intents") == []
    gate.set()
    await waiting
    assert rows(path, "SELECT id FROM intents") == ["a"]


async def test_a_settlement_follows_by_itself_with_all_it_says(ledger: SQLiteLedger, path: Path):
    await ledger.reserve(intent("a"))
    price = BookedPrice("piapi", "gpt-4o", '{"input":2.5}', "flex")
    ledger.settle(
        settlement(
            "a", task_id="task-7", price=price, answered_model="gpt-4o-mini", cache_write_tokens=3, reasoning_tokens=2
        )
    )
    assert ledger.pending == 1
    await nothing_pending(ledger)
    [row] = rows(path, "SELECT * FROM settlements")
    assert row == (
        "a", StoppedClock().wall_ns() + 1, "settled", "piapi", "https://api.piapi.ai", "first",
        '[{"upstream":"piapi","endpoint":"https://api.piapi.ai","credential":"first",'
        '"outcome":"ok","phase":4,"cost":30,"reason":"billed","task_id":null}]',
        10, 4, 5, 0, 40, 30, "measured", 200, "task-7", 1, "gpt-4o-mini", 3, 2,
    )  # fmt: skip
    assert rows(path, "SELECT * FROM booked_prices") == [
        (1, StoppedClock().wall_ns() + 1, "piapi", "gpt-4o", "flex", '{"input":2.5}')
    ]


async def test_settling_twice_changes_nothing(ledger: SQLiteLedger, path: Path):
    await ledger.reserve(intent("a"))
    ledger.settle(settlement("a", charged=40))
    ledger.settle(settlement("a", charged=99))
    await nothing_pending(ledger)
    ledger.settle(settlement("a", state="released", charged=0))
    await ledger.close()
    assert rows(path, "SELECT state, charged FROM settlements") == [("settled", 40)]


async def test_a_settlement_without_an_intent_is_kept_and_found(ledger: SQLiteLedger, path: Path):
    ledger.settle(settlement("stray"))
    await ledger.close()
    assert rows(path, "SELECT id FROM settlements") == ["stray"]
    assert verify(path).problems == ["settlement stray has no intent"]


async def test_intents_of_one_moment_share_a_transaction(
    ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    sizes: list[int] = []
    real = inserts.insert_intents

    def counted(connection, intents):
        sizes.append(len(intents))
        real(connection, intents)

    monkeypatch.setattr(inserts, "insert_intents", counted)

    async def client(number: int) -> None:
        for turn in range(3):
            await ledger.reserve(intent(f"{number}-{turn}"))

    await asyncio.gather(*(client(number) for number in range(100)))
    assert sum(sizes) == 300
    assert sizes[0] == 100
    assert len(sizes) < 100
    assert rows(path, "SELECT count(*) FROM intents") == [300]


async def test_settlements_gather_while_intents_are_committed(
    ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else nearly each would be a commit of its own, wherever requests come one by one."""
    monkeypatch.setattr(ledger_module, "SETTLE_SECONDS", 30.0)
    booked: list[int] = []
    real = inserts.book
    monkeypatch.setattr(inserts, "book", lambda connection, some: booked.append(len(some)) or real(connection, some))
    for number in range(8):
        await asyncio.gather(ledger.reserve(intent(f"{number}-a")), ledger.reserve(intent(f"{number}-b")))
        ledger.settle(settlement(f"{number}-a"))
    assert booked == []
    await ledger.close()
    assert booked == [8]
    assert rows(path, "SELECT count(*) FROM settlements") == [8]


async def test_one_too_many_waiting_is_refused_and_the_others_are_served(ledger: SQLiteLedger, path: Path):
    results = await asyncio.gather(
        *(ledger.reserve(intent(str(number))) for number in range(MAX_WAITING + 1)), return_exceptions=True
    )
    assert results[:-1] == [None] * MAX_WAITING
    assert isinstance(results[-1], GatewayFault)
    assert (results[-1].status, results[-1].code) == (503, "ledger_unavailable")
    await ledger.reserve(intent("later"))
    assert rows(path, "SELECT count(*) FROM intents") == [MAX_WAITING + 1]


async def test_a_cancelled_reserve_is_settled_as_released(ledger: SQLiteLedger, path: Path):
    waiting = asyncio.get_running_loop().create_task(ledger.reserve(intent("a")))
    await asyncio.sleep(0)
    assert ledger.pending == 1
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    ledger.settle(released("a"))
    await ledger.close()
    books = verify(path)
    assert (books.released, books.open, books.problems) == (1, 0, [])
    assert ledger.pending == 0


async def test_closing_commits_what_is_pending_and_then_refuses(ledger: SQLiteLedger, path: Path, caplog):
    await ledger.reserve(intent("a"))
    waiting = asyncio.gather(*(ledger.reserve(intent(f"b{number}")) for number in range(10)))
    await asyncio.sleep(0)
    ledger.settle(settlement("a"))
    await ledger.close()
    await waiting
    assert rows(path, "SELECT count(*) FROM intents") == [11]
    assert rows(path, "SELECT count(*) FROM settlements") == [1]
    assert not ledger.usable()
    with pytest.raises(GatewayFault):
        await ledger.reserve(intent("c"))
    ledger.settle(settlement("b0"))
    assert "not booked" in caplog.text
    assert "id='b0'" in caplog.text


async def test_what_a_process_left_open_becomes_unknown_at_the_next_start(ledger: SQLiteLedger, path: Path):
    assert ledger.recovered == 0
    for identity in "abc":
        await ledger.reserve(intent(identity))
    ledger.settle(settlement("b"))
    await ledger.close()

    again = await SQLiteLedger.open(path, clock=StoppedClock())
    assert again.recovered == 2
    again.settle(settlement("a"))  # too late: it is unknown for good
    await again.close()
    assert rows(path, "SELECT id, state, charged, confidence, status FROM settlements ORDER BY id") == [
        ("a", "unknown", 0, "unknown", 0),
        ("b", "settled", 40, "measured", 200),
        ("c", "unknown", 0, "unknown", 0),
    ]
    assert verify(path).problems == []


async def test_the_files_are_for_their_owner_only(path: Path):
    before = os.umask(0)
    os.close(os.open(path, os.O_CREAT, 0o644))
    try:
        ledger = await SQLiteLedger.open(path, clock=StoppedClock())
        await ledger.reserve(intent("a"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        await ledger.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(
        (f"gateway.db{ending}" for ending in ("", "-wal", "-shm", ".lock", ".mark", ".spill")), 0o600
    )


async def test_an_opening_that_is_cancelled_lets_go_of_the_store(path: Path):
    opening = asyncio.get_running_loop().create_task(SQLiteLedger.open(path, clock=StoppedClock()))
    await asyncio.sleep(0)
    opening.cancel()
    with suppress(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(10):
        while True:
            try:
                ledger = await SQLiteLedger.open(path, clock=StoppedClock())
                break
            except StoreError:
                await asyncio.sleep(0.01)
    await ledger.reserve(intent("a"))
    await ledger.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["settled", "released", "unknown"]), st.integers(0, 9), st.integers(0, 10**12)),
        st.tuples(st.just("pause")),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


@given(steps=steps)
@settings(max_examples=40, deadline=None)
def test_any_sequence_adds_up_as_on_paper(steps):
    """The first word about an id counts; a restart makes unknown what is open; what is not reserved is not settled."""
    intents: set[str] = set()
    ends: dict[str, tuple[str, int]] = {}

    async def play(path: Path) -> None:
        ledger = await SQLiteLedger.open(path, clock=StoppedClock())
        for step in steps:
            match step:
                case ("reserve", number):
                    await ledger.reserve(intent(str(number)))
                    intents.add(str(number))
                case ("pause",):
                    await asyncio.sleep(0)
                case ("restart",):
                    await ledger.close()
                    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
                    left_open = intents - ends.keys()
                    assert ledger.recovered == len(left_open)
                    ends.update(dict.fromkeys(left_open, ("unknown", 0)))
                case (state, number, amount) if str(number) in intents:
                    charged = 0 if state == "released" else amount
                    ledger.settle(settlement(str(number), state=state, charged=charged))
                    ends.setdefault(str(number), (state, charged))
        await ledger.close()
        assert ledger.pending == 0

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gateway.db"
        asyncio.run(play(path))
        assert set(rows(path, "SELECT id FROM intents")) == intents
        found = {
            identity: (state, charged)
            for identity, state, charged in rows(path, "SELECT id, state, charged FROM settlements")
        }
        assert found == ends
        books = verify(path)
    assert books.problems == []
    assert books.open == len(intents) - len(ends)
    assert books.settled + books.released + books.unknown == len(ends)

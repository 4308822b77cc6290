"""Quick starts: what a store that was left well need not do again, and what one that was not still does."""

# ruff: noqa: ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.stores.files import beside
from gateway.stores.sqlite import inserts, ledger, schema, store
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.mark import UNMARKED, read_mark, write_mark
from gateway.stores.sqlite.queries import verify
from gateway.stores.sqlite.store import keys_for_writing

from .books import StoppedClock, intent, nothing_pending, rows, settlement

NOW_NS = StoppedClock().wall_ns()


async def opened(path: Path) -> SQLiteLedger:
    return await SQLiteLedger.open(path, clock=StoppedClock())


async def write(books: SQLiteLedger, *numbers: int) -> None:
    for number in numbers:
        await books.reserve(intent(str(number)))
        books.settle(settlement(str(number)))
    await nothing_pending(books)


async def filled(path: Path, count: int = 5) -> None:
    books = await opened(path)
    await write(books, *range(count))
    await books.close()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each opening looked every page through."""
    seen: list[bool] = []
    real = schema.open_for_writing

    def open_for_writing(path: Path, now_ns: int, *, check: bool = True, **rest: Any) -> sqlite3.Connection:
        seen.append(check)
        return real(path, now_ns, check=check, **rest)

    monkeypatch.setattr(ledger.schema, "open_for_writing", open_for_writing)
    monkeypatch.setattr(store, "open_for_writing", open_for_writing)
    return seen


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of some rows is large enough for the mark to count."""
    monkeypatch.setattr(inserts, "FEW", 2)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every store is too large to be looked through before it serves."""
    monkeypatch.setattr(schema, "CHECKED_AT_ONCE", 0)


class TestLookingThrough:
    async def test_a_store_that_was_left_well_is_not_looked_through_again(self, path: Path, checks: list[bool]) -> None:
        await filled(path)
        await filled(path)
        assert checks == [True, False]

    async def test_a_store_that_was_left_badly_is(self, path: Path, checks: list[bool]) -> None:
        await filled(path)
        books = await opened(path)
        copy = beside(path, "mark").read_bytes()
        await books.close()
        beside(path, "mark").write_bytes(copy)  # as a process that was killed leaves it
        await filled(path)
        assert checks == [True, False, True]

    @pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"clean": true}', b'{"clean": true, "file": 7}'])
    async def test_a_mark_that_says_nothing_costs_a_look(
        self, path: Path, checks: list[bool], content: bytes | None
    ) -> None:
        await filled(path)
        beside(path, "mark").unlink()
        if content is not None:
            beside(path, "mark").write_bytes(content)
        assert read_mark(path) == UNMARKED
        await filled(path)
        assert checks == [True, True]

    async def test_a_file_that_was_touched_since_is_looked_through(self, path: Path, checks: list[bool]) -> None:
        await filled(path)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE probe SET beats = beats + 1")
        await filled(path)
        assert checks == [True, True]

    async def test_another_file_in_its_place_is(self, path: Path, checks: list[bool], tmp_path: Path) -> None:
        await filled(path)
        (tmp_path / "copy").write_bytes(path.read_bytes())
        (tmp_path / "copy").replace(path)
        mark = read_mark(path)
        assert (mark.clean, mark.settled_through) == (False, 0)
        await filled(path)
        assert checks == [True, True]

    async def test_changing_keys_beside_no_gateway_leaves_the_mark_right(self, path: Path, checks: list[bool]) -> None:
        await filled(path)
        with keys_for_writing(path, NOW_NS, lambda _: None):
            pass
        await filled(path)
        assert checks == [True, False, False]

    async def test_a_large_one_is_looked_through_beside_the_work(
        self, path: Path, checks: list[bool], large: None
    ) -> None:
        await filled(path)
        beside(path, "mark").unlink()
        books = await opened(path)
        assert books.unchecked
        await write(books, 77)
        told: list[tuple[str, int, int]] = []
        assert await books.check(lambda *part: told.append(part)) == ""
        assert not books.unchecked
        assert [number for _, number, _ in told] == list(range(1, told[0][2] + 1))
        assert "settlements" in {name for name, _, _ in told}
        await books.close()
        assert checks == [True, False]  # it was new, and is large now
        assert read_mark(path).clean

    async def test_one_that_was_not_looked_through_to_the_end_is_not_left_well(self, path: Path, large: None) -> None:
        await filled(path)
        beside(path, "mark").unlink()
        books = await opened(path)
        await books.close()
        assert not read_mark(path).clean

    async def test_damage_that_is_found_beside_the_work_ends_it(self, path: Path, large: None) -> None:
        await filled(path, 300)
        beside(path, "mark").unlink()
        with closing(sqlite3.connect(path)) as look:
            (page,) = look.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'balances'").fetchone()
        content = bytearray(path.read_bytes())
        content[(page - 1) * 4096] ^= 0x04
        path.write_bytes(content)
        books = await opened(path)
        assert books.usable()
        finding = await books.check(lambda *_: None)
        assert "damaged" in finding
        assert ".recover" in finding
        assert not books.usable()
        with pytest.raises(GatewayError) as refused:
            await books.reserve(intent("77"))
        assert refused.value.code == "ledger_unavailable"
        await books.close()
        assert not read_mark(path).clean


class TestWhatIsOpen:
    async def test_only_young_rows_are_looked_at(self, path: Path, few: None, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[int] = []
        real = inserts.close_open_intents

        def close_open_intents(connection: Any, now_ns: int, settled_through: int = 0) -> int:
            seen.append(settled_through)
            return real(connection, now_ns, settled_through)

        monkeypatch.setattr(inserts, "close_open_intents", close_open_intents)
        await filled(path, 5)
        books = await opened(path)
        await write(books, 10, 11)
        await books.mark()
        await books.close()
        books = await opened(path)
        await books.close()
        assert seen == [0, 5, 7]

    async def test_what_was_open_when_the_mark_was_made_is_found(self, path: Path, few: None) -> None:
        books = await opened(path)
        await write(books, 1, 2, 3)
        await books.reserve(intent("open"))
        await write(books, 4, 5)
        await books.mark()
        assert read_mark(path).settled_through == 3
        await books.close()
        again = await opened(path)
        assert again.recovered == 1
        await again.close()
        assert rows(path, "SELECT id FROM settlements WHERE state = 'unknown'") == ["open"]
        assert verify(path).open == 0

    async def test_rows_that_count_anew_are_all_looked_at(self, path: Path) -> None:
        """All rows may be pruned; those that follow then begin at 1."""
        await filled(path, 5)
        write_mark(path, read_mark(path)._replace(settled_through=5_000_000))
        with closing(sqlite3.connect(path)) as look:
            assert inserts.settled_through(look, 5_000_000) == 0
            assert inserts.settled_through(look, 0) == 0, "few rows are always looked through"

    @pytest.mark.usefixtures("few")
    async def test_a_mark_is_never_ahead_of_what_is_settled(self, path: Path) -> None:
        books = await opened(path)
        for number in range(20):
            await books.reserve(intent(f"open-{number}"))
            await write(books, number)
            await books.mark()
            assert read_mark(path).settled_through == 0
        await books.close()
        again = await opened(path)
        assert again.recovered == 20
        await again.close()

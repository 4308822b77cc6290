"""A gateway that is dead, or was taken for dead: what it left is settled by another one, and counted once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from socket import gethostname

import pytest

from gateway.stores.postgres import inserts
from gateway.stores.postgres.booking import LATE
from gateway.stores.postgres.ledger import PostgresLedger
from gateway.stores.postgres.reader import PostgresReader
from gateway.stores.postgres.spills import left_spill, open_spill, remove_spill, spills_in
from gateway.stores.records import BookedPrice, Correction
from gateway.stores.spill import Spill
from tests.stores.makers import nothing_pending, task

from .ledgers import NOW, books, child, intent, known_in, open_books, released, rows, settlement, spilled

SPENT = ("alice", "growth", "gpt-4o")


async def settled(ledger: PostgresLedger, url: str) -> dict[str, tuple[str, int]]:
    """Each exchange's state and charge, corrections applied; the books have no problem."""
    await nothing_pending(ledger)
    found = await rows(
        url,
        "SELECT s.id, coalesce(c.state, s.state), coalesce(c.charged, s.charged) FROM settlements AS s "
        "LEFT JOIN corrections AS c ON c.id = s.id",
    )
    return {identity: (state, charged) for identity, state, charged in found}


async def test_what_was_settled_late_is_told_with_what_its_own_gateway_said(postgres_url: str, tmp_path: Path) -> None:
    async with books(postgres_url, tmp_path, "gw_slow") as slow, books(postgres_url, tmp_path, "gw_live") as live:
        await slow.reserve(intent("a"))
        await live.settle_left(["gw_slow"])
        assert await seen(postgres_url) == [("a", "unknown", None, 0, 0, 0, None, None)]
        slow.settle(settlement("a"))
        await nothing_pending(slow)
        assert await seen(postgres_url) == [("a", "settled", LATE, 40, 10, 5, "piapi", "measured")]


async def seen(url: str) -> list[tuple[object, ...]]:
    """Of the exchanges that came in last: how they ended, as far as a correction can say it."""
    return [
        (
            *(one.id, one.state, one.corrected, one.charged, one.input_tokens, one.output_tokens, one.upstream),
            None if one.state == "unknown" else one.confidence,
        )
        for one in await PostgresReader(url).usage.latest(10)
    ]


async def test_what_a_dead_gateway_left_open_is_unknown_and_held_with_its_newest_task(
    postgres_url: str, tmp_path: Path
) -> None:
    async with books(postgres_url, tmp_path, "gw_dead") as dead, books(postgres_url, tmp_path, "gw_live") as live:
        await dead.reserve(intent("a", paid=True))
        await dead.record_task(task("task-1", "a"))
        await dead.record_task(task("task-2", "a", at_ns=NOW + 1))
        await dead.reserve(intent("b", paid_by="a", reserved=0))
        await dead.reserve(intent("done"))
        dead.settle(settlement("done"))
        await nothing_pending(dead)
        await live.reserve(intent("mine"))
        assert await live.settle_left(["gw_dead"]) == 2
        assert await live.settle_left(["gw_dead"]) == 0
        assert await rows(
            postgres_url, "SELECT id, state, confidence, task_id, left_by FROM settlements ORDER BY id"
        ) == [
            ("a", "unknown", "unknown", "task-2", "gw_dead"),
            ("b", "settled", "measured", None, "gw_dead"),
            ("done", "settled", "measured", None, None),
        ]
        assert await rows(postgres_url, "SELECT id FROM open_intents") == ["mine"]
        held = await live.held(NOW)
        assert [(one.id, one.running, one.cut) for one in held] == [("a", False, True), ("mine", True, False)]
        [unknown] = await live.unknown_exchanges(0)
        assert [one.task_id for one in unknown.tasks] == ["task-1", "task-2"]


async def test_a_gateway_that_goes_on_after_all_corrects_what_was_unknown_once(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    price = BookedPrice("piapi", "gpt-4o", '{"input":2.5}')
    async with books(postgres_url, tmp_path, "gw_late") as late, books(postgres_url, tmp_path, "gw_live") as live:
        for identity in ("spent", "released", "unknown", "corrected"):
            await late.reserve(intent(identity))
        assert await live.settle_left(["gw_late"]) == 4
        assert await live.correct(Correction("corrected", NOW, "settled", 5, 5, 0, "task completed"))
        for _ in range(2):
            late.settle(settlement("spent", charged=40, price=price))
            late.settle(released("released"))
            late.settle(settlement("unknown", state="unknown", charged=0))
            late.settle(settlement("corrected", charged=999))
            assert await settled(late, postgres_url) == {
                "spent": ("settled", 40),
                "released": ("released", 0),
                "unknown": ("unknown", 0),
                "corrected": ("settled", 5),
            }
        told = [one.getMessage() for one in caplog.records if "corrected already" in one.getMessage()]
        assert told
        assert all(line.startswith("corrected is corrected already, as charged 5 ") for line in told)
        assert await live.charged_since(0) == {SPENT: 45}
        assert await rows(
            postgres_url,
            "SELECT c.reason, c.upstream, c.input_tokens, c.cached_input_tokens, c.output_tokens, p.model "
            "FROM corrections AS c JOIN booked_prices AS p ON p.id = c.price WHERE c.id = 'spent'",
        ) == [(LATE, "piapi", 10, 4, 5, "gpt-4o")]
        assert [one.id for one in await live.held(NOW)] == ["unknown"]


async def test_what_a_gateway_itself_settled_as_unknown_is_not_corrected_by_settling_it_again(
    postgres_url: str, tmp_path: Path
) -> None:
    async with books(postgres_url, tmp_path) as ledger:
        await ledger.reserve(intent("a"))
        ledger.settle(settlement("a", state="unknown", charged=0))
        await nothing_pending(ledger)
        ledger.settle(settlement("a", charged=40))
        assert await settled(ledger, postgres_url) == {"a": ("unknown", 0)}


async def test_taken_over_and_settled_at_the_same_moment_everything_counts_once(
    postgres_url: str, tmp_path: Path
) -> None:
    async with books(postgres_url, tmp_path, "gw_late") as late:
        others = [await open_books(postgres_url, tmp_path, f"gw_{number}") for number in range(3)]
        for turn in range(5):
            identities = [f"{turn}-{number:03}" for number in range(200)]
            await asyncio.gather(*(late.reserve(intent(identity)) for identity in identities))
            for identity in reversed(identities):
                late.settle(settlement(identity, charged=1))
            await asyncio.gather(*(other.ledger.settle_left(["gw_late"]) for other in others))
            found = await settled(late, postgres_url)
            assert [found[identity] for identity in identities] == [("settled", 1)] * 200
        assert await late.charged_since(0) == {SPENT: 1000}
        assert (await rows(postgres_url, "SELECT count(*) FROM open_intents")) == [0]
        for other in others:
            assert other.ledger.usable()
            await other.close()


async def test_more_than_one_transaction_takes_over(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.stores.postgres.left.MOST_AT_ONCE", 10)
    async with books(postgres_url, tmp_path, "gw_dead") as dead, books(postgres_url, tmp_path) as live:
        await asyncio.gather(*(dead.reserve(intent(f"{number}")) for number in range(35)))
        assert await live.settle_left(["gw_dead"]) == 35


def left_by(folder: Path, gateway: str, *settlements: object) -> Path:
    """A spill file as a gateway leaves it that was killed."""
    spill = open_spill(folder / "spill", gateway)
    assert spill.append(settlements)  # type: ignore[arg-type]
    spill.close()
    return spill.path


async def test_taking_over_books_what_the_dead_had_spilled_first(postgres_url: str, tmp_path: Path) -> None:
    async with books(postgres_url, tmp_path / "elsewhere", "gw_dead") as dead, books(postgres_url, tmp_path) as live:
        await dead.reserve(intent("spilled"))
        await dead.reserve(intent("lost"))
        file = left_by(tmp_path, "gw_dead", settlement("spilled", charged=7))
        assert await live.settle_left(["gw_dead"]) == 1
        assert not file.exists()
        assert await settled(live, postgres_url) == {"spilled": ("settled", 7), "lost": ("unknown", 0)}


async def test_what_was_spilled_and_taken_over_as_unknown_is_corrected_when_the_file_is_found(
    postgres_url: str, tmp_path: Path
) -> None:
    async with books(postgres_url, tmp_path / "a", "gw_dead") as dead, books(postgres_url, tmp_path / "b") as live:
        await dead.reserve(intent("a"))
        assert await live.settle_left(["gw_dead"]) == 1
    left_by(tmp_path / "a", "gw_dead", settlement("a", charged=7))
    store = await open_books(postgres_url, tmp_path / "a")
    assert store.booked_late == 1
    assert await settled(store.ledger, postgres_url) == {"a": ("settled", 7)}
    await store.close()
    assert spilled(tmp_path / "a") == ""


async def test_the_file_of_a_gateway_that_lives_is_left_alone(postgres_url: str, tmp_path: Path) -> None:
    async with books(postgres_url, tmp_path, "gw_one") as one:
        await one.reserve(intent("a"))
        one._settlements._spill.append([settlement("a", charged=7)])
        store = await open_books(postgres_url, tmp_path, "gw_two")
        assert store.booked_late == 0
        assert '"a"' in spilled(tmp_path)
        await store.close()


async def test_the_file_of_a_gateway_that_lives_on_another_machine_is_left_alone_whatever_its_locks_say(
    postgres_url: str, tmp_path: Path
) -> None:
    async with books(postgres_url, tmp_path, "gw_first"):
        await known_in(postgres_url, "gw_far", "another-machine")
        await known_in(postgres_url, "gw_near", "")
        await rows(postgres_url, "UPDATE gateways SET hostname = $1 WHERE id = 'gw_near'", gethostname())
        far = left_by(tmp_path, "gw_far", settlement("far", charged=7))
        near = left_by(tmp_path, "gw_near", settlement("near", charged=7))
        store = await open_books(postgres_url, tmp_path, "gw_two")
        assert (store.booked_late, far.exists(), near.exists()) == (1, True, False)
        await rows(postgres_url, "UPDATE gateways SET seen_at = now() - interval '1 hour'")
        await store.mark()
        assert not far.exists()
        await store.close()


async def test_files_that_are_no_spill_or_make_no_sense_do_not_keep_a_gateway_from_starting(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spill"
    folder.mkdir()
    (folder / "notes.txt").write_text("precious")
    (folder / "gw_odd.spill").write_bytes(b"1 00000000 {}\nhello\n")
    (folder / "gw_folder.spill").mkdir()
    (folder / "gw_link.spill").symlink_to(folder / "notes.txt")
    store = await open_books(postgres_url, tmp_path)
    assert store.booked_late == 0
    assert "a line makes no sense" in caplog.text
    await store.close()
    assert (folder / "notes.txt").read_text() == "precious"


async def test_a_gateway_that_opens_the_store_leaves_those_that_serve_alone(postgres_url: str, tmp_path: Path) -> None:
    async with books(postgres_url, tmp_path, "gw_one") as one:
        await known_in(postgres_url, "gw_one")
        await one.reserve(intent("a"))
        store = await open_books(postgres_url, tmp_path, "gw_two")
        assert store.recovered == 0
        assert await rows(postgres_url, "SELECT id FROM open_intents") == ["a"]
        await rows(postgres_url, "DELETE FROM gateways")  # it has left
        await store.mark()
        assert await rows(postgres_url, "SELECT id, left_by FROM settlements") == [("a", "gw_one")]
        await store.close()


async def test_more_than_one_transaction_books_what_was_spilled(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inserts, "MAX_ROWS", 20)
    left_by(tmp_path, "gw_dead", *(settlement(f"{number:05}", charged=1) for number in range(47)))
    store = await open_books(postgres_url, tmp_path)
    assert store.booked_late == 47
    assert await rows(postgres_url, "SELECT count(*), sum(charged) FROM settlements") == [(47, 47)]
    await store.close()


async def test_a_spill_file_that_was_removed_under_its_gateway_is_made_anew(postgres_url: str, tmp_path: Path) -> None:
    """Where locks do not reach and a gateway was taken for dead, another one has booked and removed its file."""
    spill = open_spill(tmp_path / "spill", "gw_one")
    assert spill.append([settlement("a", charged=1)])
    spill.path.unlink()
    assert spill.append([settlement("b", charged=2)])
    spill.close()
    store = await open_books(postgres_url, tmp_path)
    assert store.booked_late == 1
    assert await settled(store.ledger, postgres_url) == {"b": ("settled", 2)}
    await store.close()


async def test_gateways_that_start_at_once_leave_one_anothers_new_files_alone(tmp_path: Path) -> None:
    def start(first: int) -> list[Spill]:
        made = []
        for number in range(first, first + 30):
            made.append(open_spill(tmp_path / "spill", f"gw_{number}"))
            for path in spills_in(tmp_path / "spill"):
                with left_spill(path) as found:
                    assert found is None, "each file is locked"
        return made

    for made in await asyncio.gather(*(asyncio.to_thread(start, 100 * number) for number in range(4))):
        for spill in made:
            remove_spill(spill)
    assert list((tmp_path / "spill").iterdir()) == []


UNDER_LOAD = """
import asyncio, itertools, sys
from pathlib import Path
from tests.stores.postgres.ledgers import intent, open_books, settlement

async def main():
    store = await open_books(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    numbers = itertools.count()
    async def ask():
        while True:
            identity = f"{sys.argv[3]}-{next(numbers):06}"
            await store.ledger.reserve(intent(identity, paid=hash(identity) % 3 == 0))
            print(identity, flush=True)
            if hash(identity) % 5:
                store.ledger.settle(settlement(identity, charged=1))
    await asyncio.gather(*(ask() for _ in range(20)))

asyncio.run(main())
"""


async def test_killed_under_load_every_request_that_was_let_through_is_settled_or_unknown(
    postgres_url: str, tmp_path: Path
) -> None:
    async with books(postgres_url, tmp_path, "gw_live") as live:
        for turn in range(3):
            gateway = f"gw_{turn}"
            process = child(UNDER_LOAD, postgres_url, str(tmp_path), gateway)
            assert process.stdout is not None
            first = await asyncio.to_thread(process.stdout.readline)
            await asyncio.sleep(0.05 * turn)
            process.kill()
            let_through = (first + await asyncio.to_thread(process.stdout.read)).decode().split("\n")[:-1]
            process.wait()
            process.stdout.close()
            if process.stdin is not None:
                process.stdin.close()
            await live.settle_left([gateway])
            found = await settled(live, postgres_url)
            assert all(found[identity][0] in ("settled", "unknown") for identity in let_through)
            assert await rows(postgres_url, "SELECT count(*) FROM open_intents") == [0]
        in_books = await rows(postgres_url, "SELECT count(*) FROM intents")
        assert in_books == await rows(postgres_url, "SELECT count(*) FROM settlements")
        assert await rows(postgres_url, "SELECT count(*) FROM settlements WHERE state = 'unknown'") > [0]

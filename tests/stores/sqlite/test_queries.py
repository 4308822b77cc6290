"""Usage by any grouping, and books that are checked for what could have gone wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from gateway.stores.records import AttemptRecord, UsageRow
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import usage, verify

from .books import StoppedClock, intent, nothing_pending, released, settlement, tamper, task

EVER = 2**63 - 1
KATHMANDU = timezone(timedelta(hours=5, minutes=45))


def nanoseconds(text: str, zone: tzinfo = UTC) -> int:
    """The moment of an ISO time without fraction."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1_000_000_000


@pytest.fixture
async def store(path: Path, ledger: SQLiteLedger) -> Path:
    """Six requests: two of alice, one of bob with images, one unknown, one released, one still open."""
    for identity, changes in {
        "a1": {},
        "a2": {"model": "gpt-4o-mini"},
        "b1": {"key": "bob", "team": None, "model": "flux-dev"},
        "unknown": {},
        "released": {},
        "open": {},
    }.items():
        await ledger.reserve(intent(identity, **changes))
    await ledger.record_task(task("task-1", "b1"))
    ledger.settle(settlement("a1"))
    ledger.settle(settlement("a2", upstream="backup"))
    ledger.settle(settlement("b1", input_tokens=0, cached_input_tokens=0, output_tokens=0, images=2, charged=1_000))
    ledger.settle(settlement("unknown", state="unknown", upstream=None, attempts=(), upstream_cost=0, charged=0))
    ledger.settle(released("released"))
    await nothing_pending(ledger)
    return path


def asked(path: Path, *by: str, zone: tzinfo = UTC, since: int = 0, until: int = EVER) -> list[UsageRow]:
    return usage(path, since_ns=since, until_ns=until, by=by, time_zone=zone)


def test_nothing_asked_for_is_one_total(store: Path):
    assert asked(store) == [UsageRow({}, 4, 30, 12, 15, 2, 1_080, unknown_requests=1)]


def test_by_key_and_team(store: Path):
    assert asked(store, "key", "team") == [
        UsageRow({"key": "alice", "team": "growth"}, 3, 30, 12, 15, 0, 80, unknown_requests=1),
        UsageRow({"key": "bob", "team": None}, 1, 0, 0, 0, 2, 1_000),
    ]


def test_by_upstream_and_model_in_the_order_asked_for(store: Path):
    found = asked(store, "upstream", "model", "upstream")
    assert [(row.group, row.requests) for row in found] == [
        ({"upstream": None, "model": "gpt-4o"}, 1),
        ({"upstream": "backup", "model": "gpt-4o-mini"}, 1),
        ({"upstream": "piapi", "model": "flux-dev"}, 1),
        ({"upstream": "piapi", "model": "gpt-4o"}, 1),
    ]
    assert list(found[0].group) == ["upstream", "model"]


def test_the_window_holds_its_start_and_not_its_end(store: Path):
    at = StoppedClock().wall_ns()
    assert asked(store, "key", since=at, until=at + 1) == asked(store, "key")
    assert asked(store, "day", since=at, until=at + 1) == asked(store, "day")
    for by in ([], ["key"], ["day"]):
        assert asked(store, *by, since=at + 1) == []
        assert asked(store, *by, until=at) == []


def test_an_unknown_field_is_an_error(store: Path):
    with pytest.raises(ValueError, match="cannot be grouped by colour"):
        asked(store, "key", "colour")


async def test_empty_books(ledger: SQLiteLedger, path: Path):
    assert asked(path) == []
    assert asked(path, "day", "key") == []
    assert verify(path).problems == []


async def test_days_end_at_midnight_of_their_time_zone(ledger: SQLiteLedger, path: Path):
    midnight = nanoseconds("2025-06-02T00:00:00", KATHMANDU)
    for identity, at_ns in {"last": midnight - 1, "first": midnight, "noon": midnight + 43_200 * 10**9}.items():
        await ledger.reserve(intent(identity, at_ns=at_ns))
        ledger.settle(settlement(identity, at_ns=at_ns + 86_400 * 10**9))
    await ledger.close()
    assert [(row.group["day"], row.requests) for row in asked(path, "day", zone=KATHMANDU)] == [
        ("2025-06-01", 1),
        ("2025-06-02", 2),
    ]
    assert [(row.group["day"], row.requests) for row in asked(path, "day")] == [("2025-06-01", 2), ("2025-06-02", 1)]
    assert [row.group for row in asked(path, "key", "day", zone=KATHMANDU, since=midnight)] == [
        {"key": "alice", "day": "2025-06-02"}
    ]


@pytest.mark.parametrize(
    ("zone", "first", "second"),
    [
        # 23 hours, 25 hours, a day that begins at 01:00, and one that was left out altogether
        ("Europe/Berlin", "2025-03-30", "2025-03-31"),
        ("Europe/Berlin", "2025-10-26", "2025-10-27"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-05"),
        ("Pacific/Apia", "2011-12-29", "2011-12-31"),
    ],
)
async def test_days_that_are_not_24_hours_long(ledger: SQLiteLedger, path: Path, zone: str, first: str, second: str):
    try:
        place = ZoneInfo(zone)
    except ZoneInfoNotFoundError:
        pytest.skip("this machine has no time zone database")
    start = nanoseconds(f"{second}T00:00:00", place)
    for identity, at_ns in {"before": start - 1, "after": start}.items():
        await ledger.reserve(intent(identity, at_ns=at_ns))
        ledger.settle(settlement(identity))
    await ledger.close()
    assert [(row.group["day"], row.requests) for row in asked(path, "day", zone=place)] == [(first, 1), (second, 1)]


async def test_reading_beside_a_gateway_that_writes(ledger: SQLiteLedger, path: Path):
    """Each reader sees one moment, no earlier than the one before, and the writer is never refused."""
    stop = asyncio.Event()

    async def serve() -> int:
        count = 0
        while not stop.is_set():
            await asyncio.gather(*(ledger.reserve(intent(str(count + number))) for number in range(20)))
            for number in range(20):
                ledger.settle(settlement(str(count + number)))
            count += 20
        return count

    serving = asyncio.get_running_loop().create_task(serve())
    counts = []
    for _ in range(8):
        books = await asyncio.to_thread(verify, path)
        assert books.problems == []
        found = await asyncio.to_thread(asked, path, "key")
        counts.append(books.settled)
        counts.append(sum(row.requests for row in found))
    stop.set()
    total = await serving
    assert counts == sorted(counts)
    await ledger.close()
    assert verify(path).settled == total
    assert asked(path)[0].cost_nano == 40 * total


async def test_reading_with_no_gateway_and_starting_one_again(store: Path, ledger: SQLiteLedger):
    await ledger.close()
    books = verify(store)
    assert (books.settled, books.released, books.unknown, books.open, books.problems) == (3, 1, 1, 1, [])
    assert len(asked(store, "key")) == 2
    again = await SQLiteLedger.open(store, clock=StoppedClock())
    assert again.recovered == 1
    await again.close()


@pytest.mark.parametrize(
    ("planted", "problem"),
    [
        ("DELETE FROM intents WHERE id = 'a1'", "settlement a1 has no intent"),
        ("UPDATE settlements SET charged = -5 WHERE id = 'a1'", "settlement a1 has an amount that is not"),
        ("UPDATE settlements SET images = -5 WHERE id = 'a1'", "settlement a1 has a count that is not"),
        ("UPDATE settlements SET cached_input_tokens = 11 WHERE id = 'a1'", "settlement a1 has a count that is not"),
        ("UPDATE intents SET reserved = -1 WHERE id = 'a1'", "intent a1 reserves an amount that is not"),
        ("UPDATE settlements SET charged = 1 WHERE state = 'released'", "settlement released is released, and yet"),
        ("UPDATE settlements SET state = 'paid' WHERE id = 'a1'", "settlement a1 is in no known state"),
        ("UPDATE settlements SET upstream_cost = 31 WHERE id = 'a1'", "settlement a1 has attempts whose costs do not"),
        ("UPDATE settlements SET attempts = '[]' WHERE id = 'a1'", "settlement a1 has attempts whose costs do not"),
        ("UPDATE tasks SET exchange = 'gone' WHERE task_id = 'task-1'", "task task-1 was bought for an exchange that"),
        ("UPDATE settlements SET attempts = '[' WHERE id = 'a1'", "settlement a1 has attempts whose costs do not"),
    ],
)
async def test_what_was_planted_is_found(store: Path, ledger: SQLiteLedger, planted: str, problem: str):
    await ledger.close()
    assert verify(store).problems == []
    tamper(store, planted)
    own = [found for found in verify(store).problems if not found.startswith("SQLite")]
    assert len(own) == 1
    assert own[0].startswith(problem)


async def test_guards_that_were_lifted_and_many_wrong_rows_are_summed_up(store: Path, ledger: SQLiteLedger):
    for number in range(12):
        ledger.settle(settlement(f"stray{number:02}"))
    await ledger.close()
    tamper(store)
    problems = verify(store).problems
    assert len(problems) == 11
    assert problems[-1] == "settlement … has no intent: 2 more"


async def test_attempts_of_several_upstreams_add_up(ledger: SQLiteLedger, path: Path):
    lost = AttemptRecord("piapi", "https://api.piapi.ai", "first", "http_524", 2, 20, "suspected_duplicate")
    free = AttemptRecord("piapi", "https://proxy.piapi.ai", "first", "connect_refused", 0)
    won = AttemptRecord("backup", "https://api.openai.com", "second", "ok", 4, 25)
    await ledger.reserve(intent("a"))
    ledger.settle(settlement("a", attempts=(lost, free, won), upstream="backup", upstream_cost=45))
    await ledger.close()
    assert verify(path).problems == []
    assert asked(path, "upstream") == [UsageRow({"upstream": "backup"}, 1, 10, 4, 5, 0, 40)]

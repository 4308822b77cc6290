"""The books over the admin listener: held against what PiAPI says is left, and relieved of old rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway.billing.ledger import LedgerService
from gateway.core.types import Credential, Dialect, Endpoint, Upstream
from gateway.endpoints.admin.door import AdminDoor
from gateway.endpoints.admin.routes import AdminSource, admin_routes
from gateway.sandbox import Sandbox
from gateway.server.dispatch import Dispatch
from gateway.stores.records import AttemptRecord, ExchangeRecord
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify
from gateway.stores.sqlite.store import SQLiteStore
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from tests.in_force import Settings
from tests.raw_client import Answer, RawClient
from tests.stores.makers import settlement as settled

RECONCILE, PRUNE, VERIFY = "/admin/v1/reconcile", "/admin/v1/prune", "/admin/v1/verify"
ADMIN_KEY = "admin-0123456789abcdef"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
CENT = 10_000_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def wall_ns(self) -> int:
        return int(self.now.timestamp()) * 10**9

    def monotonic(self) -> float:
        return 0.0


class Desk:
    """An admin listener with its books, a sandbox to ask, and a client."""

    def __init__(self, ledger: SQLiteLedger, pool: ConnectionPool, sandbox: Sandbox, clock: Clock) -> None:
        self.ledger, self.sandbox, self.clock = ledger, sandbox, clock
        self.piapi = _upstream("piapi", "piapi", [sandbox.urls["api"], sandbox.urls["proxy"]], ["first", "second"])
        self.backup = _upstream("backup", "openai", [sandbox.urls["backup"]], ["spare"])
        self.settings = Settings(upstreams={"piapi": self.piapi, "backup": self.backup})
        self.crashes: list[Exception] = []
        desk = LedgerService(
            SQLiteStore(ledger),
            pool,
            self.settings,
            wall_ns=clock.wall_ns,
        )
        self.app = Dispatch({}, admin_routes(_source(desk)), lambda _, crash: self.crashes.append(crash))
        self.client: RawClient
        self.connect: Any

    async def ask(self, path: str, fields: Any = None, *, key: str = ADMIN_KEY) -> Answer:
        body = b"" if fields is None else json.dumps(fields).encode()
        return await self.client.request("POST", path, body, f"Authorization: Bearer {key}")

    async def done(self, path: str, fields: Any = None) -> Any:
        answer = await self.ask(path, fields)
        assert answer.status == 200, answer.body
        return answer.json()

    async def refused(self, path: str, fields: Any) -> tuple[int, str | None, str | None]:
        answer = await self.ask(path, fields)
        error = answer.error()
        return answer.status, error["code"], error["param"]

    async def bought(self, id: str, cost: int, key: str = "first", state: Any = "settled") -> None:
        """An exchange that came in now."""
        at_ns = self.clock.wall_ns()
        await self.ledger.reserve(ExchangeRecord(id, at_ns, "alice", None, "chat", "gpt-4o", id))
        self.ledger.settle(settlement(id, at_ns, cost, key, state))
        while self.ledger.pending:  # settlements are gathered for a moment
            await asyncio.sleep(0.005)


def settlement(id: str, at_ns: int, cost: int, key: str = "first", state: Any = "settled") -> ExchangeRecord:
    """How an exchange ended that cost so many nano-dollars."""
    return settled(
        id, at_ns=at_ns, state=state, upstream="piapi", endpoint=None, credential=key,
        attempts=(AttemptRecord("piapi", "https://a", key, "ok", 4, cost),), input_tokens=1,
        cached_input_tokens=0, output_tokens=1, images=0, charged=0 if state == "released" else cost,
        upstream_cost=cost, confidence="measured", status=200,
    )  # fmt: skip


def _upstream(name: str, dialect: Dialect, urls: list[str], keys: list[str]) -> Upstream:
    endpoints = []
    for url in urls:
        place = urlsplit(url)
        assert place.hostname is not None
        endpoints.append(Endpoint(url, "http", place.hostname, place.port or 80))
    return Upstream(name, dialect, tuple(endpoints), tuple(Credential(key, f"{name}-key-{key}") for key in keys))


def _source(desk: LedgerService) -> AdminSource:
    async def nothing(*_: Any) -> list[Any]:
        return []

    return AdminSource(
        door=AdminDoor(Settings(admin_key=ADMIN_KEY), lambda _: "192.0.2.1", count(0.0, 60.0).__next__),
        open_metrics=lambda: False,
        metrics=lambda _: (iter(()), "text/plain"),
        usage=nothing,
        upstreams=nothing,  # type: ignore[arg-type]  # no test here asks for them
        keys=None,  # type: ignore[arg-type]  # no test here asks for them
        ledger=desk,
        reports=None,  # type: ignore[arg-type]  # no test here asks for them
        jobs=None,  # type: ignore[arg-type]  # no test here asks for them
        deliveries=None,  # type: ignore[arg-type]  # no test here asks for them
        reload=nothing,
    )


@pytest.fixture
async def desk(tmp_path: Path, serve: Any, connect: Any) -> AsyncIterator[Desk]:
    clock = Clock()
    ledger = await SQLiteLedger.open(tmp_path / "gateway.db", clock=clock)
    pool = ConnectionPool(SystemDialer())
    async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
        desk = Desk(ledger, pool, sandbox, clock)
        server = await serve(desk.app)
        desk.connect = partial(connect, server)
        desk.client = await desk.connect()
        yield desk
        await pool.close()
    await ledger.close()
    assert desk.crashes == []


class TestReconciling:
    async def test_the_first_time_there_is_nothing_to_compare(self, desk: Desk) -> None:
        answer = await desk.done(RECONCILE)
        assert (answer["object"], answer["at"], answer["unanswered"]) == ("reconciliation", "2026-11-22T08:00:00Z", [])
        assert [(row["upstream_keys"], row["balance_now_usd"], row["since"]) for row in answer["data"]] == [
            (["first"], 12.3456789, None),
            (["second"], 12.3456789, None),
        ]
        assert {row["note"] for row in answer["data"]} == {"the first snapshot: nothing to compare yet"}
        asked = sorted((request.path, request.key) for request in desk.sandbox.requests)
        assert asked == [("/account/info", "piapi-key-first"), ("/account/info", "piapi-key-second")]
        assert desk.sandbox.bill == []

    async def test_later_it_tells_what_was_drawn_and_what_is_owed(self, desk: Desk) -> None:
        await desk.done(RECONCILE)
        await desk.bought("one", 2 * CENT)
        await desk.bought("two", CENT, state="unknown")
        await desk.bought("three", CENT, "second")
        await self._draw_six_cents(desk)
        desk.clock.now += timedelta(hours=1)
        first, second = (await desk.done(RECONCILE))["data"]
        assert first == {
            "upstream": "piapi",
            "upstream_keys": ["first"],
            "since": "2026-11-22T08:00:00Z",
            "until": "2026-11-22T09:00:00Z",
            "balance_then_usd": 12.3456789,
            "balance_now_usd": 12.2856789,
            "drawn_usd": 0.06,
            "owed_usd": 0.03,
            "difference_usd": 0.03,
            "note": None,
        }
        assert (second["drawn_usd"], second["owed_usd"], second["difference_usd"]) == (0.0, 0.01, -0.01)

    async def _draw_six_cents(self, desk: Desk) -> None:
        """Somebody buys three images with the first key, at two cents each, without the gateway."""
        order = {"model": "Qubico/flux1-dev-advanced", "task_type": "txt2img", "input": {"prompt": "a bear"}}
        desk.sandbox.script("ok;ready=0.001", path="/api/v1/task", times=3)
        async with httpx2.AsyncClient(trust_env=False) as client:
            for _ in range(3):
                url = f"{desk.sandbox.urls['api']}/api/v1/task"
                answer = await client.post(url, json=order, headers={"x-api-key": "piapi-key-first"})
                assert answer.json()["code"] == 200
        await desk.sandbox.until(lambda: len(desk.sandbox.bill) == 3)

    async def test_an_account_that_does_not_answer_is_named_and_the_others_are_not_held_up(self, desk: Desk) -> None:
        desk.sandbox.script("server_error", key="first", times=2)
        answer = await desk.done(RECONCILE)
        assert answer["unanswered"] == [{"upstream": "piapi", "upstream_key": "first"}]
        assert [row["upstream_keys"] for row in answer["data"]] == [["second"]]

    async def test_a_window_shows_the_snapshots_within_it(self, desk: Desk) -> None:
        desk.settings.upstreams = {"piapi": desk.piapi}
        for _ in range(3):
            await desk.done(RECONCILE)
            desk.clock.now += timedelta(hours=1)
        moments = [row["since"][11:13] for row in (await desk.done(RECONCILE, {"since": "2h"}))["data"]]
        assert moments == ["09", "10", "09", "10"]
        earlier = await desk.done(RECONCILE, {"since": "2026-11-22T08:00", "until": "2026-11-22T09:30"})
        assert [row["until"] for row in earlier["data"]] == ["2026-11-22T09:00:00Z"] * 2
        assert (await desk.done(RECONCILE, {"since": None, "until": None}))["data"] != []

    async def test_the_configuration_in_force_says_who_is_asked(self, desk: Desk) -> None:
        desk.settings.upstreams = {"backup": desk.backup}
        assert (await desk.done(RECONCILE))["data"] == []
        assert desk.sandbox.requests == []

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({"since": "soon"}, "invalid_value", None),
            ({"since": "1h", "until": "2h"}, "invalid_value", None),
            ({"since": 30}, "invalid_type", "since"),
            ({"before": "90d"}, "unknown_parameter", "before"),
        ],
    )
    async def test_what_makes_no_sense_asks_nobody(self, desk: Desk, fields: Any, code: str, param: str | None) -> None:
        assert await desk.refused(RECONCILE, fields) == (400, code, param)
        assert desk.sandbox.requests == []

    async def test_a_ledger_that_cannot_be_written_says_so(self, desk: Desk) -> None:
        await desk.ledger.close()
        assert await desk.refused(RECONCILE, {}) == (503, "ledger_unavailable", None)


class TestPruning:
    @pytest.fixture
    async def old(self, desk: Desk) -> Desk:
        """Three requests of October and one of today."""
        desk.clock.now = datetime(2026, 10, 1, tzinfo=UTC)
        await desk.bought("settled", CENT)
        await desk.bought("released", 0, state="released")
        await desk.bought("unknown", CENT, state="unknown")
        desk.clock.now = NOW
        await desk.bought("young", CENT)
        return desk

    async def test_a_dry_run_counts_and_leaves_everything(self, old: Desk) -> None:
        counted = await old.done(PRUNE, {"before": "2026-11-01", "dry_run": True})
        assert counted == {
            "object": "pruning",
            "dry_run": True,
            "before": "2026-11-01T00:00:00Z",
            "settled": 1,
            "released": 1,
        }
        assert verify(old.ledger.path).pruned == 0

    async def test_what_is_over_leaves_and_what_is_unknown_stays(self, old: Desk) -> None:
        pruned = await old.done(PRUNE, {"before": "30d"})
        assert (pruned["dry_run"], pruned["settled"], pruned["released"]) == (False, 1, 1)
        books = verify(old.ledger.path)
        assert (books.settled, books.released, books.unknown, books.pruned, books.problems) == (1, 0, 1, 2, [])
        again = await old.done(PRUNE, {"before": "30d"})
        assert (again["settled"], again["released"]) == (0, 0)

    @pytest.mark.parametrize("before", ["0s", "2030-01-01", "1h"])
    async def test_the_last_three_days_stay_whatever_is_asked(self, old: Desk, before: str) -> None:
        pruned = await old.done(PRUNE, {"before": before})
        assert pruned["before"] == "2026-11-19T08:00:00Z"
        assert verify(old.ledger.path).settled == 1

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            (None, "missing_required_parameter", "before"),
            ({"before": None}, "missing_required_parameter", "before"),
            ({"before": "soon"}, "invalid_value", "before"),
            ({"before": 90}, "invalid_type", "before"),
            ({"before": "90d", "dry_run": "no"}, "invalid_type", "dry_run"),
            ({"before": "90d", "all": True}, "unknown_parameter", "all"),
        ],
    )
    async def test_what_makes_no_sense_removes_nothing(
        self, old: Desk, fields: Any, code: str, param: str | None
    ) -> None:
        assert await old.refused(PRUNE, fields) == (400, code, param)
        assert verify(old.ledger.path).pruned == 0


class TestVerifying:
    async def verified(self, desk: Desk, key: str = ADMIN_KEY) -> Answer:
        return await desk.client.request("GET", VERIFY, b"", f"Authorization: Bearer {key}")

    async def test_right_books_are_counted_and_have_no_problems(self, desk: Desk) -> None:
        await desk.bought("one", CENT)
        await desk.bought("two", 0, state="released")
        await desk.bought("three", CENT, state="unknown")
        await desk.done(RECONCILE)  # all that was handed over is written before it
        answer = await self.verified(desk)
        assert answer.status == 200
        assert answer.json() == {
            "object": "verification",
            "settled": 1,
            "released": 1,
            "unknown": 1,
            "open": 0,
            "corrected": 0,
            "pruned": 0,
            "problems": [],
        }

    async def test_books_that_are_wrong_are_a_good_answer_that_says_so(self, desk: Desk) -> None:
        desk.ledger.settle(settlement("planted", desk.clock.wall_ns(), CENT))
        await desk.done(RECONCILE)
        found = (await self.verified(desk)).json()
        assert (found["settled"], found["problems"]) == (1, ["settlement planted has no intent"])

    async def test_only_the_admin_gets_in_and_only_to_read(self, desk: Desk) -> None:
        assert (await self.verified(desk, "admin-0123456789abcdeX")).status == 401
        desk.client = await desk.connect()
        assert (await desk.ask(VERIFY)).status == 405


@pytest.mark.parametrize("path", [RECONCILE, PRUNE])
async def test_only_the_admin_gets_in_and_only_by_post(desk: Desk, path: str) -> None:
    assert (await desk.ask(path, {"before": "90d"}, key="admin-0123456789abcdeX")).status == 401
    desk.client = await desk.connect()
    answer = await desk.client.request("GET", path, b"", f"Authorization: Bearer {ADMIN_KEY}")
    assert (answer.status, answer.error()["code"]) == (405, "method_not_allowed")
    assert desk.sandbox.requests == []

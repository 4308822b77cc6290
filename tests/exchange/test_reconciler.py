"""What became of exchanges in doubt: PiAPI is asked, the ledger corrected, the budgets told.

A real ledger and a sandbox over real sockets; only the wall clock is moved by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway.core.images.task_facts import TaskFacts, TaskPrice
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Credential, Endpoint, Price, Route, Target, Upstream
from gateway.exchange import reconciler as module
from gateway.exchange.reconciler import Reconciler
from gateway.exchange.services import Services
from gateway.runtime.tasks import TrackedTasks
from gateway.sandbox import Sandbox
from gateway.stores.records import (
    AttemptRecord,
    BookedPrice,
    ExchangeRecord,
    PriceUse,
    TaskRecord,
    UnknownExchange,
    UsageRow,
)
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import usage, verify
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.redaction import Redactor
from gateway.telemetry.series import LabelSpace
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from tests.stores.makers import settlement

NOW = 1_700_000_000_000_000_000
HOUR = 3600 * 10**9
DAY = 24 * HOUR
DEV = 15_000_000
"""Nano-dollars of an image by flux-dev, in the catalogue as in the sandbox."""

ORDER = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a bear"}}


@dataclass
class Log:
    """Keeps what it is told."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    redactor: Redactor = field(default_factory=Redactor)

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    warning = info

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.lines if name == event]


@dataclass
class Shared:
    """Stands for the services: what the reconciler wants of them. It is its own snapshot and clock."""

    ledger: SQLiteLedger
    pool: ConnectionPool
    tasks: TrackedTasks
    routes: RouteTable
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=lambda: Metrics("1", LabelSpace()))
    now_ns: int = NOW
    most: int | None = None
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    points_per_usd: int = 10_000_000

    @property
    def budgets(self) -> Shared:
        return self

    def most_chargeable(self, *_: object) -> int | None:
        """What the budgets let an exchange be charged."""
        return self.most

    @property
    def clock(self) -> Shared:
        return self

    snapshot = clock

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class World:
    """A sandbox, books, and the reconciler between them. ``resolved``: what it told, in order."""

    def __init__(self, shared: Shared, sandbox: Sandbox, piapi: Upstream) -> None:
        self.shared, self.sandbox = shared, sandbox
        self.upstreams = shared.upstreams = {"piapi": piapi}
        self.resolved: list[tuple[str, int]] = []
        self.reconciler = self.new()

    def new(self) -> Reconciler:
        """As after a restart."""
        return Reconciler(
            cast("Services", self.shared),
            resolved=lambda exchange, charged: self.resolved.append((exchange, charged)),
        )

    async def order(self, scenario: str, key: str = "first") -> str:
        """A task that PiAPI was given; its id."""
        self.sandbox.script(scenario, path="/api/v1/task")
        async with httpx2.AsyncClient(trust_env=False) as client:
            url = f"{self.sandbox.urls['api']}/api/v1/task"
            answer = (await client.post(url, json=ORDER, headers={"x-api-key": f"the-{key}-key"})).json()
        return str(answer["data"]["task_id"])

    async def in_doubt(self, id: str, *tasks: str, key: str = "first", **changes: Any) -> None:
        """An exchange whose outcome is unknown, with its tasks. ``changes``: of the settlement, and ``at_ns``,
        ``pieces``.
        """
        ledger, at_ns, pieces = self.shared.ledger, changes.pop("at_ns", NOW), changes.pop("pieces", 1)
        route = "/v1/images/generations"
        await ledger.reserve(
            ExchangeRecord(id, at_ns, "alice", "growth", route, "flux-dev", id, 2 * DEV, pieces=pieces)
        )
        for task in tasks:
            await ledger.record_task(TaskRecord(task, "piapi", key, id, "alice", "flux-dev", at_ns))
        plain: dict[str, Any] = {
            "state": "unknown", "upstream": None, "endpoint": None, "credential": None, "attempts": (),
            "input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0, "images": 0, "charged": 0,
            "upstream_cost": 0, "confidence": "unknown", "status": 504,
        }  # fmt: skip
        ledger.settle(settlement(id, at_ns=at_ns, **(plain | changes)))
        await self.unknown()

    async def unknown(self) -> list[UnknownExchange]:
        """What is still in doubt, with everything settled before written down."""
        await self.shared.ledger.write(lambda _: None)
        return await self.shared.ledger.unknown_exchanges(0)

    def used(self) -> UsageRow:
        [row] = usage(self.shared.ledger.path, since_ns=0, until_ns=2**62, by=["upstream"], time_zone=UTC)
        return row


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
        hosts = tuple(_endpoint(sandbox.urls[role]) for role in ("api", "proxy"))
        piapi = Upstream(
            "piapi", "piapi", hosts, (Credential("first", "the-first-key"), Credential("second", "the-second-key"))
        )
        target = Target(piapi, "Qubico/flux1-dev", "task", Price(image=DEV))
        failures: list[BaseException] = []
        shared = Shared(
            ledger=await SQLiteLedger.open(tmp_path / "gateway.db", clock=cast("Any", _Stopped())),
            pool=ConnectionPool(SystemDialer()),
            tasks=TrackedTasks(lambda _, error: failures.append(error)),
            routes=RouteTable([Route("flux-dev", (target,))]),
        )
        yield World(shared, sandbox, piapi)
        await shared.tasks.cancel_all()
        await shared.pool.close()
        books = verify(shared.ledger.path)
        await shared.ledger.close()
        assert books.problems == []
        assert failures == []


class _Stopped:
    def wall_ns(self) -> int:
        return NOW


def _endpoint(url: str) -> Endpoint:
    place = urlsplit(url)
    assert place.hostname is not None
    return Endpoint(url, "http", place.hostname, place.port or 80)


DONE, RUNNING, FAILED = "ok;polls=0", "task_never", "task_failed;polls=0"


async def test_a_task_that_was_done_is_charged_at_what_it_cost(world: World) -> None:
    task = await world.order(DONE)
    await world.in_doubt("x", task)
    await world.reconciler.look()
    [line] = world.sandbox.bill
    assert world.resolved == [("x", line.amount)]
    assert await world.unknown() == []
    price = PriceUse(BookedPrice("piapi", "Qubico/flux1-dev", '{"image":0.015}'), NOW, 1)
    assert world.used() == UsageRow({"upstream": "piapi"}, 1, 0, 0, 0, 1, DEV, prices=(price,))
    assert world.shared.log.of("reconciled") == [
        {
            "exchange": "x",
            "key": "alice",
            "model": "flux-dev",
            "state": "settled",
            "reason": "task completed",
            "cost_usd": "0.015",
            "task_ids": [task],
        }
    ]
    [asked] = [request for request in world.sandbox.requests if request.method == "GET"]
    assert (asked.path, asked.key) == (f"/api/v1/task/{task}", "the-first-key")


async def test_a_piece_that_may_have_been_bought_without_a_trace_leaves_it_in_doubt(world: World) -> None:
    """Killed between the first task of two and the second: what is known is not all."""
    await world.in_doubt("half", await world.order(DONE), pieces=2)
    await world.in_doubt("both", await world.order(DONE), await world.order(DONE), pieces=2)
    await world.reconciler.look()
    assert world.resolved == [("both", 2 * DEV)]
    [half] = await world.unknown()
    assert (half.id, half.untold) == ("half", 1)


async def test_with_the_key_that_made_it(world: World) -> None:
    await world.in_doubt("x", await world.order(DONE, "second"), key="second")
    await world.reconciler.look()
    assert world.resolved == [("x", DEV)]
    assert [request.key for request in world.sandbox.requests if request.method == "GET"] == ["the-second-key"]


async def test_points_come_before_the_price_and_the_price_where_there_are_none(world: World) -> None:
    await world.in_doubt("dear", await world.order("ok;polls=0;consume=300000"))
    await world.in_doubt("silent", await world.order("ok;polls=0;consume=0"))
    await world.reconciler.look()
    assert world.resolved == [("dear", 2 * DEV), ("silent", DEV)]


async def test_of_a_model_without_a_price_the_cost_stays_unknown(world: World) -> None:
    world.shared.routes = RouteTable([])
    await world.in_doubt("x", await world.order("ok;polls=0;consume=0"))
    await world.reconciler.look()
    assert world.resolved == [("x", 0)]
    assert world.shared.log.of("reconciled")[0]["reason"] == "task completed, price unknown"


async def test_a_task_that_failed_costs_nothing_and_frees_what_was_held(world: World) -> None:
    await world.in_doubt("x", await world.order(FAILED))
    await world.reconciler.look()
    assert world.resolved == [("x", 0)]
    books = verify(world.shared.ledger.path)
    assert (books.released, books.unknown, books.corrected) == (1, 0, 1)
    assert world.sandbox.bill == []


async def test_a_task_that_still_runs_is_asked_after_again_later(world: World) -> None:
    task = await world.order("ok;polls=1")
    await world.in_doubt("x", task)
    await world.reconciler.look()
    assert world.resolved == []
    assert [each.id for each in await world.unknown()] == ["x"]
    await world.reconciler.look()
    assert world.resolved == [("x", DEV)]
    await world.reconciler.look()
    assert world.resolved == [("x", DEV)], "once is enough"


async def test_two_that_look_at_once_charge_once(world: World) -> None:
    await world.in_doubt("x", await world.order(DONE))
    await asyncio.gather(world.reconciler.look(), world.new().look())
    assert world.resolved == [("x", DEV)]
    assert len(world.shared.log.of("reconciled")) == 1


async def test_an_exchange_of_several_tasks_waits_for_all_of_them(world: World) -> None:
    done, failed, slow = [await world.order(scenario) for scenario in (DONE, FAILED, "ok;polls=1")]
    await world.in_doubt("x", done, failed, slow)
    await world.reconciler.look()
    assert world.resolved == []
    await world.reconciler.look()
    assert world.resolved == [("x", 2 * DEV)]
    assert world.shared.log.of("reconciled")[0]["reason"] == "2 tasks completed, 1 failed"
    assert sum(line.amount or 0 for line in world.sandbox.bill) == 2 * DEV


async def test_an_exchange_without_a_task_cannot_be_resolved(world: World) -> None:
    await world.in_doubt("x")
    await world.reconciler.look()
    assert world.resolved == []
    assert world.sandbox.requests == []


async def test_what_other_attempts_may_have_cost_stays_on_our_side(world: World) -> None:
    lost = AttemptRecord("piapi", "https://a", "first", "task_unknown", 2, DEV, "suspected_duplicate")
    task = await world.order(DONE)
    known = AttemptRecord("piapi", "https://a", "first", "task_poll", 2, DEV, "unknown", task_id=task)
    await world.in_doubt("x", attempts=(lost, known), upstream_cost=2 * DEV, upstream="piapi", credential="first")
    await world.reconciler.look()
    assert world.resolved == [("x", DEV)]
    [correction] = await world.shared.ledger.write(_corrections)
    assert correction == ("settled", DEV, 2 * DEV, 1, "piapi", "first")


def _corrections(store: Any) -> list[Any]:
    found: list[Any] = store.execute(
        "SELECT state, charged, upstream_cost, images, upstream, credential FROM corrections"
    ).fetchall()
    return found


@pytest.mark.parametrize("fault", ["server_error", "cf_524", "reset_before_head", "html_200"])
async def test_a_host_that_fails_is_followed_by_the_next(world: World, fault: str) -> None:
    await world.in_doubt("x", await world.order(DONE))
    world.sandbox.script(f"{fault};method=GET", role="api")
    await world.reconciler.look()
    assert world.resolved == [("x", DEV)]


async def test_where_no_host_answers_it_is_tried_once_a_round(world: World) -> None:
    tasks = [await world.order(DONE) for _ in range(3)]
    for number, task in enumerate(tasks):
        await world.in_doubt(f"x{number}", task)
    world.sandbox.set_default("server_error")
    await world.reconciler.look()
    assert world.resolved == []
    gets = [request for request in world.sandbox.requests if request.method == "GET"]
    assert [request.role for request in gets] == ["api", "proxy"]
    assert [fields["task_id"] for fields in world.shared.log.of("reconciling")] == [tasks[0]]
    world.sandbox.set_default("ok")
    await world.reconciler.look()
    assert world.resolved == [("x0", DEV), ("x1", DEV), ("x2", DEV)]


async def test_a_key_that_is_gone_does_not_hold_up_the_others(world: World) -> None:
    await world.in_doubt("gone", await world.order(DONE, "old"), key="old")
    await world.in_doubt("x", await world.order(DONE))
    await world.reconciler.look()
    assert world.resolved == [("x", DEV)]
    assert [fields["code"] for fields in world.shared.log.of("reconciling")] == ["upstream_auth_failed"]


@pytest.mark.parametrize("answer", ["status;code=404", "soft_error;code=404"])
async def test_a_task_that_piapi_does_not_know_is_asked_after_again(world: World, answer: str) -> None:
    await world.in_doubt("x", await world.order(DONE))
    world.sandbox.script(f"{answer};method=GET", times=None)
    await world.reconciler.look()
    assert world.resolved == []
    world.sandbox.clear_scripts()
    await world.reconciler.look()
    assert world.resolved == [("x", DEV)]


class TestAge:
    async def test_after_a_day_no_upstream_is_asked_and_it_is_reported_once(self, world: World) -> None:
        task = await world.order(DONE)
        await world.in_doubt("x", task)
        world.shared.now_ns = NOW + DAY
        await world.reconciler.look()
        await world.reconciler.look()
        assert world.resolved == []
        assert [request.method for request in world.sandbox.requests] == ["POST"]
        [told] = world.shared.log.of("unknown_released")
        assert (told["exchange"], told["key"], told["team"], told["reserved_usd"], told["task_ids"]) == (
            "x", "alice", "growth", "0.03", [task],
        )  # fmt: skip
        assert "usage --reconcile" in told["advice"]

    async def test_until_then_it_is_asked_after(self, world: World) -> None:
        await world.in_doubt("x", await world.order(DONE))
        world.shared.now_ns = NOW + DAY - 1
        await world.reconciler.look()
        assert world.resolved == [("x", DEV)]
        assert world.shared.log.of("unknown_released") == []

    async def test_a_restart_reports_what_is_not_two_days_old(self, world: World) -> None:
        await world.in_doubt("x")
        for moment, reports in ((NOW + DAY, 1), (NOW + 2 * DAY - 1, 2), (NOW + 2 * DAY, 2)):
            world.shared.now_ns = moment
            await world.new().look()
            assert len(world.shared.log.of("unknown_released")) == reports


class TestRounds:
    async def test_the_first_comes_at_once_and_others_follow(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "EVERY", 0.01)
        await world.in_doubt("x", await world.order("ok;polls=3"))
        running = world.shared.tasks.spawn(world.reconciler.run(), "reconcile")
        await _until(lambda: bool(world.resolved))
        assert not running.done()
        assert world.resolved == [("x", DEV)]
        assert len([request for request in world.sandbox.requests if request.method == "GET"]) == 4

    async def test_a_ledger_that_cannot_be_used_is_tried_again_in_the_next(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(module, "EVERY", 0.01)
        await world.in_doubt("x", await world.order(DONE))
        path = world.shared.ledger.path
        path.rename(path.with_name("elsewhere.db"))
        running = world.shared.tasks.spawn(world.reconciler.run(), "reconcile")
        await _until(lambda: caplog.text.count("what is unknown cannot be looked up") > 1)
        path.with_name("elsewhere.db").rename(path)
        await _until(lambda: bool(world.resolved))
        assert world.resolved == [("x", DEV)]
        assert not running.done()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


class TestAsynchronousPictures:
    """What is billed by tokens is corrected by the tokens that are told, else by the most they can be."""

    @staticmethod
    async def ordered(world: World, scenario: str, **fields: Any) -> str:
        path = "/api/v1/images/generations/async"
        price = Price(
            input=3_750_000_000, image_input=6 * 10**9, output=22_500_000_000, picture_tokens={"low": 16, "high": 48}
        )
        target = Target(world.upstreams["piapi"], "gpt-image-2.5-flare", "images_async", price)
        world.shared.routes = RouteTable([Route("flux-dev", (target,))])
        world.sandbox.script(scenario, path=path)
        async with httpx2.AsyncClient(trust_env=False) as client:
            order = {"model": "gpt-image-2.5-flare", "prompt": "a bear", **fields}
            headers = {"x-api-key": "the-first-key"}
            answer = (await client.post(f"{world.sandbox.urls['api']}{path}", json=order, headers=headers)).json()
        return str(answer.get("task_id") or answer["data"]["task_id"])

    @pytest.mark.parametrize("shape", ["top", "envelope", "url"])
    async def test_by_its_usage(self, world: World, shape: str) -> None:
        task = await self.ordered(world, f"ok;polls=0;picture={shape}", quality="low")
        await world.in_doubt("x", task)
        await world.reconciler.look()
        assert world.resolved == [("x", 2 * 3_750 + 196 * 22_500)]
        assert world.sandbox.billed == 2 * 3_750 + 196 * 22_500

    async def test_by_its_bound_where_none_is_told(self, world: World) -> None:
        task = await self.ordered(world, "ok;polls=0;usage=0", quality="low", size="1536x1024")
        await world.in_doubt("x", task)
        await world.reconciler.look()
        assert world.resolved == [("x", len("a bear") * 3_750 + 158 * 22_500)]

    async def test_at_nothing_where_it_failed(self, world: World) -> None:
        await world.in_doubt("x", await self.ordered(world, "task_failed;polls=0"))
        await world.reconciler.look()
        assert world.resolved == [("x", 0)]


async def test_a_task_that_is_priced_by_a_field_is_corrected_by_what_it_was_asked_for(world: World) -> None:
    facts = TaskFacts(price=TaskPrice(image=9 * DEV, by="prompt", values={"a bear": 3 * DEV}))
    target = Target(world.upstreams["piapi"], "Qubico/flux1-dev", "task", Price(image=9 * DEV), {"txt2img": facts})
    world.shared.routes = RouteTable([Route("flux-dev", (target,))])
    await world.in_doubt("x", await world.order("ok;polls=0;consume=0"))
    await world.reconciler.look()
    assert world.resolved == [("x", 3 * DEV)]

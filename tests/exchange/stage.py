"""A stage for one exchange: real limits, budgets, failover and metrics around a scripted upstream, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families

from gateway.billing.budgets import BudgetService, BudgetSettings
from gateway.core.errors import TransportError
from gateway.core.limits.key_limits import KeyLimits
from gateway.core.limits.task_slots import TaskSlots
from gateway.core.pricing.budgets import Budgets
from gateway.core.routing.refused_wishes import OwnWishes, no_wishes
from gateway.core.routing.route_table import RouteTable, UpstreamStates
from gateway.core.types import (
    NO_WISHES,
    Budget,
    Credential,
    Endpoint,
    FailoverPolicy,
    OperationName,
    Phase,
    Price,
    Route,
    Target,
    Upstream,
    Usage,
    VirtualKey,
    Wish,
)
from gateway.exchange.exchange import Exchange
from gateway.exchange.services import Gate, Services, Snapshot
from gateway.runtime.tasks import TrackedTasks
from gateway.runtime.wakeups import Wakeups
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.series import LabelSpace
from gateway.translate.commands import Conversation
from gateway.upstream.result_fetch import FetchAllowance, FetchLimits
from gateway.upstream.task_limiter import TaskLimiter
from tests.core.builders import Chance
from tests.exchange.fakes import Alerts, Books, Client, Clock, Log
from tests.exchange.scripted import Pool, Response, Script, Talk
from tests.images.orders import desk

PATH = "/v1/chat/completions"
CENT = 10_000_000
"""Nano-dollars."""

HOST = Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443)
OTHER_HOST = Endpoint("https://proxy.piapi.ai", "https", "proxy.piapi.ai", 443)
BACKUP_HOST = Endpoint("https://api.openai.com", "https", "api.openai.com", 443)
PIAPI = Upstream("piapi", "piapi", (HOST, OTHER_HOST), (Credential("first", "the-key-itself"),))
BACKUP = Upstream("backup", "openai", (BACKUP_HOST,), (Credential("spare", "the-other-key"),))
A_TOKEN = Price(input=1_000_000 * 1_000, output=1_000_000 * 1_000)
"""1,000 nano-dollars for each token."""

CHAT = Target(PIAPI, "gpt-4o", price=A_TOKEN)
CHAT_ELSEWHERE = Target(BACKUP, "gpt-4o", price=A_TOKEN)
ALICE = VirtualKey("alice", team="growth")
WITH_BUDGET = replace(ALICE, budget=Budget(10 * CENT, "total"))
THOUSAND = Usage(900, 0, 100)
"""Tokens that cost a tenth of a cent."""

REFUSED = TransportError("connect_refused", Phase.UNSENT, "refused")
LOST = TransportError("connection_reset", Phase.UNKNOWN, "reset")


class Mistake(Exception):
    """One of ours."""


def paid(operation: OperationName = "images", at: Upstream = PIAPI, cents: int = 2) -> Target:
    """A target that sells images by the piece."""
    return Target(at, "gpt-image", operation, Price(image=cents * CENT))


@dataclass
class Part:
    """One subrequest's work. ``bound``: what it costs at most; ``bounds``: where that depends on the upstream, by name.

    ``talks``: the conversations it was asked for, in order.
    """

    script: Script
    bound: int | None = 0
    bounds: Mapping[str, int | None] = field(default_factory=dict)
    supports: frozenset[str] = frozenset({"chat", "images", "task"})
    talks: list[Talk] = field(default_factory=list)

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        talk = Talk(self.script)
        self.talks.append(talk)
        return cast("Conversation", talk)

    def cost_reason(self, target: Target) -> str:
        return "words"

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        return self.bounds.get(target.upstream.name, self.bound)

    def wishes(self, target: Target) -> OwnWishes:
        return no_wishes(target)

    def stake(self, target: Target) -> int | None:
        return self.cost_bound(target, exact=True)


@dataclass
class Order:
    """What a client asked: a stream, or the answers of all parts joined by commas.

    ``preparing``: runs before anything is bought. ``mistake``: ours, made when the answers are put together.
    """

    parts: Sequence[Part]
    stream: bool = False
    preparing: Callable[[], Any] | None = None
    mistake: Exception | None = None
    tokens: int = 0
    route: str = PATH
    notes: Sequence[str] = ()
    bare: bool = False

    @property
    def prepares(self) -> bool:
        return self.preparing is not None

    async def prepare(self) -> None:
        assert self.preparing is not None
        await self.preparing()

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        if self.mistake is not None:
            raise self.mistake
        return None if self.stream else b",".join(talk.answer or b"" for talk in conversations)

    def rough_input_tokens(self) -> int:
        return self.tokens


def order(script: Script, *more: Script, bound: int | None = 0, **others: Any) -> Order:
    """One part for each script, each costing at most ``bound``."""
    return Order([Part(each, bound) for each in (script, *more)], **others)


class Stage:
    """A gateway around scripted answers, and one client. ``answers``: of the upstreams, in the order they are asked."""

    def __init__(
        self,
        *answers: Response | TransportError,
        targets: Sequence[Target] = (CHAT, CHAT_ELSEWHERE),
        key: VirtualKey = ALICE,
        settings: BudgetSettings | None = None,
        in_flight: int = 10,
        heartbeat: float = 0.0,
        policy: FailoverPolicy | None = None,
    ) -> None:
        self.key = key
        self.route = Route("gpt-4o", tuple(targets))
        self.client = Client()
        self.ledger = Books()
        self.pool = Pool(list(answers))
        self.log = Log()
        self.alerts = Alerts()
        self.crashes: list[BaseException] = []
        self.tasks = TrackedTasks(lambda _, error: self.crashes.append(error))
        self.task_limit: int | None = None
        self.links: dict[str, bytes] = {}
        upstreams = {target.upstream.name: target.upstream for target in targets}
        self.metrics = Metrics("1", labels(upstreams, key))
        clock = Clock()
        budgets = BudgetService(
            Budgets(UTC, clock.wall_ns()),
            settings or BudgetSettings({}),
            keys=cast("Any", SimpleNamespace(keys=[key], named=lambda _: key)),
            ledger=cast("Any", self.ledger),
            clock=clock,
            log=cast("Any", self.log),
            metrics=self.metrics,
            alerts=self.alerts,
        )
        budgets.keys_changed()
        policy = policy or FailoverPolicy()
        self.services = Services(
            clock=clock,
            randomness=cast("Any", Chance(0.5)),
            ledger=cast("Any", self.ledger),
            metrics=self.metrics,
            log=cast("Any", self.log),
            pool=cast("Any", self.pool),
            limits=KeyLimits(),
            tokenizer=cast("Any", None),
            tasks=self.tasks,
            gate=Gate(in_flight),
            snapshot=Snapshot(
                routes=RouteTable([self.route]),
                states=UpstreamStates(upstreams.values(), policy),
                nonstream_heartbeat=heartbeat,
                body_limit=1 << 20,
                upload_limit=1 << 20,
                event_limit=32 << 20,
                image_orders=desk({}),
                upstreams=upstreams,
                points_per_usd=10_000_000,
            ),
            new_id=lambda: "exchange-1",
            task_limiter=TaskLimiter(TaskSlots(), self._ask_limit, self.tasks),
            wakeups=Wakeups(),
            budgets=budgets,
            images=self,
        )

    def set(self, **settings: Any) -> None:
        """Other settings come into force, as by a reload."""
        self.services.snapshot = replace(self.services.snapshot, **settings)

    async def _ask_limit(self, upstream: Upstream, credential: Credential) -> int | None:
        return self.task_limit

    def allowance(self) -> FetchAllowance:
        return FetchAllowance(FetchLimits())

    async def fetch(self, url: str, allowance: FetchAllowance) -> bytes:
        return self.links[url]

    async def keep(self, data: bytes, host: str | None, owner: str) -> str:
        url = f"http://127.0.0.1/images/{len(self.links)}"
        self.links[url] = data
        return url

    def exchange(self, order: Order, client: Client | None = None, **others: Any) -> Exchange:
        return Exchange(
            self.services, order, self.route, self.key, client or self.client, **{"sdk_retry": False, **others}
        )

    async def serve(self, order: Order, client: Client | None = None, **others: Any) -> Client:
        """One request from its beginning to its end; nothing may be left of it in the gateway."""
        client = client or self.client
        await self.exchange(order, client, **others).run()
        self.is_empty()
        return client

    async def serve_beside(self, order: Order) -> Client:
        """Another request, while the first one is under way."""
        client = Client()
        await self.exchange(order, client).run()
        return client

    def start(self, order: Order, client: Client | None = None, **others: Any) -> asyncio.Task[None]:
        """A request under way, for tests that do something to it."""
        return asyncio.get_running_loop().create_task(self.exchange(order, client, **others).run())

    def shut_down(self) -> None:
        """The drain time is over."""
        for running in self.services.gate:
            running.shut_down()

    def is_empty(self) -> None:
        """Nothing is in flight, and nothing was left behind."""
        assert len(self.services.gate) == 0
        assert self.services.gate.reading_on == 0
        assert self.figure("gateway_requests_in_flight") == 0

    @property
    def asked(self) -> list[str]:
        """The hosts that were asked, in order."""
        return [asked["host"] for asked in self.pool.asked]

    def reserved(self) -> int:
        """Nano-dollars of Alice's budget that are held."""
        return self.services.budgets.budgets.used(("key", "alice"), "total", self.services.clock.wall_ns())[1]

    def spent(self) -> int:
        """Nano-dollars that were charged to Alice's budget."""
        return self.services.budgets.budgets.used(("key", "alice"), "total", self.services.clock.wall_ns())[0]

    def figure(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        return figure(self.metrics, name, **labels)


def labels(upstreams: Collection[str], *keys: VirtualKey) -> LabelSpace:
    return LabelSpace(
        models=frozenset({"gpt-4o"}),
        upstreams=frozenset(upstreams),
        endpoints=frozenset({HOST.url, OTHER_HOST.url, BACKUP_HOST.url}),
        keys=frozenset(key.name for key in keys),
        teams=frozenset(key.team for key in keys if key.team is not None),
        routes=frozenset({PATH}),
    )


def figure(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics.render()[0].decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )

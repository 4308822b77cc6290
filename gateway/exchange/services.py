"""What the rooms share: the gateway's long-lived parts, and the snapshot of the configuration in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Protocol

from gateway.billing.budgets import BudgetService
from gateway.core.answer_cache import AnswerCache
from gateway.core.chance import Randomness
from gateway.core.client_address import Network
from gateway.core.limits.body_memory import BodyBudget
from gateway.core.limits.key_limits import Limits
from gateway.core.made_ids import MadeIds
from gateway.core.pricing.price_list import PriceList
from gateway.core.route_rules import Prefer
from gateway.core.routing.durations import LearnedDurations
from gateway.core.routing.route_table import RouteTable, UpstreamStates
from gateway.core.types import Upstream
from gateway.exchange.tokenizer import Tokenizer
from gateway.images.orders import ImageOrders
from gateway.runtime.ports import Clock
from gateway.runtime.tasks import TrackedTasks
from gateway.runtime.wakeups import Wakeups
from gateway.shared_state.alone import Alone
from gateway.shared_state.base import SharedState
from gateway.stores.base import Ledger
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.result_fetch import FetchAllowance
from gateway.upstream.task_limiter import TaskLimiter


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a configuration means while it is in force. A reload makes a new one; requests in flight keep theirs.

    ``nonstream_heartbeat``: seconds, 0 for none. ``body_limit``, ``upload_limit``: bytes of a JSON body and of a form.
    ``event_limit``: bytes of one event of an upstream's stream.
    ``image_orders``: makes operations of orders for images. ``upstreams``: by name.
    ``prices``: of all its models, for answers that name another model than was asked.
    ``cost_in_answers``: an answer's usage says what the key is charged.
    ``default_models``: kind of request → the model of one that names none.
    ``refused_teams``: those whose keys are refused, since their budget went with their place in the configuration.
    ``webhook_secret``: what PiAPI was told to send; empty while webhooks are off.
    ``hosts``, ``admin_hosts``: the names of the two listeners, besides those of any machine for itself.
    ``open_metrics``: whether metrics are told without the admin key.
    ``keeps_responses``: whether answers of the Responses API are kept, for ``responses_keep`` seconds and in
    ``responses_keep_max`` bytes.
    ``jobs_keep``: seconds that paid work is kept after its end; ``jobs_join``: that an equal re-send joins it.
    ``links_last``: upstreams' links to pictures are good for as long as that, or for as long as a picture is kept here.
    ``learns``: whether it is learned how long orders take. ``prefer``: what targets are put in order by, where their
    model does not say it.
    """

    routes: RouteTable
    states: UpstreamStates
    nonstream_heartbeat: float
    body_limit: int
    upload_limit: int
    event_limit: int
    image_orders: ImageOrders
    upstreams: Mapping[str, Upstream]
    points_per_usd: int
    prices: PriceList = field(default_factory=PriceList)
    cost_in_answers: bool = True
    default_models: Mapping[str, str] = field(default_factory=dict)
    refused_teams: Collection[str] = frozenset()
    time_zone: tzinfo = UTC
    webhook_secret: str = field(default="", repr=False)
    hosts: Collection[str] = frozenset()
    cors_origins: Collection[str] = frozenset()
    trusted_proxies: Sequence[Network] = ()
    admin_hosts: Collection[str] = frozenset()
    admin_key: str | None = field(default=None, repr=False)
    open_metrics: bool = False
    keeps_responses: bool = True
    responses_keep: float = 30 * 86_400.0
    responses_keep_max: int = 1 << 30
    jobs_keep: float = 3600.0
    jobs_join: float = 600.0
    links_last: bool = True
    learns: bool = True
    prefer: Prefer = "order"


class Images(Protocol):
    """Where images that were made come from and go to."""

    def allowance(self) -> FetchAllowance:
        """What all fetches for one answer may take."""
        ...

    async def fetch(self, url: str, allowance: FetchAllowance) -> bytes:
        """The image behind a link that an upstream named. Raises ResultUnavailable."""
        ...

    async def keep(self, data: bytes, host: str | None, owner: str) -> str:
        """Keep an image and return its link. Raises ResultUnavailable.

        ``host``: the host that the client asked by. ``owner``: the virtual key that it was made for.
        """
        ...


class Running(Protocol):
    """A request in flight, as the gate sees it."""

    def shut_down(self) -> None:
        """Stop soon: the drain time is over."""
        ...


class Gate:
    """How much is in flight, and whether more may come in."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: set[Running] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self.draining = False
        self.reading_on = 0
        """Streams read on after their client left."""

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        return iter(tuple(self._running))

    @property
    def full(self) -> bool:
        return len(self._running) >= self._limit

    def enter(self, running: Running) -> None:
        self._running.add(running)

    def leave(self, running: Running) -> None:
        self._running.discard(running)
        if not self._running:
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiting.clear()

    async def empty(self) -> None:
        """Return once nothing is in flight."""
        while self._running:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter


@dataclass(slots=True)
class Services:
    """The gateway's long-lived parts. Made once, in app/assembly.py; ``snapshot`` alone is ever replaced.

    ``gateway_id``: names this gateway among all that share its store, until its process ends.
    ``shared``: what it shares with them besides the store.
    """

    clock: Clock
    randomness: Randomness
    ledger: Ledger
    metrics: Metrics
    log: Log
    pool: ConnectionPool
    limits: Limits
    tokenizer: Tokenizer
    tasks: TrackedTasks
    gate: Gate
    snapshot: Snapshot
    new_id: Callable[[], str] = field(repr=False)
    task_limiter: TaskLimiter
    wakeups: Wakeups
    budgets: BudgetService
    images: Images
    bodies: BodyBudget = field(default_factory=BodyBudget)
    made_ids: MadeIds = field(default_factory=MadeIds)
    answers: AnswerCache = field(default_factory=AnswerCache)
    learned: LearnedDurations = field(default_factory=LearnedDurations)
    gateway_id: str = ""
    shared: SharedState = field(default_factory=Alone)

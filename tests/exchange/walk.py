"""One subrequest of a stage, walked without its exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.core.errors import GatewayError
from gateway.core.exchange_record import ExchangeRecord
from gateway.core.routing.learned_routing import LearnedRouting
from gateway.core.types import Phase, Route, Target, VirtualKey
from gateway.exchange.accounting import Account
from gateway.exchange.job import ExchangeJob
from gateway.exchange.services import Services, Snapshot
from gateway.exchange.subrequest import Subrequest
from gateway.upstream.result_fetch import FetchAllowance
from tests.exchange.fakes import Client
from tests.exchange.scripted import NEVER, Script
from tests.exchange.stage import Part, Stage, order


@dataclass
class Around:
    """What a subrequest knows of its exchange."""

    services: Services
    snapshot: Snapshot
    route: Route
    key: VirtualKey
    client: Client
    account: Account
    deadline: float
    allowed: Callable[[int, Target], bool]
    sdk_retry: bool = False
    job: ExchangeJob | None = None
    fetching: FetchAllowance | None = None
    routings: Sequence[LearnedRouting] = ()
    responded: list[tuple[int, bytes]] = field(default_factory=list)

    def may_cost(self, subrequest: int, target: Target) -> bool:
        return self.allowed(subrequest, target)

    async def respond(self, status: int, body: bytes) -> None:
        self.responded.append((status, body))


class HeldFor:
    """A job that is this gateway's for so many questions, and then another's."""

    id, gone = "job_1", False

    def __init__(self, questions: int) -> None:
        self._left = questions

    async def admitted(self, record: ExchangeRecord) -> None: ...

    async def held(self) -> bool:
        self._left -= 1
        return self._left >= 0


class Walk:
    """One subrequest of a stage's exchange, without the exchange. ``may_cost``: what the budgets say to each target."""

    def __init__(
        self,
        stage: Stage,
        script: Script,
        *,
        stream: bool = True,
        deadline: float = NEVER,
        may_cost: Callable[[int, Target], bool] = lambda number, target: True,
        job: ExchangeJob | None = None,
    ) -> None:
        self.stage = stage
        self.part = Part(script, bound=0)
        self.responded: list[tuple[int, bytes]] = []
        services = stage.services
        self.account = Account(services, cast("Any", order(script)), stage.route, stage.key, "req-1")
        self.account.reserved = True
        stage.client.hold(stream=stream, heartbeat=0, headers=lambda: ())
        around = Around(
            services,
            services.snapshot,
            stage.route,
            stage.key,
            stage.client,
            self.account,
            deadline,
            allowed=may_cost,
            job=job,
            responded=self.responded,
        )
        self.subrequest = Subrequest(around, self.part)

    async def runs(self) -> GatewayError | None:
        """To its end."""
        try:
            return await self.subrequest.run()
        finally:
            self.stage.client.release()

    def start(self) -> asyncio.Task[GatewayError | None]:
        """Under way, for tests that do something to it."""
        return asyncio.get_running_loop().create_task(self.runs())

    @property
    def outcomes(self) -> list[tuple[str, Phase]]:
        """How its attempts ended, in order."""
        self.account.settle(200)
        return [(attempt.outcome, Phase(attempt.phase)) for attempt in self.stage.ledger.row.attempts]

"""One subrequest of a stage, walked without its exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from gateway.core.errors import GatewayError
from gateway.core.types import Phase, Target
from gateway.exchange.accounting import Account
from gateway.exchange.subrequest import ExchangeContext, Subrequest
from tests.exchange.scripted import NEVER, Script
from tests.exchange.stage import Part, Stage, order


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
    ) -> None:
        self.stage = stage
        self.part = Part(script, bound=0)
        self.responded: list[tuple[int, bytes]] = []
        services = stage.services
        self.account = Account(services, cast("Any", order(script)), stage.route, stage.key, "req-1")
        self.account.reserved = True
        stage.client.hold(stream=stream, heartbeat=0, headers=lambda: ())
        context = ExchangeContext(
            services=services,
            snapshot=services.snapshot,
            route=stage.route,
            key=stage.key,
            client=stage.client,
            account=self.account,
            deadline=deadline,
            sdk_retry=False,
            respond=self._respond,
            loop=asyncio.get_running_loop(),
            may_cost=may_cost,
        )
        self.subrequest = Subrequest(context, self.part)

    async def _respond(self, status: int, body: bytes) -> None:
        self.responded.append((status, body))

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

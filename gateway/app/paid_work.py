"""The paid work of a running gateway: its jobs, what waits for them and is told of them, and what corrects the books of
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway.config import Config
from gateway.exchange.reconciler import Reconciler
from gateway.exchange.services import Services
from gateway.jobs.answers import AnswerFiles
from gateway.jobs.deliveries import Deliveries
from gateway.jobs.jobs import Jobs
from gateway.jobs.resuming import Resuming
from gateway.jobs.shared_jobs import SharedJobs
from gateway.jobs.telling import JobTelling
from gateway.jobs.waiting import Waiting
from gateway.responses.kept import KeptResponses
from gateway.stores.base import Store

HAND_OVER_WITHIN = 5.0
"""Seconds."""

FOLDER = "jobs"
"""Of large answers, within ``images.dir``."""


class PaidWork:
    """``waiting``: lets connections wait for jobs, and has them all. ``deliveries``: tells webhooks of their ends."""

    def __init__(self, config: Config, services: Services, store: Store, responses: KeptResponses) -> None:
        files = AnswerFiles(config.images.dir / FOLDER, config.images.keep_max)
        self._services = services
        fleet = store.fleet
        self._shared: SharedJobs | None = None
        if fleet is None:
            self._jobs, leases = Jobs(services, store.jobs, files), None
        else:
            leases = fleet.leases
            self._jobs = self._shared = SharedJobs(services, fleet.jobs, files, leases)
        self._reconciler = Reconciler(services, resolved=self._resolved, leases=leases)
        self._resuming = Resuming(services, self._jobs, self._reconciler, responses)
        self.deliveries = Deliveries(
            *(store.deliveries, services.pool, services.clock, services.randomness, services.log, services.tasks),
            fleet=fleet,
        )
        self.configure(config)
        self._telling = JobTelling(self._jobs, self.deliveries, services.clock)
        self.waiting = Waiting(services, self._jobs, self._telling)

    def lives(self, surely_alive: Callable[[], bool]) -> None:
        """Have what is bought here depend on whether no other gateway can have taken it over."""
        if self._shared is not None:
            self._shared.surely_alive = surely_alive

    def configure(self, config: Config) -> None:
        """From now on the webhooks of this configuration are told."""
        webhooks = {name: (webhook.url, webhook.secret) for name, webhook in config.webhooks.items()}
        self.deliveries.configure(webhooks, config.outward)

    async def take_up(self) -> None:
        """Take up what an earlier process left under way, and what webhooks are still to be told; begin to ask what
        became of what is unknown, and to forget what is old. Raises StoreError.
        """
        await self._resuming.begin()
        await self._telling.restore()
        self.deliveries.start()
        self._services.tasks.spawn(self._reconciler.run(), "reconciler")
        self._services.tasks.spawn(self._jobs.watch(), "jobs-age-out")
        if self._shared is not None:
            self._services.tasks.spawn(self._shared.watch_others(), "jobs-of-others")
            self._services.tasks.spawn(self._telling.watch(), "webhooks-overdue")

    async def taken_over(self, dead: str) -> None:
        """A gateway that shares the store is dead, and its books are settled: what it had under way is brought to its
        end here. Raises GatewayError, StoreError.
        """
        if self._shared is not None:
            await self._shared.take_over(dead)
            await self._telling.restore()
            self._services.tasks.spawn(self._reconciler.look(), "reconciler")

    def drain(self) -> None:
        """Send those away who wait for work of other gateways: there they can go on waiting."""
        if self._shared is not None:
            self._shared.send_away()

    async def written(self) -> None:
        """Return once what waits is written, or could not be, and what is under way is left to the other gateways: this
        one ends.
        """
        self._jobs.keeping.insists = False
        await self._jobs.written()
        with suppress(TimeoutError):  # of a store that hangs: they find it once this gateway's lease is over
            async with asyncio.timeout(HAND_OVER_WITHIN):
                await self._jobs.hand_over()

    def _resolved(self, exchange: str, charged: int) -> None:
        self._services.budgets.resolve(exchange, charged)
        self._jobs.resolved(exchange, charged)

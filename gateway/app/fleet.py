"""The fleet: all gateways that share a store. Each beats there, sees the others, and takes over those that died."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from gateway import __version__
from gateway.core.errors import GatewayError, StoreError
from gateway.core.pricing.calendar import utc_time
from gateway.exchange.services import Services
from gateway.shared_state.alone import Alone
from gateway.stores.base import Store
from gateway.stores.gateway_records import BEAT_EVERY, LEASE, GatewayState, SeenGateway

LEAVE_WITHIN = 5.0
"""Seconds for the last rows to be committed."""

CLOCKS_DIFFER = 1.0
"""Seconds by which this machine's clock may run slower than the store's within a lease."""

DESCRIBE_WITHIN = 1.0
"""Seconds that a store which hangs may delay what is told of the fleet."""

OnDead = Callable[[str], Awaitable[None]]
"""Takes over what a dead gateway, of this id, has left; may raise StoreError and GatewayError, and is asked again."""


class Fleet:
    """This gateway among the others.

    ``size``: how many gateways lived when the store was last asked, this one included; at least 1.
    """

    def __init__(self, services: Services, store: Store, on_dead: Sequence[OnDead] = ()) -> None:
        """``on_dead``: what is done for a dead gateway, one after the other; its open exchanges are settled first."""
        self._services = services
        self._store = store
        self._on_dead = (self._settle, *on_dead)
        self._started_at_ns = services.clock.wall_ns()
        self._main_url = self._admin_url = ""
        self._asking: asyncio.Task[None] | None = None
        self._others: Sequence[SeenGateway] = ()
        self._beat_at: tuple[float, int] | None = None  # by the clock that never jumps, and by the one that never stops
        self.size = 1

    @property
    def others(self) -> Sequence[SeenGateway]:
        """The entries of other gateways when the store was last asked, dead ones included."""
        return self._others

    def surely_alive(self) -> bool:
        """Whether no other gateway can have taken this one for dead: its last beat is younger than its lease."""
        if self._beat_at is None:
            return False
        clock, (began, began_ns) = self._services.clock, self._beat_at
        age = max(clock.monotonic() - began, (clock.wall_ns() - began_ns) / 1e9)  # a machine that slept notices by one
        return age < LEASE - CLOCKS_DIFFER

    async def join(self) -> None:
        """Be known before anything is served: what is left open can be taken over from now on. Raises StoreError."""
        await self._beat()

    async def watch(self, main_url: str, admin_url: str) -> None:
        """Beat, look at the others and take over the dead, for ever. A store that is gone is tried again.

        ``main_url``, ``admin_url``: where this gateway listens.
        """
        self._main_url, self._admin_url = main_url, admin_url
        taking: asyncio.Task[None] | None = None
        while not self._store.gateways.alone:
            with suppress(StoreError, GatewayError):  # the ledger's own watching tells of it; the next beat makes up
                await self._beat()
            if any(not one.live for one in self._others) and (taking is None or taking.done()):
                # In a task of its own: it may take longer than our lease, which must be kept up meanwhile.
                taking = self._services.tasks.spawn(self._take_over(), "take-over")
            await asyncio.sleep(BEAT_EVERY)

    async def leave(self) -> None:
        """Be forgotten once all that was handed to the ledger is committed; if that takes too long another looks after
        it, as after a dead gateway.
        """
        if not self._store.gateways.alone and self._store.ledger.usable():
            leaving = self._services.tasks.spawn(self._leave(), "leave")
            await asyncio.wait({leaving}, timeout=LEAVE_WITHIN)

    async def _leave(self) -> None:
        while self._store.ledger.pending:  # noqa: ASYNC110  # the ledger tells of no such event
            await asyncio.sleep(0.01)
        with suppress(StoreError, GatewayError):
            await self._store.gateways.leave(self._services.gateway_id)

    async def describe(self) -> list[dict[str, Any]]:
        """Every gateway as JSON, as it is now; where the store cannot be asked, this one and what was last known."""
        own = self._state()
        if self._asking is None or self._asking.done():
            self._asking = self._services.tasks.spawn(self._ask(), "fleet-seen")
        # Not cancelled: to take back what was asked of a server that hangs takes as long as it hangs.
        await asyncio.wait({self._asking}, timeout=DESCRIBE_WITHIN)
        others = [_described(one) for one in self._others]
        now_ns = self._services.clock.wall_ns()
        entries = [*others, _described(SeenGateway(own, now_ns, True), asked=True)]
        return sorted(entries, key=lambda entry: (entry["started_at"], entry["id"]))

    async def _ask(self) -> None:
        """Learn who is there; what was known stays if the store cannot be asked."""
        with suppress(StoreError, GatewayError):
            await self._look()

    async def _beat(self) -> None:
        clock = self._services.clock
        began = clock.monotonic(), clock.wall_ns()
        await self._store.gateways.beat(self._state())
        self._beat_at = began
        await self._look()

    async def _look(self) -> None:
        seen = await self._store.gateways.all()
        self._others = [one for one in seen if one.state.id != self._services.gateway_id]
        before, self.size = self.size, 1 + sum(one.live for one in self._others)
        if before == 1 < self.size and isinstance(self._services.shared, Alone):
            self._services.log.warning(
                "limits_not_shared",
                gateways=self.size,
                message="several gateways use this store, and this one counts rpm, tpm, parallel, pauses and breakers "
                "by itself; add the line 'shared_state: redis://HOST:6379/0' (Redis or Valkey) to each of them",
            )

    async def _take_over(self) -> None:
        services = self._services
        try:
            for dead in await self._store.gateways.claim_dead(services.gateway_id):
                services.log.warning("taking_over", dead=dead, message="it has not been seen for a while: taken over")
                for work in self._on_dead:
                    await work(dead)
                await self._store.gateways.forget(dead, services.gateway_id)
                services.log.info("taken_over", dead=dead)
        except (StoreError, GatewayError) as error:
            services.log.warning("take_over_failed", message=f"it is tried again: {error}")

    async def _settle(self, dead: str) -> None:
        unknown = await self._store.ledger.settle_left([dead])
        if unknown:
            self._services.log.warning("ledger_recovered", unknown=unknown, advice="piapi-gateway ledger held")

    def _state(self) -> GatewayState:
        services = self._services
        return GatewayState(
            id=services.gateway_id,
            started_at_ns=self._started_at_ns,
            version=__version__,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            main_url=self._main_url,
            admin_url=self._admin_url,
            in_flight=len(services.gate),
            sees={"store": self._store.ledger.usable(), "shared_state": services.shared.up},
        )


def _described(seen: SeenGateway, *, asked: bool = False) -> dict[str, Any]:
    """``asked``: whether it is the one that tells this."""
    state = seen.state
    return {
        "id": state.id,
        "version": state.version,
        "hostname": state.hostname,
        "pid": state.pid,
        "main_url": state.main_url,
        "admin_url": state.admin_url,
        "state": "live" if seen.live else "dead",
        "in_flight": state.in_flight,
        "started_at": utc_time(state.started_at_ns),
        "seen_at": utc_time(seen.seen_at_ns),
        "sees": dict(state.sees),
        "self": asked,
    }

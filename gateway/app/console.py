"""What the console shows and does, put together of the running gateway's parts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from gateway.app.assembly import key_rules
from gateway.billing.usage import Period, parse_period
from gateway.config import Config
from gateway.console.reading import Reading, Recent
from gateway.console.routes import console_routes
from gateway.console.session import Sessions
from gateway.console.source import ConsoleSource, Reply
from gateway.console.visitors import ConsoleDoor
from gateway.core.errors import GatewayFault
from gateway.core.types import PICTURES
from gateway.endpoints.admin.routes import AdminSource
from gateway.exchange.services import Services
from gateway.images.results import ImageResults
from gateway.jobs.waiting import Waiting
from gateway.keys.keyring import Keyring
from gateway.runtime.off_loop import off_loop
from gateway.server.dispatch import OwnRoutes
from gateway.stores.records import Held, UsageRow

TRY_WITHIN = 100.0
"""Seconds for an answer to what the console's box tries; the listener of several workers waits for 120 (passing_on)."""

MOST_TRIED = 32 << 20
"""Bytes of such an answer."""


@dataclass(frozen=True, slots=True)
class MainListener:
    """``url``: where this machine reaches it. ``opened``: whether it asks for no key, at this moment."""

    url: Callable[[], str]
    opened: Callable[[], bool]
    keyring: Keyring


class Console:
    """``admin``: what the admin API has. ``config``: of this moment."""

    def __init__(
        self,
        services: Services,
        admin: AdminSource,
        waiting: Waiting,
        images: ImageResults,
        config: Callable[[], Config],
        main: MainListener,
    ) -> None:
        self._services = services
        self._admin = admin
        self._config = config
        self._main = main
        sessions = Sessions(self._admin_key, services.clock.wall_ns)
        self.source = ConsoleSource(
            door=ConsoleDoor(admin.door, sessions, lambda: bool(self._admin_key())),
            reading=Reading(services.tasks),
            books=Recent(services.tasks, services.clock.monotonic),
            starts=self._starts,
            period=self._period,
            used=self._used,
            running=self._running,
            zone=lambda: str(config().time_zone),
            upstreams=admin.upstreams,
            keys=admin.keys,
            rotating=asyncio.Lock(),
            ledger=admin.ledger,
            reports=admin.reports,
            job_records=admin.jobs,
            waiting=waiting,
            models=self._models,
            teams=lambda: sorted(key_rules(config()).teams),
            keyless=main.opened,
            key_name=self._key_name,
            images=images,
            ask=self._ask,
        )

    @property
    def routes(self) -> OwnRoutes:
        """The console's routes."""
        return console_routes(self.source)

    def _admin_key(self) -> str:
        return self._services.snapshot.admin_key or ""

    def _starts(self) -> tuple[int, int, int]:
        now_ns = self._services.clock.wall_ns()
        periods = self._services.budgets.budgets.periods(now_ns)
        return periods["day"].start_ns, periods["month"].start_ns, now_ns

    def _period(self, since: str, until: str) -> Period:
        return parse_period(since, until or None, self._services.clock.wall_ns(), self._config().time_zone)

    async def _used(self, period: Period, by: Sequence[str]) -> Sequence[UsageRow]:
        return await self._admin.reports.usage(
            since_ns=period.since_ns, until_ns=period.until_ns, by=by, time_zone=self._config().time_zone
        )

    async def _running(self) -> Sequence[Held]:
        held = await self._admin.reports.held(self._services.clock.wall_ns())
        return [one for one in held if one.running]

    def _models(self) -> tuple[list[str], list[str]]:
        routes = [route for route in self._services.snapshot.routes if route.targets and not route.model.endswith("*")]
        chats = [route.model for route in routes if "chat" in route.operations]
        return chats, [route.model for route in routes if route.operations & PICTURES]

    def _key_name(self, key: str) -> str | None:
        found = self._main.keyring.find(sha256(key.encode()).digest())
        return None if found is None else found.name

    async def _ask(self, path: str, key: str, body: Mapping[str, Any], order: str) -> Reply:
        """Pictures are asked for without waiting (RFC 7240): their job tells the rest."""
        import httpx2

        no_authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the system's take a long time to read
        headers = {"prefer": "respond-async", "idempotency-key": order, "accept-encoding": "identity"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        answer = bytearray()
        try:
            async with (
                httpx2.AsyncClient(trust_env=False, timeout=TRY_WITHIN, verify=no_authorities) as client,
                client.stream("POST", self._main.url() + path, json=dict(body), headers=headers) as response,
            ):
                async for piece in response.aiter_bytes():
                    answer += piece
                    if len(answer) > MOST_TRIED:
                        raise _no_answer("its answer is larger than the console shows")
        except httpx2.TimeoutException:
            raise _no_answer(f"no answer came within {TRY_WITHIN:g} seconds") from None
        except httpx2.HTTPError as error:  # its words may hold what was sent
            raise _no_answer(f"the main listener did not answer ({type(error).__name__})") from None
        try:
            document = await off_loop(orjson.loads, bytes(answer))
        except orjson.JSONDecodeError:
            document = None
        return Reply(response.status_code, dict(response.headers), document if isinstance(document, dict) else None)


def _no_answer(why: str) -> GatewayFault:
    return GatewayFault(
        503,
        "service_unavailable_error",
        "main_listener",
        f"Nothing to show: {why}. It may still run, and be charged: look at Requests before you ask again.",
    )

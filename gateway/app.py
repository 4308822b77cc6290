"""The composition root: a Config becomes a running gateway. The only file that knows the concrete parts."""

from __future__ import annotations

import asyncio
import itertools
import resource
import secrets
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gateway import __version__
from gateway.config import Config, unsupported
from gateway.core.limits import KeyLimits
from gateway.core.routing import RouteTable, UpstreamStates
from gateway.core.types import VirtualKey
from gateway.endpoints.admin import AdminSource, admin_routes
from gateway.endpoints.auth import Authenticator
from gateway.endpoints.browser_guard import BrowserGuard
from gateway.endpoints.chat import ChatEndpoint
from gateway.endpoints.dispatch import Dispatch
from gateway.endpoints.health import health_routes
from gateway.endpoints.models import model_routes
from gateway.endpoints.server import RunningServer, start_server
from gateway.endpoints.server_limits import ServerLimits, client_connections
from gateway.errors import ConfigError, GatewayError
from gateway.log import Log
from gateway.metrics import Metrics
from gateway.ports import Clock, Dialer, Randomness, SystemClock, system_randomness
from gateway.redaction import Redactor
from gateway.reports import parse_period, usage_rows
from gateway.series import LabelSpace
from gateway.services import Gate, Services, Snapshot
from gateway.stores.sqlite import SQLiteLedger, store_path
from gateway.tasks import TrackedTasks
from gateway.tokenizer import Tokenizer
from gateway.translate.chat_to_chat import PATH as CHAT
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool

RESERVED_DESCRIPTORS = 64
"""File descriptors kept free for the ledger, the listeners, the admin's and the operator's own use."""

ADMIN_CONNECTIONS = 16
"""At once, to the admin listener: a scraper or two, a command line or two."""

LAG_EVERY = 0.25
"""Seconds between two looks at how late the event loop is."""


class Gateway:
    """A running gateway. ``load`` reads the configuration again, for ``reload``."""

    def __init__(
        self,
        config: Config,
        services: Services,
        ledger: SQLiteLedger,
        load: Callable[[], Config],
    ) -> None:
        self.config = config
        self.services = services
        self._ledger = ledger
        self._load = load
        self._authenticator = _authenticator(config)
        self._secrets = set(config.secrets)
        self._lag = 0.0
        self._reloading = asyncio.Lock()
        self._servers: list[RunningServer] = []

    @classmethod
    async def start(
        cls,
        config: Config,
        log: Log,
        load: Callable[[], Config],
        *,
        dialer: Dialer | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
    ) -> Gateway:
        """Open the ledger and both listeners. Raises ConfigError, StoreError, ListenError."""
        if problems := unsupported(config):
            raise ConfigError(problems)
        clock = clock or SystemClock()
        ledger = await SQLiteLedger.open(store_path(config.store), clock=clock)
        if ledger.recovered:
            log.warning("ledger_recovered", unknown=ledger.recovered)
        services = _services(config, log, ledger, dialer or SystemDialer(), clock, randomness or system_randomness())
        gateway = cls(config, services, ledger, load)
        try:
            await gateway._listen()
        except BaseException:
            await gateway.close(0.0)
            raise
        services.tasks.spawn(gateway._watch_lag(), "lag")
        services.tasks.spawn(asyncio.to_thread(services.tokenizer.load), "vocabulary")
        return gateway

    @property
    def main_url(self) -> str:
        """Where clients reach it."""
        return _url(self._servers[0])

    @property
    def admin_url(self) -> str:
        return _url(self._servers[1])

    async def reload(self) -> list[str]:
        """Re-read the configuration and swap it in whole. Returns what is wrong with it; then nothing has changed."""
        async with self._reloading:  # one at a time, or an older file could win
            return await self._reload()

    async def _reload(self) -> list[str]:
        try:
            config = await asyncio.to_thread(self._load)
            if problems := [*unsupported(config), *_fixed(self.config, config)]:
                raise ConfigError(problems)
        except ConfigError as error:
            self.services.log.error("config_rejected", problems=error.problems)
            return error.problems
        services = self.services
        states = UpstreamStates(config.upstreams.values(), config.failover)
        states.adopt(services.snapshot.states)
        services.snapshot = _snapshot(config, states)
        services.limits.retain(key.name for key in config.keys)
        services.metrics.configure(_labels(config))
        self._secrets |= config.secrets  # requests in flight may still use what the new file no longer names
        services.log.redactor = Redactor(self._secrets)
        self._authenticator = _authenticator(config)
        self.config = config
        services.log.info("config_reloaded", source=str(config.source or "built-in defaults"))
        return []

    def drain(self) -> None:
        """Take no new work; /readyz says so."""
        self.services.gate.draining = True

    async def drained(self, seconds: float) -> bool:
        """Wait for the requests in flight, at most ``seconds``. True if none is left."""
        try:
            async with asyncio.timeout(seconds):
                await self.services.gate.empty()
        except TimeoutError:
            return False
        return True

    def cut_off(self) -> None:
        """End what is still running: streams get an error event, the others a 503."""
        for running in self.services.gate:
            running.shut_down()

    async def close(self, timeout: float = 5.0) -> None:
        """Close the listeners, the upstream connections and, last, the ledger, with everything settled."""
        await asyncio.gather(*(server.close(timeout) for server in self._servers))
        await self.services.tasks.cancel_all()
        await self.services.pool.close()
        await self._ledger.close()

    async def _listen(self) -> None:
        services, config = self.services, self.config
        chat = ChatEndpoint(services, lambda: self._authenticator)
        main = Dispatch(
            {CHAT: {"POST": chat}},
            [
                *health_routes(self._not_ready),
                *model_routes(lambda: (self._authenticator, self.services.snapshot.routes)),
            ],
            self._crashed,
            BrowserGuard(lambda: not self.config.requires_key(), config.listen.host),
        )
        admin = Dispatch(
            {},
            admin_routes(self._admin_source()),
            self._crashed,
            BrowserGuard(lambda: not self.config.admin.key, config.admin.listen.host),
        )
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        connections = client_connections(descriptors, RESERVED_DESCRIPTORS)
        many = ServerLimits(headers=config.limits.headers, connections=connections)
        few = replace(many, connections=ADMIN_CONNECTIONS, refusals=4)
        for app, place, limits in ((main, config.listen, many), (admin, config.admin.listen, few)):
            self._servers.append(
                await start_server(app, place.host, place.port, limits=limits, on_refused=self._refused)
            )

    def _admin_source(self) -> AdminSource:
        services = self.services
        services.metrics.set_sources(
            endpoints=lambda: services.snapshot.states.endpoints_available(services.clock.monotonic()),
            upstream_keys=lambda: services.snapshot.states.keys_available(services.clock.monotonic()),
            pending=lambda: self._ledger.pending,
            lag=lambda: self._lag,
        )
        return AdminSource(
            admin_key=lambda: self.config.admin.key or None,
            open_metrics=lambda: self.config.admin.open_metrics,
            metrics=services.metrics.render,
            usage=self._usage,
            upstreams=self._upstreams,
            keys=lambda: [_shown(key) for key in self.config.keys],
            reload=self.reload,
        )

    async def _usage(self, since: str | None, until: str | None, by: list[str]) -> list[dict[str, Any]]:
        now_ns = self.services.clock.wall_ns()
        period = parse_period(since or "30d", until, now_ns, self.config.time_zone)
        path = store_path(self.config.store)
        return await asyncio.to_thread(usage_rows, path, period, by, self.config.time_zone)

    def _upstreams(self) -> dict[str, Any]:
        snapshot, now = self.services.snapshot, self.services.clock.monotonic()
        return {
            "version": __version__,
            "draining": self.services.gate.draining,
            "in_flight": len(self.services.gate),
            "ledger_rows_pending": self._ledger.pending,
            "event_loop_lag_seconds": round(self._lag, 4),
            "upstreams": snapshot.states.describe(now),
            "off": list(self.config.off),
        }

    def _not_ready(self) -> Sequence[str]:
        reasons = []
        if self.services.gate.draining:
            reasons.append("draining")
        if not self._ledger.usable():
            reasons.append("the ledger cannot be written")
        return reasons

    def _refused(self, error: GatewayError, request_id: str) -> None:
        self.services.log.warning("refused", request_id=request_id, status=error.status, code=error.code)

    def _crashed(self, request_id: str, crash: Exception) -> None:
        log_crash(self.services.log, "internal_error", crash, request_id=request_id)

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self._lag = max(0.0, loop.time() - due)


def exchange_ids(clock: Clock) -> Callable[[], str]:
    """Twelve hex digits of milliseconds, ten that name this process, ten that count: unique without a system call
    each, and growing, which keeps the ledger's pages together.
    """
    process = secrets.token_hex(5)
    count = itertools.count(secrets.randbits(32))
    return lambda: f"{clock.wall_ns() // 1_000_000:012x}{process}{next(count):010x}"


def log_crash(log: Log, event: str, crash: BaseException, **fields: str) -> None:
    """A mistake of ours, with its traceback."""
    log.error(event, error=repr(crash), traceback="".join(traceback.format_exception(crash)), **fields)


def build_log(config: Config) -> Log:
    """The log of the configuration's format and level, on stderr, its secrets struck out."""
    return Log(config.log.format, config.log.level, Redactor(config.secrets), sys.stderr)


def _services(
    config: Config, log: Log, ledger: SQLiteLedger, dialer: Dialer, clock: Clock, randomness: Randomness
) -> Services:
    most = _room_for(config.limits.in_flight)
    tasks = TrackedTasks(lambda name, error: log_crash(log, "task_failed", error, task=name))
    return Services(
        clock=clock,
        randomness=randomness,
        ledger=ledger,
        metrics=Metrics(__version__, _labels(config)),
        log=log,
        pool=ConnectionPool(dialer),
        limits=KeyLimits(),
        tokenizer=Tokenizer(),
        tasks=tasks,
        gate=Gate(most),
        snapshot=_snapshot(config, UpstreamStates(config.upstreams.values(), config.failover)),
        new_id=exchange_ids(clock),
    )


def _snapshot(config: Config, states: UpstreamStates) -> Snapshot:
    return Snapshot(
        routes=RouteTable(config.routes),
        states=states,
        failover=config.failover,
        nonstream_heartbeat=config.nonstream_heartbeat,
        body_limit=config.limits.body,
    )


def _labels(config: Config) -> LabelSpace:
    return LabelSpace(
        models=frozenset(route.model for route in config.routes),
        upstreams=frozenset(config.upstreams),
        endpoints=frozenset(place.url for upstream in config.upstreams.values() for place in upstream.endpoints),
        keys=frozenset(key.name for key in config.keys),
        teams=frozenset(config.teams) | {key.team for key in config.keys if key.team is not None},
        routes=frozenset({CHAT}),
    )


def _authenticator(config: Config) -> Authenticator:
    return Authenticator({key.digest: key for key in config.keys}, config.requires_key())


def _fixed(old: Config, new: Config) -> Iterable[str]:
    """What a reload cannot change, as sentences."""
    pairs = {
        "listen": (old.listen, new.listen),
        "admin.listen": (old.admin.listen, new.admin.listen),
        "store": (old.store, new.store),
        "log": (old.log, new.log),
        "limits.headers": (old.limits.headers, new.limits.headers),
        "limits.in_flight": (old.limits.in_flight, new.limits.in_flight),
    }
    for name, (before, after) in pairs.items():
        if before != after:
            yield f"{name}: a reload cannot change it; restart the gateway"
    # A file caught half-written may lack its end: that must not open the doors.
    if old.requires_key() and not new.requires_key():
        yield "keys: a reload cannot drop the last virtual key, which would let everybody in; restart the gateway"
    if old.admin.key and not new.admin.key:
        yield "admin.key: a reload cannot drop it, which would open the admin routes; restart the gateway"


def _room_for(wanted: int) -> int:
    """How many requests may be in flight: a stream costs two descriptors, so half of what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (hard - RESERVED_DESCRIPTORS) // 2))


def _shown(key: VirtualKey) -> dict[str, Any]:
    budget = key.budget
    return {
        "name": key.name,
        "team": key.team,
        "models": list(key.models),
        "rpm": key.rpm,
        "tpm": key.tpm,
        "parallel": key.parallel,
        "budget": f"{budget.amount / 1e9:g}/{budget.period}" if budget is not None else None,
        "source": "file",
    }


def _url(server: RunningServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"

"""The composition root: a Config becomes a running gateway. The only file that knows the concrete parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gateway import __version__
from gateway.app.assembly import (
    budget_settings,
    build_key_service,
    build_ledger_service,
    key_rules,
    labels,
    tell_of_crash,
)
from gateway.app.console import Console, MainListener
from gateway.app.endings import tell_of_ends, watch_ends
from gateway.app.fleet import Fleet
from gateway.app.image_results import surroundings, tell_of_fetching
from gateway.app.key_checks import KeyChecks
from gateway.app.key_probe import KeyProbe
from gateway.app.key_review import look_at_keys, tell_of_keys
from gateway.app.learned_durations import KeptDurations, learned_figures
from gateway.app.listening import Doors
from gateway.app.model_lists import ModelLists
from gateway.app.paid_work import PaidWork
from gateway.app.parts import Parts, open_parts
from gateway.app.reloading import Reloaded, read_for_reload
from gateway.app.responses import age_out, build_places, build_responses, response_routes
from gateway.app.shared_folder import SharedFolder
from gateway.app.sharing import Sharing
from gateway.app.status import SpentToday, describe_gateway, in_hand
from gateway.app.store_care import start_care
from gateway.app.telemetry import Telemetry
from gateway.app.worker_place import WorkerPlace, nothing_of_its_own
from gateway.billing.usage import parse_period, usage_rows
from gateway.config import Config, days_old
from gateway.core.chance import Randomness
from gateway.core.defaults import USAGE_SINCE
from gateway.core.errors import ConfigError, StoreError
from gateway.core.limits.auth_throttle import AuthThrottle
from gateway.core.routing.route_table import UpstreamStates
from gateway.endpoints.admin.door import AdminDoor
from gateway.endpoints.admin.routes import AdminSource, admin_routes
from gateway.endpoints.admission import Admission
from gateway.endpoints.auth import Authenticator
from gateway.endpoints.chat import ChatEndpoint
from gateway.endpoints.front_page import front_page_routes
from gateway.endpoints.health import health_routes
from gateway.endpoints.image_files import kept_image_routes
from gateway.endpoints.images import PATHS as IMAGES
from gateway.endpoints.images import ImagesEndpoint
from gateway.endpoints.jobs import JobRoutes
from gateway.endpoints.messages import CountTokensEndpoint, MessagesEndpoint
from gateway.endpoints.models import model_routes
from gateway.endpoints.relays import RELAY_PATHS, RelayEndpoint
from gateway.endpoints.request_journal import RequestJournal
from gateway.endpoints.task_status import read_task_routes
from gateway.endpoints.tasks import TASKS_PATH as TASKS
from gateway.endpoints.tasks import CreateTask
from gateway.endpoints.webhooks import webhook_routes
from gateway.runtime import today
from gateway.runtime.lag import watch_lag
from gateway.runtime.ports import Clock, SystemClock, system_randomness
from gateway.server.browser_guard import AdminGuard, BrowserGuard
from gateway.server.cors import CrossOrigin
from gateway.server.dispatch import Dispatch, OwnRoutes
from gateway.server.listener import RunningServer, url_for_this_machine, url_of
from gateway.stores.key_records import StoredKey
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Figures
from gateway.telemetry.redaction import Redactor
from gateway.upstream.dialer import Dialer, SystemDialer
from gateway.wire.chat_request import CHAT_PATH
from gateway.wire.messages.request import COUNT_PATH, MESSAGES_PATH


class Gateway:
    """A running gateway. ``load`` reads the configuration again, for ``reload``."""

    def __init__(self, config: Config, parts: Parts, load: Callable[[], Config]) -> None:
        self.config = config
        self.services = services = parts.services
        self._snapshots = parts.snapshots
        self._store = store = parts.store
        self._images = parts.images
        self._load = load
        self._keyring = keyring = parts.keyring
        self._keyring.on_change = self._key_changed
        now = services.clock.monotonic
        self._authenticator = Authenticator(
            keyring.find, self._requires_key, AuthThrottle(), now, services, keyring.former
        )
        self._admin_door = AdminDoor(services, self._authenticator.address, now)
        self._door = Admission(services, self._authenticator)
        self._journal = RequestJournal(services, self._authenticator.address)
        self._key_probe = KeyProbe(services)
        services.snapshot.states.doubt = KeyChecks(services).doubt
        self._sharing = Sharing(config, services, store, keyring)
        self._model_lists = ModelLists(services, config, self._key_probe.refused_a_list)
        self._secrets, self._upstream_hosts = set(config.secrets), set(config.upstream_hosts)
        self._responses = build_responses(services, store)
        self._response_places = build_places(services, store)
        self._paid_work = PaidWork(config, services, store, self._responses)
        self._waiting = self._paid_work.waiting
        self._learned = KeptDurations(services, store.durations)
        self.fleet = Fleet(services, store, (self._paid_work.taken_over,))
        self._paid_work.lives(self.fleet.surely_alive)
        self._folder = SharedFolder(config, store, services.gateway_id)
        services.shared.fleet_is(lambda: self.fleet.size)
        services.learned.half_life = config.routing.half_life
        services.answers.configure(config.routes)
        self._telemetry = Telemetry(services)
        self._spent_today = SpentToday(services)
        self._lag, self._leaving = 0.0, False
        self._reloading = asyncio.Lock()
        self._servers: list[RunningServer] = [] if parts.server is None else [parts.server]

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
        ask_for_models: bool = True,
        worker: WorkerPlace | None = None,
    ) -> Gateway:
        """Open the ledger and both listeners. Raises StoreError, ListenError, OperatorError.

        ``ask_for_models``: ask upstreams what they list, and whether they take their keys. ``worker``: None for a
        gateway that is the only process of its own.
        """
        clock, dialer, randomness = clock or SystemClock(), dialer or SystemDialer(), randomness or system_randomness()
        parts = await open_parts(config, log, dialer, clock, randomness, partial(tell_of_crash, log), worker)
        gateway, services, store = cls(config, parts, load), parts.services, parts.store
        try:
            gateway._telemetry = Telemetry.start(config, services)
            await gateway.fleet.join()
            await gateway._folder.enter()
            services.budgets.alerts.keep_in(store.alerts)
            refused, findings = await look_at_keys(config, store.teams, parts.keyring, services)
            services.snapshot = replace(services.snapshot, refused_teams=refused)
            tell_of_keys(findings, log)
            await asyncio.gather(services.budgets.load(), gateway._learned.start())
            await gateway._paid_work.take_up()
            await gateway._listen(worker)
        except BaseException:
            await gateway.close(0.0)
            raise
        tell_of_fetching(config, log)
        tell_of_ends(config, log)
        gateway._sharing.start()
        services.tasks.spawn(watch_ends(gateway, log), "ends")
        services.tasks.spawn(watch_lag(gateway._late), "lag")
        services.tasks.spawn(gateway._journal.watch(), "journal")
        services.tasks.spawn(services.budgets.watch(), "budgets")
        services.tasks.spawn(parts.images.age_out(log), "age-out")
        age_out(services, gateway._responses, gateway._response_places)
        start_care(store, log, services.tasks)
        services.tasks.spawn(gateway.fleet.watch(gateway.main_url, gateway.admin_url), "fleet")
        if ask_for_models:
            gateway._model_lists.start()
            gateway._key_probe.start(config.upstreams.values())
        return gateway

    @property
    def main_url(self) -> str:
        """Where clients reach it."""
        return url_of(self._servers[0])

    @property
    def admin_url(self) -> str:
        return url_of(self._servers[1])

    @property
    def made_store(self) -> str:
        """The store that was not there before; empty if it was."""
        return self._store.name if self._store.made else ""

    async def reload(self) -> list[str]:
        """Re-read the configuration and swap it in whole. Returns what is wrong with it; then nothing has changed."""
        return (await self.reread()).problems

    async def reread(self) -> Reloaded:
        """``reload``, and all that is to be told of it."""
        async with self._reloading:  # one at a time, or an older file could win
            try:
                config, told = await read_for_reload(self._load, self.config, self._keyring.any_stored)
                refused, findings = await look_at_keys(config, self._store.teams, self._keyring, self.services)
            except (ConfigError, StoreError) as error:
                told = Reloaded(error.problems if isinstance(error, ConfigError) else [str(error)])
                told.tell(self.services.log)
                return told
            self._swap(config, refused)
            told.tell(self.services.log)
            tell_of_keys(findings, self.services.log)
            return replace(told, warnings=[*told.warnings, *(found.sentence for found in findings)])

    def _swap(self, config: Config, refused_teams: frozenset[str]) -> None:
        services = self.services
        states = UpstreamStates(config.upstreams.values(), config.failover)
        states.adopt(services.snapshot.states)
        self._sharing.follow(states)
        self._model_lists.configure(config)
        self._keyring.configure(config.keys)
        services.learned.half_life = config.routing.half_life
        services.answers.configure(config.routes)
        services.limits.retain(key.name for key in self._keyring.keys)
        services.metrics.configure(labels(config, self._keyring.keys))
        self._secrets |= config.secrets  # requests in flight may still use what the new file no longer names
        self._upstream_hosts |= config.upstream_hosts
        services.log.redactor = Redactor(self._secrets, self._upstream_hosts)
        services.snapshot = self._snapshots.take(config, states, self._model_lists.lists, refused_teams)
        self.config = config
        services.budgets.alerts.configure(config.budget_alerts.webhook, config.budget_alerts.secret, config.outward)
        self._paid_work.configure(config)
        services.budgets.configure(budget_settings(config))
        tell_of_ends(config, services.log)
        self._images.surrounded_by(surroundings(config, self._servers))
        self._images.reached_by(config.outward)
        self._key_probe.ask(config.upstreams.values())

    def leave(self) -> None:
        """Say by /readyz that no more work should be sent here; what comes is still taken."""
        self._leaving = True

    def drain(self) -> None:
        """Take no new work; /readyz says so."""
        self.services.gate.draining = True
        self._paid_work.drain()

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
        await asyncio.gather(self.services.budgets.alerts.close(), self._paid_work.deliveries.close())
        await asyncio.gather(self._responses.written(), self._response_places.written(), self._paid_work.written())
        await self.services.shared.close()
        await self.services.tasks.cancel_all()
        await asyncio.gather(self._learned.write(), self._telemetry.close())
        await self.services.pool.close()
        await self._images.close()
        await self._snapshots.mask_renderer.close()
        await self._folder.leave()
        await self.fleet.leave()
        await self._store.close()

    async def _listen(self, worker: WorkerPlace | None) -> None:
        services, config = self.services, self.config
        cors = CrossOrigin(self._opened, services)
        listed: list[str] = []
        main = self._telemetry.dispatch(
            {
                **self._buying_routes(),
                **health_routes(self._not_ready),
                **model_routes(self._authenticator, self._model_lists.listing, services.budgets.requires_price),
                **response_routes(self._door, self._responses, self._response_places, self._waiting),
                **read_task_routes(self._door),
                **JobRoutes(self._door, self._waiting).routes,
                **kept_image_routes(self._images.open),
                **webhook_routes(services, services.wakeups.waits, services.wakeups.give),
                **front_page_routes(__version__, listed),
            },
            [],
            partial(tell_of_crash, services.log),
            BrowserGuard(self._opened, services, cors),
            cors,
            secret=("/images/", "/webhooks/"),
            unlisted=("/webhooks/",),
            on_end=self._journal.ended,
        )
        listed.extend(main.listed)
        source = self._admin_source(services.metrics.pieces if worker is None else nothing_of_its_own)
        here = MainListener(lambda: url_for_this_machine(self._servers[0]), self._opened, self._keyring)
        admin = Dispatch(
            Console(services, source, self._waiting, self._images, lambda: self.config, here).routes,
            admin_routes(source),
            partial(tell_of_crash, services.log),
            AdminGuard(services, config.admin.listen.is_loopback),
            on_end=self._journal.ended_at_admin,
        )
        services.metrics.name_routes(main.paths | admin.paths)
        doors = Doors(main, admin, cors, self._journal, services)
        await doors.open(config, self._servers, worker)
        self._images.listening(url_for_this_machine(self._servers[0]))
        self._images.surrounded_by(surroundings(config, self._servers))

    def _buying_routes(self) -> OwnRoutes:
        """What buys something."""
        door, places = self._door, self._response_places
        return {
            CHAT_PATH: {"POST": ChatEndpoint(door, self._waiting)},
            MESSAGES_PATH: {"POST": MessagesEndpoint(door, places, self._waiting)},
            COUNT_PATH: {"POST": CountTokensEndpoint(door, places)},
            **{path: {"POST": ImagesEndpoint(door, path, self._waiting)} for path in IMAGES},
            **{path: {"POST": RelayEndpoint(door, path)} for path in RELAY_PATHS},
            TASKS: {"POST": CreateTask(door, self._waiting)},
        }

    def _admin_source(self, metrics: Callable[[str], tuple[Iterator[bytes], str]]) -> AdminSource:
        services = self.services
        services.metrics.set_sources(self._figures, services.budgets.figures)
        return AdminSource(
            door=self._admin_door,
            open_metrics=self._open_metrics,
            metrics=metrics,
            usage=self._usage,
            upstreams=self._upstreams,
            keys=build_key_service(
                lambda: key_rules(self.config), self._store, self._keyring, services.budgets.budgets, services.clock
            ),
            ledger=build_ledger_service(self._store, services),
            reports=self._store.usage,
            jobs=self._store.jobs,
            deliveries=self._paid_work.deliveries,
            reload=self.reread,
        )

    def _requires_key(self) -> bool:
        return self.config.requires_key(stored_keys=self._keyring.any_stored)

    def _opened(self) -> bool:
        return not self._requires_key()

    def _open_metrics(self) -> bool:
        return self.services.snapshot.open_metrics

    def _key_changed(self, key: StoredKey) -> None:
        services = self.services
        services.metrics.name_key(key.name, key.settings.team)
        if (known := self._keyring.named(key.name)) is not None:
            services.budgets.key_changed(known)
        services.log.info("key_changed", key=key.name, revoked=key.revoked_at_ns is not None)

    def _figures(self) -> Figures:
        states, now = self.services.snapshot.states, self.services.clock.monotonic()
        return Figures(
            endpoints=states.endpoints_available(now),
            upstream_keys=states.keys_available(now),
            pending=self._store.ledger.pending,
            spilled=self._store.ledger.spilled(),
            lag=self._lag,
            auth_failures=self._authenticator.failures,
            admin_auth_failures=self._admin_door.failures,
            catalogue_age=days_old(self.config.prices_as_of, today.now_ns()),
            cache_bytes=self.services.answers.size,
            learned=learned_figures(self.services),
            jobs=self._waiting.jobs.running,
            store_up=self._store.ledger.usable(),
            shared_state_up=self.services.shared.up,
        )

    async def _usage(self, since: str | None, until: str | None, by: list[str]) -> list[dict[str, Any]]:
        now_ns = self.services.clock.wall_ns()
        period = parse_period(since or USAGE_SINCE, until, now_ns, self.config.time_zone)
        return await usage_rows(self._store.usage, period, by, self.config.time_zone)

    async def _upstreams(self) -> dict[str, Any]:
        lists, off = self._model_lists.lists, self.config.off
        told = await describe_gateway(
            self.services, self._store, lists, self._spent_today, leaving=self._leaving, lag=self._lag, off=off
        )
        return {**told, "gateways": await self.fleet.describe()}

    def in_hand(self) -> dict[str, Any]:
        """What it has to do at this moment, as ``status.in_hand`` tells it."""
        return in_hand(self.services, self._store, self._lag)

    def _not_ready(self) -> Sequence[str]:
        reasons = []
        if self._leaving or self.services.gate.draining:
            reasons.append("draining")
        if not self._store.ledger.usable():
            reasons.append("the ledger cannot be written")
        return reasons

    def _late(self, seconds: float) -> None:
        self._lag = seconds

"""What upstreams list themselves, asked in the background: at start, every hour, and after a reload that changed one.

One that gave no list, perhaps because it is not up yet, is asked again sooner. No request waits for an answer, nor does
start, reload or shutdown. An upstream without a list costs one quiet line in the log. A list that names last days takes
effect with the next request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from gateway.app.snapshots import route_table
from gateway.config import Config
from gateway.core.routing.listed_models import NOTHING_LISTED, ListedModels
from gateway.core.routing.model_listing import ModelListing
from gateway.core.types import Credential, Upstream
from gateway.exchange.services import Services
from gateway.runtime import today
from gateway.upstream.model_list import ask_model_list

ASK_EVERY = 3600.0
"""Seconds between two questions for a list."""

ASK_AGAIN = 60.0
"""Seconds to the next question where there was no list; twice as many after each further one, ``ASK_EVERY`` at most."""

JITTER = 0.1
"""The share by which that differs from one time to the next, so that many gateways do not ask at once."""

LISTING_HOLDS = 10 * 1_000_000_000
"""Nanoseconds for which what is offered is not put together again, unless a reload or a list changed it."""


class ModelLists:
    """The lists of the upstreams of a running gateway. Nothing is asked before ``start``.

    ``on_refused``: told of an upstream's key that was refused on the way, and the status.
    """

    def __init__(
        self,
        services: Services,
        config: Config,
        on_refused: Callable[[Upstream, Credential, int], None] = lambda *_: None,
    ) -> None:
        self._on_refused = on_refused
        self.lists: ListedModels = NOTHING_LISTED
        self._services = services
        self._config = config
        self._asking = False
        self._listing: ModelListing | None = None
        self._tasks: dict[str, tuple[Upstream, asyncio.Task[None]]] = {}
        self._warned: set[tuple[str, str, str]] = set()

    def start(self) -> None:
        """Ask every upstream that has a key, now and every hour."""
        self._asking = True
        self.configure(self._config)

    def configure(self, config: Config) -> None:
        """Obey a reloaded configuration: ask the upstreams that are new or changed, forget those that are gone."""
        self._config = config
        wanted = {one.name: one for one in config.upstreams.values() if one.credentials} if self._asking else {}
        kept = []
        for name, (before, task) in list(self._tasks.items()):
            now = wanted.get(name)
            if now is not None and _same_provider(now, before):
                kept.append(name)
            if now is None or not _same_question(now, before):
                task.cancel()
                del self._tasks[name]
        self.lists = self.lists.only(kept)
        for name, upstream in wanted.items():
            if name not in self._tasks:
                task = self._services.tasks.spawn(self._keep_asking(upstream), "model-list")
                self._tasks[name] = (upstream, task)
        self._warn_of_ended()

    def listing(self) -> ModelListing:
        """What is offered now, or was a moment ago."""
        routes, now_ns = self._services.snapshot.routes, today.now_ns()
        made = self._listing
        if made is None or made.routes is not routes or made.lists is not self.lists or not _just(made.now_ns, now_ns):
            made = self._listing = ModelListing(routes, self.lists, now_ns, relaying(self._config), routes.unlisted)
        return made

    async def _keep_asking(self, upstream: Upstream) -> None:
        pause = ASK_AGAIN
        while True:
            listed = await self._ask(upstream)
            wait, pause = (ASK_EVERY, ASK_AGAIN) if listed else (pause, min(2 * pause, ASK_EVERY))
            await asyncio.sleep(wait * (1 + JITTER * (2 * self._services.randomness.random() - 1)))

    async def _ask(self, upstream: Upstream) -> bool:
        """Ask once; whether there was a list."""
        services, name = self._services, upstream.name
        answer = await ask_model_list(services.pool, upstream, partial(self._on_refused, upstream))
        now_ns = services.clock.wall_ns()
        if isinstance(answer, str):
            services.log.debug("models_not_listed", upstream=name, reason=answer)
            self.lists = self.lists.failed(name, answer, now_ns)
            return False
        before, self.lists = self.lists, self.lists.answered(name, answer, now_ns)
        if len(before.models(name)) != len(self.lists.models(name)):
            services.log.info("models_listed", upstream=name, models=len(answer))
        if before.dates != self.lists.dates:  # requests from now on go by the new ones
            services.snapshot = replace(services.snapshot, routes=route_table(self._config, self.lists))
        self._warn_of_ended()
        return True

    def _warn_of_ended(self) -> None:
        """Say once of each target that it is not asked any more because its upstream's own list says so."""
        now_ns = today.now_ns()
        for route in self._config.routes:
            for target in route.targets:
                listed = self.lists.dates.get((target.upstream.name, target.model))
                if listed is None or listed.ends_ns is None or listed.ends_ns > now_ns:
                    continue
                seen = (target.upstream.name, target.model, listed.shutdown)
                if seen not in self._warned:
                    self._warned.add(seen)
                    self._services.log.warning(
                        "model_shut_down",
                        upstream=target.upstream.name,
                        model=target.model,
                        shutdown_date=listed.shutdown,
                        message="its upstream's own list says that this day was its last; it is not asked there",
                    )


def relaying(config: Config) -> Sequence[str]:
    """The upstreams that are asked for models which the catalogue does not name, in order."""
    return [upstream.name for upstream in config.default_route]


def _just(then_ns: int, now_ns: int) -> bool:
    return 0 <= now_ns - then_ns < LISTING_HOLDS


def _same_question(one: Upstream, other: Upstream) -> bool:
    """Whether two states of an upstream would be asked alike."""
    return (one.endpoints, one.credentials) == (other.endpoints, other.credentials)


def _same_provider(one: Upstream, other: Upstream) -> bool:
    """Whether an upstream still has a host that it had before, so that what was listed there still holds."""
    return not {place.url for place in one.endpoints}.isdisjoint(place.url for place in other.endpoints)

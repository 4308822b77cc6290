"""A configuration → the Snapshot that requests live by while it is in force."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from gateway.config import Config, unlisted_output, unlisted_price
from gateway.core.chance import Randomness
from gateway.core.pricing.price_list import PriceList
from gateway.core.routing.durations import Expected, LearnedDurations, OrderShape
from gateway.core.routing.learned_routing import kind_of
from gateway.core.routing.listed_models import NOTHING_LISTED, ListedModels
from gateway.core.routing.route_table import RouteTable, UpstreamStates
from gateway.core.types import Target
from gateway.exchange.services import Snapshot
from gateway.exchange.tokenizer import Tokenizer
from gateway.images.mask_renderer import MaskRenderer
from gateway.images.operation import ImageTools
from gateway.images.orders import ImageOrders
from gateway.images.own_images import Open
from gateway.runtime import today
from gateway.runtime.ports import Clock
from gateway.telemetry.log import Log

LINKS_LAST = 86_400.0
"""Seconds an upstream's link to a picture is good for, at least: PiAPI keeps what it made for a day."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The maker of snapshots, and the parts of the gateway that those of all configurations share.

    ``open_kept``: opens an image that is kept here.
    """

    tokenizer: Tokenizer
    log: Log
    clock: Clock
    randomness: Randomness
    open_kept: Open
    learned: LearnedDurations = field(default_factory=LearnedDurations)
    mask_renderer: MaskRenderer = field(default_factory=MaskRenderer)

    def take(
        self,
        config: Config,
        states: UpstreamStates,
        lists: ListedModels = NOTHING_LISTED,
        refused_teams: Collection[str] = frozenset(),
    ) -> Snapshot:
        """What the configuration means from now on. The log masks its secrets already.

        ``lists``: what upstreams list themselves.
        """
        return Snapshot(
            routes=route_table(config, lists),
            states=states,
            nonstream_heartbeat=config.nonstream_heartbeat,
            body_limit=config.limits.body,
            upload_limit=config.limits.upload,
            event_limit=config.limits.event,
            image_orders=self._image_orders(config),
            upstreams=config.upstreams,
            points_per_usd=config.points_per_usd,
            prices=PriceList(config.routes),
            cost_in_answers=config.cost_in_answers,
            default_models=config.default_models,
            refused_teams=refused_teams,
            time_zone=config.time_zone,
            webhook_secret=config.webhook_secret,
            hosts=config.hosts | {config.listen.host},
            cors_origins=config.cors_origins,
            trusted_proxies=config.trusted_proxies,
            admin_hosts=config.hosts | {config.admin.listen.host},
            admin_key=config.admin.key,
            open_metrics=config.admin.open_metrics,
            keeps_responses=config.responses.store,
            responses_keep=config.responses.keep,
            responses_keep_max=config.responses.keep_max,
            jobs_keep=config.jobs.keep,
            jobs_join=config.jobs.join,
            links_last=min(config.jobs.keep, config.images.keep) <= LINKS_LAST,
            learns=config.routing.learn,
            prefer=config.routing.prefer,
        )

    def _expected(self, target: Target, shape: OrderShape) -> Expected | None:
        return self.learned.expected(kind_of(target, shape), self.clock.wall_ns() / 1e9)

    def _image_orders(self, config: Config) -> ImageOrders:
        redactor = self.log.redactor
        tools = ImageTools(
            count=self.tokenizer.count,
            redact=redactor.words,
            redact_document=redactor.data,
            wall_ns=self.clock.wall_ns,
            jitter=self.randomness.random,
            points_per_usd=config.points_per_usd,
            event_limit=config.limits.event,
            webhook_base=config.images.public_url.rstrip("/"),
            webhook_secret=config.webhook_secret,
            expected=self._expected if config.routing.learn else None,
        )
        tasks = {
            route.model: target
            for route in config.declared
            for target in reversed(route.targets)
            if target.operation == "task"
        }
        flux = {model: target.model for model, target in tasks.items() if not target.tasks}
        described = {
            name: tasks[route.model]
            for route in config.declared
            for name in (*route.aliases, route.model)
            if route.model in tasks and tasks[route.model].tasks
        }
        return ImageOrders(config.flux, flux, tools, self.mask_renderer, self.open_kept, described)


def route_table(config: Config, lists: ListedModels) -> RouteTable:
    """The routes of the configuration. ``lists``: what upstreams list themselves, with the ends that they name."""
    return RouteTable(
        config.routes,
        today.now_ns,
        dated=lists.dated,
        default_route=config.default_route,
        list_price=unlisted_price,
        most_output=unlisted_output,
    )

"""The configuration in force: frozen and complete. Times are seconds, money is nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, tzinfo
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from gateway.config.addresses import HostPort
from gateway.config.telemetry import TelemetryConfig
from gateway.core.connection_options import DIRECT, ConnectionOptions
from gateway.core.images.flux_catalogue import FluxFacts
from gateway.core.route_rules import Prefer
from gateway.core.types import Budget, FailoverPolicy, Route, Upstream, VirtualKey

SQLITE = "sqlite:///"
"""What the URL of a SQLite store begins with; a path follows."""


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """The admin listener.

    ``key``: the key that every admin route requires; empty for none.
    ``open_metrics``: /metrics requires no key.
    """

    listen: HostPort
    key: str = field(repr=False)
    open_metrics: bool


@dataclass(frozen=True, slots=True)
class Team:
    """A team, whose keys share ``budget``.

    ``budget``: None for none.
    ``alert``: the percentages of it that are told; empty for the usual ones.
    """

    name: str
    budget: Budget | None = None
    alert: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a target of a model is from.

    ``source``, ``as_of``, ``confidence``: where and when its price was found, and how sure that is; None if not said.
    ``place``: its file and line (``config.yaml:12``); empty if it is built in.
    """

    source: str | None = None
    as_of: str | None = None
    confidence: Literal["high", "medium", "low"] | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class BudgetAlerts:
    """Where alerts about budgets go.

    ``webhook``: the URL, which may hold a secret in its path; empty for none.
    ``secret``: signs the alerts (Standard Webhooks).
    """

    webhook: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """A receiver that is told how jobs end. ``url``: may hold a secret in its path. ``secret``: signs what is sent."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImagesConfig:
    """The images that the gateway keeps and fetches.

    ``keep``: seconds that results are kept in ``dir``.
    ``keep_max``: bytes that they may take.
    ``public_url``: where clients reach this gateway; empty if not set.
    ``fetch_hosts``: names of hosts that results may be fetched from; ``*`` for every one.
    ``fetch_private``: whether private addresses, http, upstreams' hosts and any port are allowed too.
    """

    keep: float
    keep_max: int
    dir: Path
    public_url: str
    fetch_hosts: tuple[str, ...]
    fetch_private: bool


@dataclass(frozen=True, slots=True)
class ResponsesConfig:
    """The answers of the Responses API that the gateway keeps.

    ``store``: whether it keeps any. ``keep``: seconds after their last use. ``keep_max``: bytes that they may take.
    """

    store: bool = True
    keep: float = 30 * 86400.0
    keep_max: int = 1 << 30


@dataclass(frozen=True, slots=True)
class JobsConfig:
    """Paid work that has ended. ``keep``: seconds that it is kept. ``join``: seconds that an equal re-send joins it."""

    keep: float = 3600.0
    join: float = 600.0


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """Where requests begin, as far as their model does not say it itself.

    ``learn``: whether it is learned how long orders take. ``half_life``: seconds after which one counts half.
    """

    learn: bool = True
    half_life: float = 7 * 86400.0
    prefer: Prefer = "order"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of requests: bytes of a JSON body, of an upload, of all request headers, of an upstream's event; and
    how many requests may be in flight.
    """

    body: int
    upload: int
    headers: int
    event: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The format and level of the log.

    ``format``: ``auto`` for text on a terminal, else JSON.
    ``file``: None for standard error.
    """

    format: Literal["auto", "json", "text"]
    level: Literal["debug", "info", "warning", "error"]
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of the gateway.

    ``store``: its place is told as for the working directory, by any file. ``store_as_written``: relative to
        the file, if there is one.
    ``hosts``: further names of this machine, in lower case.
    ``cors_origins``: of the web pages that may call, in their normal form.
    ``routes``: only targets that can be used.
    ``declared``: also targets whose upstream is in ``off``, because it has no key.
    ``plans``: model → the PiAPI plan it needs.
    ``provenance``: model → where each of its targets in ``declared`` is from, in their order.
    ``prices_as_of``: the day on which the built-in prices were last looked through.
    ``default_route``: the upstreams that models without a route are relayed to, in order, those with a key.
    ``default_models``: kind of request (``chat``, ``images``, ``embeddings``) → the model of one that names none.
    ``secrets``: every secret value, so that it can be masked wherever it might appear.
    ``source``: the file read; None for the defaults.
    ``warnings``: settings that are allowed but probably a mistake.
    ``drain``, ``drain_delay``: seconds that what runs may go on, and that requests are still taken, after SIGTERM.
    ``outward``: how hosts are connected to that are no upstreams: those of images and webhooks.
    ``trusted_proxies``: the networks of proxies before the gateway, which are believed about the client's address.
    ``key_pepper``: GATEWAY_KEY_PEPPER of the environment, or empty. The file cannot set it, since it must not lie
        beside the keys.
    ``blank``, ``blank_catalogue``: whether the file, and the catalogue of one's own, says nothing at all.
    ``variables``: those of the environment that the file names. ``written``: its text.
    ``catalogue``: the file with models of one's own; None for none.
    ``catalogue_as_of``: the day of its prices; None if it does not say.

    In a target's model a final ``*`` stands for what the route's own ``*`` stood for.
    """

    listen: HostPort
    hosts: frozenset[str]
    cors_origins: frozenset[str]
    admin: AdminConfig
    auth: Literal["auto", "required", "none"]
    store: str = field(repr=False)
    shared_state: str = field(repr=False)
    workers: int
    upstreams: Mapping[str, Upstream]
    routes: tuple[Route, ...]
    declared: tuple[Route, ...]
    plans: Mapping[str, str]
    provenance: Mapping[str, tuple[Provenance, ...]]
    prices_as_of: date
    keys: tuple[VirtualKey, ...]
    teams: Mapping[str, Team]
    time_zone: tzinfo
    budget_alerts: BudgetAlerts
    allow_unpriced: bool
    cost_in_answers: bool
    webhook_secret: str = field(repr=False)
    failover: FailoverPolicy
    images: ImagesConfig
    nonstream_heartbeat: float
    limits: Limits
    points_per_usd: int
    flux: FluxFacts
    drain: float
    log: LogConfig
    secrets: frozenset[str] = field(repr=False)
    off: tuple[str, ...]
    source: Path | None
    warnings: tuple[str, ...]
    catalogue: Path | None = None
    catalogue_as_of: date | None = None
    key_pepper: str = field(repr=False, default="")
    default_route: tuple[Upstream, ...] = ()
    default_models: Mapping[str, str] = field(default_factory=dict)
    responses: ResponsesConfig = ResponsesConfig()
    webhooks: Mapping[str, WebhookConfig] = field(default_factory=dict)
    jobs: JobsConfig = JobsConfig()
    routing: RoutingConfig = RoutingConfig()
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    drain_delay: float = 0.0
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    outward: ConnectionOptions = DIRECT
    store_as_written: str = field(repr=False, default="")
    blank: bool = field(default=False, compare=False)
    blank_catalogue: bool = field(default=False, compare=False)
    variables: tuple[str, ...] = field(default=(), compare=False)
    written: str = field(default="", compare=False, repr=False)

    @property
    def sqlite_path(self) -> Path | None:
        """The store's file, absolute or relative to the working directory; None if not SQLite."""
        return Path(self.store.removeprefix(SQLITE)) if self.store.startswith(SQLITE) else None

    def pepper_file(self, own: Path | None) -> Path:
        """Where the pepper of the store's keys lies, unless the environment gives it.

        ``own``: the store's place for it. A database has none: there it lies in ``images.dir``, which is the one folder
        that all gateways of a fleet share.
        """
        return own or self.images.dir / "keys.pepper"

    @property
    def is_shared(self) -> bool:
        """Whether other gateways, here or on other machines, may work with the same store or state."""
        return self.workers > 1 or self.sqlite_path is None or self.shared_state != "memory://"

    @property
    def upstream_hosts(self) -> frozenset[str]:
        """The names of all upstreams' hosts, which clients are not told."""
        return frozenset(place.host for upstream in self.upstreams.values() for place in upstream.endpoints)

    def requires_key(self, *, stored_keys: bool = False) -> bool:
        """Whether a request must carry a virtual key.

        ``stored_keys``: whether the store holds any.
        """
        if self.auth == "auto":
            return bool(self.keys) or stored_keys or not self.listen.is_loopback
        return self.auth == "required"

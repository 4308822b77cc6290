"""The assembly of checked sections into a Config, with the rules that bind one part of the file to another."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from gateway.config.addresses import passwords
from gateway.config.catalogue import flux_facts, prices_as_of
from gateway.config.connections import ConnectionSettings, unused_proxy
from gateway.config.default_models import default_models, default_route
from gateway.config.key_models import allowed_models, model_budgets
from gateway.config.layer import Layer
from gateway.config.left_out import SAME_NAME, check_left_out
from gateway.config.oddities import key_warnings
from gateway.config.paths import beside_file, folder_of, placed_store
from gateway.config.problems import Location, did_you_mean
from gateway.config.routes import build_routes
from gateway.config.schema import FileSection
from gateway.config.settings import (
    SQLITE,
    AdminConfig,
    BudgetAlerts,
    Config,
    ImagesConfig,
    JobsConfig,
    Limits,
    LogConfig,
    ResponsesConfig,
    RoutingConfig,
    Team,
    WebhookConfig,
)
from gateway.config.telemetry import build_telemetry, secrets_of
from gateway.config.upstreams import build_upstreams, known_names
from gateway.core.connection_options import ConnectionOptions, Proxy
from gateway.core.images.flux_catalogue import FluxFacts
from gateway.core.signing import signing_key
from gateway.core.types import FailoverPolicy, Upstream, VirtualKey

RESERVED_KEY_NAMES = frozenset({"anonymous", "other"})
"""Names that metrics use for requests without a key and for what is not configured."""

SHORT_KEY = 16
"""A virtual key with fewer characters gets a warning."""


def assemble(user: Layer, own: Layer, builtin: Layer, source: Path | None, environ: Mapping[str, str]) -> Config:
    """Put the sections together. Problems are reported to the layers; if there are any, the result must not be used.
    ``own``: the models of the user's own catalogue.
    """
    sections, admin = user.sections, _checked(user, own, builtin)
    folder = folder_of(source)
    connections = ConnectionSettings(user, environ, folder)
    upstreams = build_upstreams(user, builtin, connections)
    outward = connections.outward([endpoint for upstream in upstreams.values() for endpoint in upstream.endpoints])
    proxies = _proxies(outward, upstreams)
    routes, relays = build_routes(user, own, builtin, upstreams), default_route(user, builtin, upstreams)
    telemetry, unsent = build_telemetry(sections.telemetry, environ)
    off = tuple(name for name, upstream in upstreams.items() if not upstream.credentials)
    return Config(
        listen=sections.listen,
        hosts=frozenset(sections.hosts),
        cors_origins=frozenset(sections.cors.origins),
        admin=admin,
        auth=sections.auth,
        store=placed_store(sections.store, folder),
        store_as_written=sections.store,
        shared_state=sections.shared_state,
        workers=sections.workers,
        upstreams=MappingProxyType(upstreams),
        routes=routes.usable(),
        declared=routes.declared,
        plans=MappingProxyType(dict(routes.plans)),
        provenance=MappingProxyType(dict(routes.provenance)),
        prices_as_of=prices_as_of(),
        keys=_virtual_keys(user, admin.key, upstreams),
        teams=_teams(sections),
        time_zone=sections.time_zone,
        budget_alerts=BudgetAlerts(sections.budget_alerts.webhook, sections.budget_alerts.secret),
        allow_unpriced=sections.allow_unpriced,
        cost_in_answers=sections.cost_in_answers,
        webhook_secret=sections.webhook_secret,
        failover=_failover(sections),
        images=_images(sections, folder),
        responses=ResponsesConfig(**sections.responses.model_dump()),
        webhooks=_webhooks(sections),
        jobs=JobsConfig(**sections.jobs.model_dump()),
        routing=RoutingConfig(**sections.routing.model_dump()),
        outward=outward,
        nonstream_heartbeat=sections.nonstream_heartbeat,
        limits=Limits(**sections.limits.model_dump()),
        points_per_usd=sections.points_per_usd,
        flux=_flux(sections),
        drain=sections.drain,
        drain_delay=sections.drain_delay,
        log=_log(sections, source),
        telemetry=telemetry,
        secrets=_secrets(sections, admin, upstreams, environ).union(*(proxy.secrets for proxy in proxies)),
        off=off,
        source=source,
        warnings=(*_warnings(user, builtin, upstreams, off), *_unused_proxy(environ, sections, proxies), *unsent),
        trusted_proxies=tuple(ipaddress.ip_network(one) for one in sections.trusted_proxies),
        default_route=tuple(upstream for upstream in relays if upstream.credentials),
        default_models=MappingProxyType(default_models(user, routes.declared, bool(relays))),
    )


def _webhooks(sections: FileSection) -> Mapping[str, WebhookConfig]:
    return MappingProxyType({name: WebhookConfig(one.url, one.secret) for name, one in sections.webhooks.items()})


def _admin(user: Layer, builtin: Layer) -> AdminConfig:
    admin = user.sections.admin
    key = builtin.sections.admin.key if admin.key is None else admin.key
    return AdminConfig(admin.listen, key or "", admin.open_metrics)


def _checked(user: Layer, own: Layer, builtin: Layer) -> AdminConfig:
    """The admin listener, once the rules were looked at that bind one setting to another."""
    admin = _admin(user, builtin)
    check_left_out((user, own), set(known_names(user, builtin)))
    _check_listeners(user, admin)
    _check_workers(user)
    _check_dependencies(user)
    return admin


def _check_listeners(user: Layer, admin: AdminConfig) -> None:
    sections = user.sections
    if sections.auth == "none" and not sections.listen.is_loopback:
        user.report(("auth",), "'none' is only allowed while 'listen' is on loopback; write auto or required")
    if not admin.listen.is_loopback and not admin.key:
        user.report(("admin", "key"), "a key is needed, because admin.listen is not on loopback")
    if sections.listen.overlaps(admin.listen):
        location: Location = ("admin", "listen")
        given = location in user.document.values
        user.report(location if given else ("listen",), "listen and admin.listen must be different addresses")


def _check_workers(user: Layer) -> None:
    """Budgets and limits must hold over all processes, so these need engines that all of them share."""
    sections = user.sections
    if sections.workers == 1:
        return
    if not hasattr(socket, "SO_REUSEPORT"):
        user.report(("workers",), "this system cannot deal connections out among processes; write 1")
    why = f"workers: {sections.workers} need"
    if sections.store.startswith(SQLITE):
        line = "store: postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        user.report(("store",), f"{why} books that all of them share; add the line '{line}'")
    if sections.shared_state == "memory://":
        line = "shared_state: redis://HOST:6379/0"
        user.report(("shared_state",), f"{why} limits that all of them share; add the line '{line}' (Redis or Valkey)")


def _check_dependencies(user: Layer) -> None:
    sections = user.sections
    if sections.budget_alerts.webhook and not sections.budget_alerts.secret:
        user.report(("budget_alerts", "secret"), "a secret is needed to sign what goes to the webhook")
    elif sections.budget_alerts.secret:
        _check_signing(user, ("budget_alerts", "secret"), sections.budget_alerts.secret)
    for name, webhook in sections.webhooks.items():
        _check_signing(user, ("webhooks", name, "secret"), webhook.secret)
    if sections.webhook_secret and not sections.images.public_url:
        user.report(("webhook_secret",), "PiAPI can only call back if images.public_url says where; set it too")
    if sections.failover.breaker.eject > sections.failover.breaker.eject_max:
        user.report(("failover", "breaker", "eject_max"), "must not be shorter than eject")


def _check_signing(user: Layer, location: Location, secret: str) -> None:
    if not secret:
        user.report(location, "a secret is needed to sign what goes to the webhook")
    try:
        signing_key(secret)
    except ValueError as error:
        user.report(location, str(error))


def _virtual_keys(user: Layer, admin_key: str, upstreams: Mapping[str, Upstream]) -> tuple[VirtualKey, ...]:
    given = {one.value: upstream.name for upstream in upstreams.values() for one in upstream.credentials}
    names: set[str] = set()
    digests: set[bytes] = set()
    keys = []
    for index, section in user.sections.keys.items():
        location: Location = ("keys", index)
        if section.name in RESERVED_KEY_NAMES:
            user.report((*location, "name"), f"'{section.name}' has a meaning of its own in metrics; choose another")
        if section.name in names:
            user.report((*location, "name"), SAME_NAME)
        names.add(section.name)
        digest = hashlib.sha256(section.key.encode("ascii")).digest()
        if not section.key:
            user.report((*location, "key"), "is empty; a key that lets nobody in must be removed instead")
        elif digest in digests:
            user.report((*location, "key"), "another key has the same value; each needs its own")
        elif section.key in given:
            owner = given[section.key]
            user.report(
                (*location, "key"), f"this is a key of the upstream '{owner}'; a virtual key is one of your own"
            )
        elif section.key == admin_key:
            user.report((*location, "key"), "this is the admin key; a virtual key must differ from it")
        digests.add(digest)
        if section.team is not None:
            _check_team(user, section.team, (*location, "team"))
        keys.append(
            VirtualKey(
                name=section.name,
                digest=digest,
                team=section.team,
                models=allowed_models(section.models),
                rpm=section.rpm,
                tpm=section.tpm,
                parallel=section.parallel,
                budget=section.budget,
                model_budgets=model_budgets(section.models),
                alert=section.alert or (),
            )
        )
    return tuple(keys)


def _check_team(user: Layer, team: str, location: Location) -> None:
    """Check a key's team. A team need not be declared; but if any are, an undeclared one is more likely a typing
    error.
    """
    declared = user.document.data.get("teams")
    if isinstance(declared, dict) and declared and team not in declared:
        user.report(location, f"there is no such team; {did_you_mean(team, declared)}")


def _failover(sections: FileSection) -> FailoverPolicy:
    failover = sections.failover
    return FailoverPolicy(
        attempts=failover.attempts,
        retry_budget=failover.retry_budget,
        unknown_outcome_up_to=failover.unknown_outcome_up_to,
        breaker_failures=failover.breaker.failures,
        breaker_window=failover.breaker.window,
        eject=failover.breaker.eject,
        eject_max=failover.breaker.eject_max,
    )


def _proxies(outward: ConnectionOptions, upstreams: Mapping[str, Upstream]) -> set[Proxy]:
    """Every proxy that anything goes through."""
    options = [outward, *(endpoint.options for upstream in upstreams.values() for endpoint in upstream.endpoints)]
    return {one.proxy for one in options if one.proxy is not None}


def _log(sections: FileSection, source: Path | None) -> LogConfig:
    given = sections.log
    beside = Path() if source is None else source.parent
    return LogConfig(given.format, given.level, beside / given.file if given.file else None)


def _flux(sections: FileSection) -> FluxFacts:
    facts = flux_facts()
    return replace(
        facts,
        loras=tuple(dict.fromkeys([*facts.loras, *sections.flux.extra_loras])),
        controls=tuple(dict.fromkeys([*facts.controls, *sections.flux.extra_controls])),
    )


def _teams(sections: FileSection) -> Mapping[str, Team]:
    return MappingProxyType({name: Team(name, team.budget, team.alert or ()) for name, team in sections.teams.items()})


def _unused_proxy(environ: Mapping[str, str], sections: FileSection, proxies: Set[Proxy]) -> Iterator[str]:
    """The warning of a proxy that the environment names and nothing uses."""
    if name := unused_proxy(environ, used=bool(proxies) or sections.proxy is not None):
        yield f"the environment sets {name}, which is not used: write `proxy: env` to use it, or `proxy: none`"


def _images(sections: FileSection, folder: Path) -> ImagesConfig:
    images = sections.images
    return ImagesConfig(
        keep=images.keep,
        keep_max=images.keep_max,
        dir=beside_file(images.dir, folder),
        public_url=images.public_url,
        fetch_hosts=tuple(images.fetch_hosts),
        fetch_private=images.fetch_private,
    )


def _secrets(
    sections: FileSection, admin: AdminConfig, upstreams: dict[str, Upstream], environ: Mapping[str, str]
) -> frozenset[str]:
    """Every value that must never be shown."""
    found = {admin.key, sections.webhook_secret, sections.budget_alerts.secret}
    found.update(section.key for section in sections.keys.values())
    found.update(webhook.secret for webhook in sections.webhooks.values())
    found.update(credential.value for upstream in upstreams.values() for credential in upstream.credentials)
    found.update(passwords(sections.store), passwords(sections.shared_state), secrets_of(sections.telemetry, environ))
    return frozenset(found - {""})


def _warnings(user: Layer, builtin: Layer, upstreams: dict[str, Upstream], off: tuple[str, ...]) -> tuple[str, ...]:
    """The settings that are allowed but probably a mistake."""
    found = []
    if len(off) == len(upstreams):
        found.append("no upstream has a key, so no model can be used: set PIAPI_API_KEY")
    else:
        found += [f"upstream '{name}' has no key and is off" for name in off if name in user.sections.upstreams]
    found += [
        f"the virtual key '{section.name}' has fewer than {SHORT_KEY} characters and can be guessed"
        for section in user.sections.keys.values()
        if 0 < len(section.key) < SHORT_KEY
    ]
    found += [
        f"the virtual key '{section.name}' has an alert and no budget that it could be of"
        for section in user.sections.keys.values()
        if section.alert and section.budget is None and not model_budgets(section.models)
    ]
    return (*found, *key_warnings(user, builtin, upstreams))

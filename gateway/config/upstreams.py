"""The building of upstreams from sections, with their endpoints and pools of keys."""

from __future__ import annotations

from dataclasses import replace

from gateway.config.addresses import without_suffix
from gateway.config.connections import ConnectionSettings
from gateway.config.layer import Layer
from gateway.config.oddities import from_where
from gateway.config.problems import Location
from gateway.config.upstream_schema import EndpointSection, PoolKeySection, TasksSection, UpstreamSection
from gateway.core.types import Credential, Endpoint, TaskTimes, Timeouts, Upstream

_NOTHING = UpstreamSection()
_ADDED_PATHS = {"piapi": ("/api/v1", "/v1"), "openai": ("/v1",), "anthropic": ("/v1",)}


def known_names(user: Layer, builtin: Layer) -> tuple[str, ...]:
    """Every upstream named in either file, also those that turned out invalid."""
    found: dict[str, None] = {}
    for layer in (builtin, user):
        given = layer.document.data.get("upstreams")
        found |= dict.fromkeys(given if isinstance(given, dict) else ())
    return tuple(found)


def build_upstreams(user: Layer, builtin: Layer, connections: ConnectionSettings) -> dict[str, Upstream]:
    """The valid upstreams. One whose pool has no key left has no credentials."""
    upstreams = {}
    for name in known_names(user, builtin):
        location: Location = ("upstreams", name)
        if user.document.is_broken(location) or builtin.document.is_broken(location):
            continue
        upstream = _build(name, user, builtin, connections)
        if upstream is not None:
            upstreams[name] = upstream
    return upstreams


def _build(name: str, user: Layer, builtin: Layer, connections: ConnectionSettings) -> Upstream | None:
    mine = user.sections.upstreams.get(name, _NOTHING)
    base = builtin.sections.upstreams.get(name, _NOTHING)
    location: Location = ("upstreams", name)
    dialect = mine.dialect or base.dialect
    endpoints = base.endpoints if mine.endpoints is None else mine.endpoints
    keys = base.keys if mine.keys is None else mine.keys
    if dialect is None or endpoints is None or keys is None:
        parts = {"dialect": dialect, "endpoints": endpoints, "keys": keys}
        missing = ", ".join(part for part, value in parts.items() if value is None)
        user.report_key(location, f"an upstream that is not built in needs dialect, endpoints and keys; add {missing}")
        return None
    tasks = mine.tasks or TasksSection()
    if tasks.poll > tasks.poll_max:
        user.report((*location, "tasks", "poll_max"), "must not be shorter than tasks.poll")
    hosts = _endpoints(
        endpoints, (*location, "endpoints"), builtin if mine.endpoints is None else user, _ADDED_PATHS[dialect]
    )
    return Upstream(
        name=name,
        dialect=dialect,
        endpoints=connections.connected(hosts, mine, location),
        credentials=_pool(keys, (*location, "keys"), builtin if mine.keys is None else user),
        timeouts=Timeouts(**mine.timeouts.model_dump()) if mine.timeouts else Timeouts(),
        tasks=TaskTimes(**tasks.model_dump()),
        pass_fields=frozenset(mine.pass_fields),
    )


def _endpoints(
    sections: list[EndpointSection], location: Location, layer: Layer, added: tuple[str, ...]
) -> tuple[Endpoint, ...]:
    """The endpoints of one upstream.

    ``added``: what every path begins with; an address may end with one of them, as OPENAI_BASE_URL does by convention.
    """
    endpoints: dict[str, Endpoint] = {}
    for index, section in enumerate(sections):
        endpoint = replace(section.url, wall=section.wall)
        if (end := next((end for end in added if endpoint.base_path.endswith(end)), None)) is not None:
            endpoint = without_suffix(endpoint, end)
        if endpoint.url in endpoints:
            layer.report((*location, index, "url"), "this endpoint is listed twice; give each one once")
        endpoints[endpoint.url] = endpoint
    return tuple(endpoints.values())


def _pool(sections: list[PoolKeySection], location: Location, layer: Layer) -> tuple[Credential, ...]:
    """The keys that have a value. One without a name is named after its position, never after its value."""
    names: set[str] = set()
    values: set[str] = set()
    pool = []
    for index, section in enumerate(sections):
        name = section.name or f"key-{index + 1}"
        if name in names:
            layer.report((*location, index, "name"), "another key of this pool has that name; names must differ")
        names.add(name)
        if not section.value:
            continue
        if section.value in values:
            twice = "this key is in the pool twice; give each one once"
            layer.report((*location, index, "value"), twice + from_where(layer.document, (*location, index)))
        values.add(section.value)
        pool.append(Credential(name, section.value, section.weight, section.max_parallel))
    return tuple(pool)

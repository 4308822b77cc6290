"""What one configuration has changed against another, one line each, by name and never with a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from gateway.config.settings import Config, Team, WebhookConfig
from gateway.core.pricing.price_text import describe_price, usd
from gateway.core.route_rules import CacheRules, RouteRules
from gateway.core.types import Budget, Endpoint, Route, Target, Upstream, VirtualKey

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """``text``: ``teams.growth: budget 500/month -> none``. ``weaker``: whether it takes away what kept a key from
    spending or from entering.
    """

    text: str
    weaker: bool = False


_Difference = tuple[str, bool]
"""What differs in one thing, and whether it is weaker for it."""

_SHOWN: Mapping[str, Callable[[Config], object]] = {
    "auth": lambda config: config.auth,
    "hosts": lambda config: sorted(config.hosts),
    "cors.origins": lambda config: sorted(config.cors_origins),
    "trusted_proxies": lambda config: [str(network) for network in config.trusted_proxies],
    "admin.open_metrics": lambda config: config.admin.open_metrics,
    "allow_unpriced": lambda config: config.allow_unpriced,
    "cost_in_answers": lambda config: config.cost_in_answers,
    "nonstream_heartbeat": lambda config: _seconds(config.nonstream_heartbeat),
    "points_per_usd": lambda config: config.points_per_usd,
    "drain": lambda config: _seconds(config.drain),
    "drain_delay": lambda config: _seconds(config.drain_delay),
    "default_route": lambda config: [upstream.name for upstream in config.default_route],
    "default_models": lambda config: {kind: model for kind, model in sorted(config.default_models.items()) if model},
    "routing.learn": lambda config: config.routing.learn,
    "routing.half_life": lambda config: _seconds(config.routing.half_life),
    "routing.prefer": lambda config: config.routing.prefer,
    "limits.body": lambda config: config.limits.body,
    "limits.upload": lambda config: config.limits.upload,
    "limits.event": lambda config: config.limits.event,
    "catalogue": lambda config: str(config.catalogue or "none"),
}
"""The settings whose values can be shown. Sizes are bytes."""

_HIDDEN: Mapping[str, Callable[[Config], object]] = {
    "admin.key": lambda config: config.admin.key,
    "webhook_secret": lambda config: config.webhook_secret,
    "budget_alerts.webhook": lambda config: config.budget_alerts.webhook,
    "budget_alerts.secret": lambda config: config.budget_alerts.secret,
    "proxy, no_proxy or ca_file": lambda config: config.outward,
    "flux": lambda config: config.flux,
}
"""The settings of which it is only said that they changed: secrets, addresses that may hold one, long lists."""

_WEAKER: Mapping[str, Callable[[Any, Any], bool]] = {
    "auth": lambda _, new: new != "required",
    "hosts": lambda old, new: bool(set(new) - set(old)),
    "cors.origins": lambda old, new: bool(set(new) - set(old)),
    "trusted_proxies": lambda old, new: bool(set(new) - set(old)),
    "admin.open_metrics": lambda _, new: bool(new),
    "allow_unpriced": lambda _, new: bool(new),
    "default_route": lambda old, new: bool(set(new) - set(old)),
}


def changes(old: Config, new: Config) -> list[Change]:
    """What ``new`` has changed, in the order of the file's sections."""
    return [
        *_settings(old, new),
        *_upstreams(old, new),
        *_models(old, new),
        *_teams(old, new),
        *_webhooks(old, new),
        *_keys(old, new),
    ]


def _settings(old: Config, new: Config) -> Iterator[Change]:
    for name, value in _SHOWN.items():
        before, after = value(old), value(new)
        if before != after:
            yield Change(f"{name}: {_text(before)} -> {_text(after)}", _WEAKER.get(name, _never)(before, after))
    for name, value in _HIDDEN.items():
        if (before := value(old)) != (after := value(new)):
            yield Change(f"{name}: {_came_or_went(before, after)}")
    for one in fields(old.failover):
        before, after = getattr(old.failover, one.name), getattr(new.failover, one.name)
        if before != after:
            yield Change(f"failover.{one.name}: {_text(before)} -> {_text(after)}")


def _upstreams(old: Config, new: Config) -> Iterator[Change]:
    yield from _named("upstreams", old.upstreams, new.upstreams, _in_upstream)


def _in_upstream(old: Upstream, new: Upstream) -> Iterator[_Difference]:
    if old.dialect != new.dialect:
        yield f"dialect {old.dialect} -> {new.dialect}", False
    were, are = ({endpoint.url: endpoint for endpoint in upstream.endpoints} for upstream in (old, new))
    yield from _members("endpoint", were, are, _in_endpoint)
    if list(were) != list(are) and set(were) == set(are):
        yield "endpoints in another order", False
    pool, new_pool = ({key.name: key for key in upstream.credentials} for upstream in (old, new))
    yield from _members("key", pool, new_pool, lambda one, other: [("changed", False)] if one != other else [])
    for name in ("timeouts", "tasks", "pass_fields"):
        if getattr(old, name) != getattr(new, name):
            yield f"{name} changed", False
    if bool(old.credentials) != bool(new.credentials):
        yield ("on" if new.credentials else "off, for want of a key"), False


def _in_endpoint(old: Endpoint, new: Endpoint) -> Iterator[_Difference]:
    if old.wall != new.wall:
        yield f"wall {_seconds(old.wall)} -> {_seconds(new.wall)}", False
    if old.options != new.options:
        yield "connections changed (proxy, certificates or max_age)", False


def _models(old: Config, new: Config) -> Iterator[Change]:
    before, after = ({route.model: route for route in config.declared} for config in (old, new))
    yield from _named("models", before, after, _in_route)


def _in_route(old: Route, new: Route) -> Iterator[_Difference]:
    were, are = (
        {f"{target.upstream.name} {target.operation} {target.model}": target for target in route.targets}
        for route in (old, new)
    )
    yield from _members("target", were, are, _in_target)
    if list(were) != list(are) and set(were) == set(are):
        yield "targets in another order", False
    yield from _in_rules(old.rules, new.rules)
    for name in ("aliases", "max_output", "context", "notes"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{name} {_text(before)} -> {_text(after)}", False


def _in_rules(old: RouteRules, new: RouteRules) -> Iterator[_Difference]:
    if old.prefer != new.prefer:
        yield f"routing.prefer {_text(old.prefer)} -> {_text(new.prefer)}", False
    if old.cache != new.cache:
        yield f"cache {_kept(old.cache)} -> {_kept(new.cache)}", False


def _in_target(old: Target, new: Target) -> Iterator[_Difference]:
    before, after = describe_price(old.price), describe_price(new.price)
    if before is None or after is None:
        if before != after:
            yield f"price {_text(before)} -> {_text(after)}", after is None
    else:
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                yield f"price {name} {_text(before.get(name))} -> {_text(after.get(name))}", False
    for name in ("shutdown", "successor"):
        if (was := getattr(old, name)) != (now := getattr(new, name)):
            yield f"{name} {_text(was)} -> {_text(now)}", False
    if old.tasks != new.tasks:
        yield "tasks changed", False
    if old.rewrites != new.rewrites:
        yield "rewrites changed", False


def _teams(old: Config, new: Config) -> Iterator[Change]:
    yield from _named(
        "teams", old.teams, new.teams, _in_team, lambda team: f" (budget {_budget(team.budget)})" if team.budget else ""
    )


def _in_team(old: Team, new: Team) -> Iterator[_Difference]:
    yield from _budget_difference("budget", old.budget, new.budget)
    if old.alert != new.alert:
        yield f"alert {_percents(old.alert)} -> {_percents(new.alert)}", False


def _webhooks(old: Config, new: Config) -> Iterator[Change]:
    yield from _named("webhooks", old.webhooks, new.webhooks, _in_webhook)


def _in_webhook(old: WebhookConfig, new: WebhookConfig) -> Iterator[_Difference]:
    for name in ("url", "secret"):
        if getattr(old, name) != getattr(new, name):
            yield f"{name} changed", False


def _keys(old: Config, new: Config) -> Iterator[Change]:
    before, after = ({key.name: key for key in config.keys} for config in (old, new))
    yield from _named("keys", before, after, _in_key)


def _in_key(old: VirtualKey, new: VirtualKey) -> Iterator[_Difference]:
    if old.digest != new.digest:
        yield "another key", False
    if old.team != new.team:
        yield f"team {_text(old.team)} -> {_text(new.team)}", new.team is None
    if old.models != new.models:
        yield (
            f"models {_text(old.models)} -> {_text(new.models)}",
            not all(_within(one, old.models) for one in new.models),
        )
    yield from _budget_difference("budget", old.budget, new.budget)
    before, after = dict(old.model_budgets), dict(new.model_budgets)
    for pattern in dict.fromkeys([*before, *after]):
        yield from _budget_difference(f"budget of {pattern}", before.get(pattern), after.get(pattern))
    for name in ("rpm", "tpm", "parallel"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield f"{name} {_text(was)} -> {_text(now)}", now is None
    if old.alert != new.alert:
        yield f"alert {_percents(old.alert)} -> {_percents(new.alert)}", False


def _within(pattern: str, patterns: Iterable[str]) -> bool:
    """Whether every model that a pattern allows was allowed by others."""
    return any(
        pattern == one or (one.endswith("*") and pattern.removesuffix("*").startswith(one[:-1])) for one in patterns
    )


def _budget_difference(name: str, old: Budget | None, new: Budget | None) -> Iterator[_Difference]:
    if old != new:
        yield f"{name} {_budget(old)} -> {_budget(new)}", new is None


def _named(
    section: str,
    old: Mapping[str, T],
    new: Mapping[str, T],
    differences: Callable[[T, T], Iterable[_Difference]],
    limit: Callable[[T], str] = lambda _: "",
) -> Iterator[Change]:
    """One line for each member that came, went or is another. ``limit``: what of one that went was a limit."""
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            lost = limit(old[name])
            yield Change(f"{section}.{name}: removed{lost}", bool(lost))
        elif name not in old:
            yield Change(f"{section}.{name}: added")
        elif found := list(differences(old[name], new[name])):
            yield Change(
                f"{section}.{name}: {'; '.join(text for text, _ in found)}", any(weaker for _, weaker in found)
            )


def _members(
    kind: str, old: Mapping[str, T], new: Mapping[str, T], differences: Callable[[T, T], Iterable[_Difference]]
) -> Iterator[_Difference]:
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield f"{kind} {name} removed", False
        elif name not in old:
            yield f"{kind} {name} added", False
        else:
            yield from ((f"{kind} {name} {text}", weaker) for text, weaker in differences(old[name], new[name]))


def _never(_: Any, __: Any) -> bool:
    return False


def _came_or_went(before: object, after: object) -> str:
    return "changed" if before and after else "set" if after else "removed"


def _budget(budget: Budget | None) -> str:
    return "none" if budget is None else f"{usd(budget.amount)}/{budget.period}"


def _percents(alert: tuple[int, ...]) -> str:
    return ",".join(map(str, alert)) if alert else "80,100"


def _kept(rules: CacheRules | None) -> str:
    return "none" if rules is None else f"{_seconds(rules.ttl)} in {rules.max} bytes for one {rules.share}"


def _seconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds:g}s"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_text(one)}" for name, one in value.items()) + "}"
    if isinstance(value, tuple | list | set | frozenset):
        return "[" + ", ".join(map(_text, value)) + "]"
    return "none" if value is None or value == "" else str(value)

"""A look at the virtual keys against the configuration: whose team or models it no longer has, and which it refuses."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.config import Config
from gateway.core.errors import GatewayError
from gateway.core.pricing.price_text import usd
from gateway.core.routing.model_names import after_vendor, allowed
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Budget, VirtualKey
from gateway.exchange.services import Services
from gateway.keys.hashing import pepper_if_there
from gateway.keys.keyring import Keyring
from gateway.stores.base import StoreReader, TeamRecords
from gateway.telemetry.log import Log

MOST_TOLD = 20
"""Findings of a kind that are told one by one."""

SeenTeams = Mapping[str, Budget | None]
"""Every team that was ever in force, with the budget it had last."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a key that is probably a mistake. ``event``: of the log's line; ``what``: the team or model."""

    event: str
    key: str
    what: str
    sentence: str


def refused_teams(config: Config, seen: SeenTeams) -> frozenset[str]:
    """The teams whose keys are refused: they had a budget when they were last in force, and are configured no more."""
    return frozenset(name for name, budget in seen.items() if budget is not None and name not in config.teams)


def team_budgets(config: Config) -> dict[str, Budget | None]:
    """What the store is to remember of a configuration that is in force."""
    return {name: team.budget for name, team in config.teams.items()}


async def look_at_keys(
    config: Config, teams: TeamRecords, keyring: Keyring, services: Services
) -> tuple[frozenset[str], list[Finding]]:
    """Whose keys are refused once ``config`` is in force, and what is wrong with them. Its teams are written down.

    Where the store cannot be written that is only told: what it knows holds all the same. Raises StoreError if it
    cannot be read.
    """
    budgets = team_budgets(config)
    try:
        await teams.remember(budgets, services.clock.wall_ns())
    except GatewayError as error:
        services.log.warning("teams_not_remembered", message=error.message)
    seen = {**await teams.seen(), **budgets}
    return refused_teams(config, seen), review_keys(config, keyring.stored, seen, keyring.find)


def review_keys(
    config: Config, stored: Sequence[VirtualKey], seen: SeenTeams, find: Callable[[bytes], VirtualKey | None]
) -> list[Finding]:
    """What is wrong with the keys, many of a kind folded. ``stored``: those of the store that are in force. ``find``:
    SHA-256 of a key → the virtual key that it is.
    """
    in_file = {key.name for key in config.keys}
    own = [key for key in stored if key.name not in in_file]
    refused = refused_teams(config, seen)
    kinds = (
        [_shadowed(key) for key in stored if key.name in in_file],
        [found for key in (*config.keys, *own) for found in _lost_budget(key, seen, refused, key.name in in_file)],
        [found for key in own for found in _lost_team(key, config, seen, refused)],
        list(_lost_models(own, config)),
        list(_given_upstream(config, find)),
    )
    return [found for kind in kinds for found in _folded(kind)]


async def review_store(config: Config, store: StoreReader) -> list[str]:
    """``review_keys`` of a store that is only read, as sentences. Raises StoreError if it cannot be read."""
    if not await store.exists():
        return []
    stored = await store.keys.active(time.time_ns())
    keys = {key.digest: key.virtual_key() for key in stored}
    pepper = pepper_if_there(config.pepper_file(store.pepper_file), config.key_pepper) if keys else None

    def find(sha256: bytes) -> VirtualKey | None:
        return None if pepper is None else keys.get(pepper.digest_of(sha256))

    return [one.sentence for one in review_keys(config, list(keys.values()), await store.teams.seen(), find)]


def tell_of_keys(findings: Iterable[Finding], log: Log) -> None:
    """One warning each."""
    for found in findings:
        log.warning(found.event, key=found.key, **{"about": found.what} if found.what else {}, message=found.sentence)


def _shadowed(key: VirtualKey) -> Finding:
    sentence = f"the configuration file has a key named '{key.name}', so the one of that name in the store is off"
    return Finding("key_shadowed", key.name, "", sentence)


def _lost_budget(key: VirtualKey, seen: SeenTeams, refused: frozenset[str], in_file: bool) -> Iterator[Finding]:
    if key.team is None or key.team not in refused:
        return
    budget = seen[key.team]
    had = "" if budget is None else f" of {usd(budget.amount)}/{budget.period}"
    change = "take 'team' from the key" if in_file else f"piapi-gateway keys set {key.name} --team none"
    yield Finding(
        "key_team_unknown",
        key.name,
        key.team,
        f"the key '{key.name}' is refused (403 team_unknown): its team '{key.team}' had a budget{had} and is no longer "
        f"configured. Name it under 'teams' again, or: {change}",
    )


def _lost_team(key: VirtualKey, config: Config, seen: SeenTeams, refused: frozenset[str]) -> Iterator[Finding]:
    """A team without a budget sets no limit, so its keys are served; it is told where others are named, or it was."""
    if key.team is None or key.team in config.teams or key.team in refused:
        return
    if config.teams or key.team in seen:
        yield Finding(
            "key_team_not_configured",
            key.name,
            key.team,
            f"the key '{key.name}' is of the team '{key.team}', which is not configured; it is served without a team's "
            f"budget. Name it under 'teams', or: piapi-gateway keys set {key.name} --team none",
        )


def _lost_models(keys: Sequence[VirtualKey], config: Config) -> Iterator[Finding]:
    table = RouteTable(config.declared)
    names = [name for route in config.declared for name in (route.model, *route.aliases)]
    for key in keys:
        patterns = dict.fromkeys([*key.models, *(pattern for pattern, _ in key.model_budgets)])
        lost = [pattern for pattern in patterns if not _matches_any(pattern, table, names)]
        if lost:
            shown = ", ".join(lost)
            relayed = "; it is still relayed along default_route" if config.default_route else ""
            yield Finding(
                "key_models_unknown",
                key.name,
                shown,
                f"the key '{key.name}' may use {shown}, which no model of the configuration matches{relayed}. "
                f"See: piapi-gateway models; change it: piapi-gateway keys set {key.name} --models …",
            )


def _matches_any(pattern: str, table: RouteTable, names: Sequence[str]) -> bool:
    if not pattern.endswith("*"):
        return table.find(pattern) is not None
    stems = {pattern[:-1], pattern[after_vendor(pattern) : -1]}
    return any(
        allowed([f"{stem}*"], name) or (name.endswith("*") and stem.startswith(name[:-1]))
        for stem in stems
        for name in names
    )


def _given_upstream(config: Config, find: Callable[[bytes], VirtualKey | None]) -> Iterator[Finding]:
    for upstream in config.upstreams.values():
        for credential in upstream.credentials:
            if (key := find(hashlib.sha256(credential.value.encode()).digest())) is not None:
                yield Finding(
                    "key_given_upstream",
                    key.name,
                    upstream.name,
                    f"upstreams.{upstream.name}: its key '{credential.name}' is the virtual key '{key.name}' of this "
                    "gateway; the provider's own key belongs there",
                )


def _folded(findings: list[Finding]) -> list[Finding]:
    """At most MOST_TOLD, and then how many more there are."""
    if len(findings) <= MOST_TOLD:
        return findings
    rest = findings[MOST_TOLD - 1 :]
    more = ", ".join(found.key for found in rest[:MOST_TOLD]) + (", …" if len(rest) > MOST_TOLD else "")
    return [
        *findings[: MOST_TOLD - 1],
        Finding(rest[0].event, "", "", f"the same of {len(rest)} more keys: {more}"),
    ]

"""The state of the upstreams that outlives a request: keys, health, retries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.core.routing.credentials import CredentialPool
from gateway.core.routing.health import UpstreamHealth
from gateway.core.routing.key_pauses import Reason
from gateway.core.routing.refused_wishes import RefusedWishes
from gateway.core.routing.retry_budget import RetryBudget
from gateway.core.types import Credential, FailoverPolicy, Upstream


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """The memory of one upstream: its keys, its endpoints and models, its retries, what it refused of our wishes."""

    upstream: Upstream
    pool: CredentialPool
    health: UpstreamHealth
    budget: RetryBudget
    refused: RefusedWishes


class UpstreamStates:
    """The memory of all upstreams, by the upstream's name, and the failover policy.

    ``by_name``: as a plain dictionary, which each request looks into several times.
    ``doubt``: called with a key and what a request's answer said of it ("invalid" or "unfunded"), to have the key asked
    about by a free read; must not wait.
    """

    def __init__(self, upstreams: Iterable[Upstream], policy: FailoverPolicy) -> None:
        self.policy = policy
        self.doubt: Callable[[Upstream, Credential, Reason], None] = lambda *_: None
        self.by_name = {
            upstream.name: UpstreamState(
                upstream,
                CredentialPool(upstream),
                UpstreamHealth(upstream, policy),
                RetryBudget(policy.retry_budget),
                RefusedWishes(),
            )
            for upstream in upstreams
        }

    def __getitem__(self, name: str) -> UpstreamState:
        return self.by_name[name]

    def get(self, name: str) -> UpstreamState | None:
        """The memory of one upstream; None if there is none of that name."""
        return self.by_name.get(name)

    def __iter__(self) -> Iterator[UpstreamState]:
        return iter(self.by_name.values())

    def refused(self, name: str) -> RefusedWishes:
        """What the upstream of this name refused of the gateway's own wishes."""
        return self.by_name[name].refused

    def adopt(self, previous: UpstreamStates) -> None:
        """Take over, after a reload, the state of upstreams, endpoints and keys that still exist.

        The state is shared with ``previous``, so that exchanges under way update both.
        """
        self.doubt = previous.doubt
        for name, state in self.by_name.items():
            before = previous.by_name.get(name)
            if before is None:
                continue
            same_hosts = not {one.url for one in state.upstream.endpoints}.isdisjoint(
                one.url for one in before.upstream.endpoints
            )
            state.pool.adopt(before.pool)
            state.health.adopt(before.health)
            before.budget.ratio = self.policy.retry_budget
            refused = before.refused if same_hosts else state.refused
            self.by_name[name] = UpstreamState(state.upstream, state.pool, state.health, before.budget, refused)

    def endpoints_available(self, now: float) -> list[tuple[str, str, bool]]:
        """For each endpoint: the upstream, the endpoint's URL, and whether its breaker is closed."""
        return [
            (name, endpoint.url, state.health.available(endpoint.url, now))
            for name, state in self.by_name.items()
            for endpoint in state.upstream.endpoints
        ]

    def keys_available(self, now: float) -> list[tuple[str, str, bool]]:
        """For each key: the upstream, the key's name, and whether it is in use."""
        return [
            (name, credential.name, state.pool.available(credential.name, now))
            for name, state in self.by_name.items()
            for credential in state.upstream.credentials
        ]

    def describe(self, now: float) -> list[dict[str, Any]]:
        """All of it as JSON for ``status``. ``retry_in`` is seconds; only names of keys, never their values."""
        return [_description(state, now) for state in self.by_name.values()]


def _description(state: UpstreamState, now: float) -> dict[str, Any]:
    health = state.health.snapshot(now)
    return {
        "name": state.upstream.name,
        "dialect": state.upstream.dialect,
        "endpoints": [
            {"url": one.name, "breaker": one.state, "retry_in": round(one.seconds, 1)} for one in health.endpoints
        ],
        "models": [
            {"model": one.name, "breaker": one.state, "retry_in": round(one.seconds, 1)} for one in health.models
        ],
        "keys": [
            {
                "name": key.name,
                "in_flight": key.in_flight,
                "max_parallel": key.max_parallel,
                "cooling": key.cooling,
                "retry_in": round(key.seconds, 1),
                "models": [
                    {"model": model, "cooling": reason, "retry_in": round(seconds, 1)}
                    for model, (reason, seconds) in key.models.items()
                ],
            }
            for key in state.pool.snapshot(now)
        ],
    }

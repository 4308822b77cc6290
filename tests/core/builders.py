"""Small upstreams, targets and outcomes for the tests of deciding."""

from __future__ import annotations

from gateway.core.outcomes.table import RULES, price_at_stake
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import Credential, Dialect, Endpoint, OperationName, Outcome, Phase, Price, Target, Upstream

CHEAP = Price(image=20_000_000, no_image=660_000)
"""gpt-4o-image: two cents an image."""

DEAR = Price(table={"high": {"1024x1024": 167_000_000, "1536x1024": 250_000_000}, "low": {"1024x1024": 11_000_000}})
"""gpt-image-1: up to 25 cents."""

TOKENS = Price(input=1_875_000_000, output=7_500_000_000)


class Chance:
    """Randomness that always comes out the same; 0.5 is the middle of every jitter."""

    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


class Work:
    """What a failover plan is for: that one ``operation``, and at every target these wishes."""

    def __init__(self, operation: OperationName, wishes: OwnWishes | None = None) -> None:
        self.supports = frozenset({operation})
        self._wishes = wishes or OwnWishes()

    def stake(self, target: Target) -> int | None:
        return price_at_stake(target)

    def wishes(self, target: Target) -> OwnWishes:
        return self._wishes


def endpoint(host: str) -> Endpoint:
    return Endpoint(f"https://{host}", "https", host, 443)


def key(name: str, *, weight: int = 1, max_parallel: int | None = None) -> Credential:
    return Credential(name, f"value-of-{name}", weight, max_parallel)


def upstream(
    name: str = "piapi",
    *,
    hosts: tuple[str, ...] = ("api.piapi.ai", "proxy.piapi.ai"),
    keys: tuple[str | Credential, ...] = ("a",),
    dialect: Dialect = "piapi",
) -> Upstream:
    credentials = tuple(one if isinstance(one, Credential) else key(one) for one in keys)
    return Upstream(name, dialect, tuple(endpoint(host) for host in hosts), credentials)


def backup(*, keys: tuple[str | Credential, ...] = ("b",)) -> Upstream:
    return upstream("backup", hosts=("api.openai.com",), keys=keys, dialect="openai")


def target(
    at: Upstream, model: str = "gpt-4o", *, price: Price | None = TOKENS, operation: OperationName = "chat"
) -> Target:
    return Target(at, model, operation, price)


def ended(slug: str, phase: Phase | None = None, *, retry_after: float | None = None) -> Outcome:
    """An outcome in its usual phase, or another."""
    return Outcome(slug, RULES[slug].phase if phase is None else phase, retry_after=retry_after)

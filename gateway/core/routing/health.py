"""The health of one upstream's endpoints and models: which to try first, which to avoid.

Each endpoint has a breaker. A model gets one too, once the service behind a host has failed for it: is the host at
fault, or the model everywhere? The host is blamed until the same failure was seen at a second host (with a second key,
if there is only one host); then the model is avoided at this upstream, and the hosts serve the others. An endpoint
whose CDN gave up on a model's long answers is asked last for that model, and otherwise counts as healthy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from gateway.core.chance import Randomness
from gateway.core.outcomes.table import OWN_ENDINGS, RULES, Scope
from gateway.core.routing.breaker import Breaker, BreakerState, OpenBreaker
from gateway.core.types import CostClass, Credential, Endpoint, FailoverPolicy, Outcome, Phase, Upstream

BreakerKind = Literal["endpoint", "model"]

K = TypeVar("K")
V = TypeVar("V")

MISSING_MODEL_FOR = 60.0
"""Seconds for which a model that the upstream does not know is not requested there again if there is another target."""

SLOW_FOR = 600.0
"""Seconds for which a model's requests avoid a host that gave up waiting for its answer."""

MODELS_REMEMBERED = 256
"""The most models whose state is kept for one upstream, since clients choose the names of models."""


@dataclass(slots=True)
class Ticket:
    """One request on its way to an endpoint; to be handed back to ``UpstreamHealth.report``.

    ``began``: monotonic seconds.
    ``asker``: the member whose request it is.
    """

    endpoint: Endpoint
    model: str
    began: float
    asker: str = ""


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """The breaker of one endpoint or model, as ``status`` shows it.

    ``name``: the endpoint's URL or the model.
    ``seconds``: until a probe may go through; 0 if the breaker is not open.
    """

    name: str
    state: BreakerState
    seconds: float


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """The breakers of one upstream, as ``status`` shows them."""

    endpoints: list[BreakerSnapshot]
    models: list[BreakerSnapshot]


class UpstreamHealth:
    """The breakers of one upstream.

    ``on_breaker``: told of each breaker that changes by what was seen here: ``endpoint`` or ``model``, its name, and
    itself. ``on_slow``: of each endpoint that is found too slow for a model.
    """

    def __init__(self, upstream: Upstream, policy: FailoverPolicy) -> None:
        self.on_breaker: Callable[[BreakerKind, str, Breaker], None] = lambda *_: None
        self.on_slow: Callable[[str, str], None] = lambda *_: None
        self._policy = policy
        self._endpoints = upstream.endpoints
        self._breakers = {endpoint.url: Breaker(policy) for endpoint in upstream.endpoints}
        for url, breaker in self._breakers.items():
            breaker.on_change = partial(self._changed, "endpoint", url, breaker)
        self._models: dict[str, Breaker] = {}
        self._slow: dict[tuple[str, str], float] = {}

    def adopt(self, previous: UpstreamHealth) -> None:
        """Take over the state of endpoints and models through a reload. The breakers are shared with ``previous``, to
        which requests under way still report.
        """
        for url in self._breakers:
            if url in previous._breakers:
                self._breakers[url] = previous._breakers[url]
        self._models = previous._models
        self._slow = previous._slow
        kinds: tuple[tuple[BreakerKind, dict[str, Breaker]], ...] = (
            ("endpoint", self._breakers),
            ("model", self._models),
        )
        for kind, breakers in kinds:
            for name, breaker in breakers.items():
                breaker.policy = self._policy
                breaker.on_change = partial(self._changed, kind, name, breaker)

    def endpoints(self, model: str, cost_class: CostClass, now: float, asker: str = "") -> Sequence[Endpoint]:
        """The endpoints worth trying for a request of ``asker``, best first: in configured order, those too slow for
        the model last.

        A paid request is not the probe of a half-open endpoint or model while other requests may be.
        """
        may_probe = cost_class is not CostClass.PAID
        if self._models:
            cooling = self._models.get(model)
            if cooling is not None and not cooling.admits(now, may_probe=may_probe, asker=asker):
                return []
        breakers = self._breakers
        admitted = [
            one
            for one in self._endpoints
            if breakers[one.url].opened is None or breakers[one.url].admits(now, may_probe=may_probe, asker=asker)
        ]
        return self._slow_last(admitted, model, now) if self._slow else admitted

    def every_endpoint(self, model: str, now: float) -> list[Endpoint]:
        """All endpoints, those in use first. For requests with no better target: an upstream never loses its last
        endpoint.
        """
        ordered = sorted(self._endpoints, key=lambda one: not self.available(one.url, now))
        return self._slow_last(ordered, model, now)

    def doubts(self, endpoint: Endpoint, model: str, now: float) -> tuple[bool, bool]:
        """Whether it is out of use, and whether it was too slow for the model of late: what puts it behind others."""
        return not self.available(endpoint.url, now), self._slow.get((endpoint.url, model), now) > now

    def reliable(self, endpoint: Endpoint, model: str, now: float) -> bool:
        """Whether the endpoint can be expected to serve the model well."""
        cooling = self._models.get(model)
        if cooling is not None and cooling.state(now) != "closed":
            return False
        return self._breakers[endpoint.url].reliable(now) and self._slow.get((endpoint.url, model), now) <= now

    def begin(self, endpoint: Endpoint, model: str, now: float, asker: str = "") -> Ticket:
        """Record that a request goes to ``endpoint``; ``report`` must follow."""
        if self._breakers[endpoint.url].opened is not None:
            self._breakers[endpoint.url].begin(now)
        if model in self._models:
            self._models[model].begin(now)
        return Ticket(endpoint, model, now, asker)

    def answering(self, ticket: Ticket, now: float) -> None:
        """Record that the upstream has begun to answer with content, which clears earlier failures long before the
        answer ends.
        """
        breaker = self._breakers[ticket.endpoint.url]
        if breaker.opened is not None:
            breaker.succeed(ticket.began, now)
        if ticket.model in self._models:
            self._forgive_model(ticket, now)

    def report(self, ticket: Ticket, credential: Credential, outcome: Outcome, now: float, rng: Randomness) -> None:
        """Update the breakers by the outcome of a request."""
        breaker = self._breakers[ticket.endpoint.url]
        breaker.end(ticket.began)
        if ticket.model in self._models:
            self._models[ticket.model].end(ticket.began)
        if outcome.ok:
            breaker.succeed(ticket.began, now)
            if ticket.model in self._models:
                self._forgive_model(ticket, now)
            return
        scope = RULES[outcome.slug].against
        if scope is Scope.ENDPOINT:
            breaker.strike(credential.name, ticket.began, now, rng, ticket.asker)
        elif scope is Scope.ENDPOINT_MODEL:
            _remember(self._slow, (ticket.endpoint.url, ticket.model), now + SLOW_FOR)
            self.on_slow(ticket.endpoint.url, ticket.model)
        elif scope is Scope.UPSTREAM_MODEL:
            self._cooling(ticket.model).open_for(MISSING_MODEL_FOR, now, ticket.asker)
        elif scope is Scope.ORIGIN and outcome.retry_after is not None:
            self._cooling(ticket.model).open_for(outcome.retry_after, now, ticket.asker)
        elif scope is Scope.ORIGIN:
            self._strike_origin(ticket, credential, now, rng)
        if _shows_life(outcome):
            breaker.succeed(ticket.began, now)

    def hear_breaker(self, kind: BreakerKind, name: str, told: OpenBreaker | None, now: float) -> None:
        """Take over what another gateway tells of a breaker; None: it is closed. An endpoint that is not of this
        upstream is passed over.
        """
        if kind == "model":
            if told is not None:
                self._cooling(name).hear(told, now)
            elif name in self._models:
                self._models.pop(name).hear(None, now)
        elif (breaker := self._breakers.get(name)) is not None:
            breaker.hear(told, now)

    def hear_slow(self, url: str, model: str, seconds: float, now: float) -> None:
        """Take over that an endpoint was found too slow for a model; ``seconds``: how long it is avoided yet."""
        _remember(self._slow, (url, model), max(now + seconds, self._slow.get((url, model), 0.0)))

    def available(self, url: str, now: float) -> bool:
        """Whether an endpoint's breaker is closed."""
        return self._breakers[url].state(now) == "closed"

    def snapshot(self, now: float) -> HealthSnapshot:
        """The breakers, as ``status`` shows them."""
        return HealthSnapshot(
            endpoints=[_shown(url, breaker, now) for url, breaker in self._breakers.items()],
            models=[_shown(model, breaker, now) for model, breaker in self._models.items()],
        )

    def _forgive_model(self, ticket: Ticket, now: float) -> None:
        cooling = self._models[ticket.model]
        cooling.succeed(ticket.began, now)
        if cooling.state(now) == "closed":
            del self._models[ticket.model]

    def _cooling(self, model: str) -> Breaker:
        cooling = self._models.get(model)
        if cooling is None:
            cooling = Breaker(self._policy, places=2)
            cooling.on_change = partial(self._changed, "model", model, cooling)
            _remember(self._models, model, cooling)
        return cooling

    def _changed(self, kind: BreakerKind, name: str, breaker: Breaker) -> None:
        self.on_breaker(kind, name, breaker)

    def _strike_origin(self, ticket: Ticket, credential: Credential, now: float, rng: Randomness) -> None:
        """Hold a failure against the model, the host, or both until one of them turns out to be at fault.

        Failures of a host that is ejected already say nothing new about the model. Those that ejected it are its own,
        so the model needs as many again at other hosts.
        """
        host = self._breakers[ticket.endpoint.url]
        cooling = self._cooling(ticket.model)
        in_use = host.state(now) == "closed"
        if in_use or cooling.state(now) != "closed":
            place = ticket.endpoint.url if len(self._endpoints) > 1 else credential.name
            cooling.strike(place, ticket.began, now, rng, ticket.asker)
        if cooling.state(now) != "closed":
            return
        host.strike(credential.name, ticket.began, now, rng, ticket.asker)
        if in_use and host.state(now) != "closed":
            cooling.excuse()

    def _slow_last(self, endpoints: list[Endpoint], model: str, now: float) -> list[Endpoint]:
        return sorted(endpoints, key=lambda one: self._slow.get((one.url, model), now) > now)


def _shows_life(outcome: Outcome) -> bool:
    """Whether a failure proves that the host works. Silence and failures of the origin behind it prove nothing either
    way.
    """
    rule = RULES[outcome.slug]
    at_fault = rule.against in (Scope.ENDPOINT, Scope.ORIGIN)
    return outcome.phase is Phase.REJECTED and not at_fault and outcome.slug not in OWN_ENDINGS


def _shown(name: str, breaker: Breaker, now: float) -> BreakerSnapshot:
    return BreakerSnapshot(name, breaker.state(now), breaker.seconds_left(now))


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    """Keep the newest entries only, since clients choose how many models there are."""
    memory.pop(key, None)
    while len(memory) >= MODELS_REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value

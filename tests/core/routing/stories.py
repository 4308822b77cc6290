"""A stage for stories of one exchange: where it goes, how that ends, where it goes then, what the client is told."""

from __future__ import annotations

from gateway.core.errors import GatewayError
from gateway.core.outcomes.table import Verdict
from gateway.core.routing.failover import FailoverPlan
from gateway.core.routing.route_table import AttemptPlan, Stop, UpstreamStates, Wait
from gateway.core.types import FailoverPolicy, Outcome, Phase, Price, Route, Target
from tests.core.builders import CHEAP, DEAR, Chance, Work, backup, ended, target, upstream

POLICY = FailoverPolicy()


class World:
    """A few upstreams, a clock that only the test moves, and the ways an exchange has gone so far."""

    def __init__(self, *targets: Target, policy: FailoverPolicy = POLICY) -> None:
        self.targets = targets
        self.policy = policy
        self.states = UpstreamStates({one.upstream.name: one.upstream for one in targets}.values(), policy)
        self.now = 1000.0

    def exchange(self, *, sdk_retry: bool = False, patience: float = 600.0) -> Story:
        return Story(self, sdk_retry=sdk_retry, patience=patience)

    def used(self, *slugs: str) -> list[str]:
        """One exchange that ends in these ways, then in success; returns where it went."""
        story = self.exchange()
        for slug in slugs:
            story.goes()
            story.ends(slug)
        story.goes()
        story.ends("ok")
        return story.ways


class Story:
    def __init__(self, world: World, *, sdk_retry: bool, patience: float) -> None:
        self.world = world
        self.ways: list[str] = []
        self.plan: AttemptPlan | None = None
        self.failover_plan = FailoverPlan(
            Route("gpt-4o", world.targets),
            states=world.states,
            deadline=world.now + patience,
            sdk_retry=sdk_retry,
            randomness=Chance(0.5),
            work=Work("chat"),
        )

    def goes(self) -> str:
        """Take the next step, which must be an attempt; says where it goes: upstream, host, key."""
        step = self.failover_plan.next(self.world.now)
        assert isinstance(step, AttemptPlan), step
        self.plan = step
        self.ways.append(f"{step.target.upstream.name} {step.endpoint.host} {step.credential.name}")
        return self.ways[-1]

    def ends(self, slug: str, phase: Phase | None = None, *, retry_after: float | None = None) -> Verdict:
        return self.ends_as(ended(slug, phase, retry_after=retry_after))

    def goes_and_ends(self, slug: str, *, retry_after: float | None = None) -> str:
        way = self.goes()
        self.ends(slug, retry_after=retry_after)
        return way

    def ends_as(self, outcome: Outcome) -> Verdict:
        assert self.plan is not None
        return self.failover_plan.report(self.plan, outcome, self.world.now)

    def waits(self) -> float:
        step = self.failover_plan.next(self.world.now)
        assert isinstance(step, Wait), step
        self.world.now += step.seconds
        return step.seconds

    def stops(self) -> GatewayError:
        step = self.failover_plan.next(self.world.now)
        assert isinstance(step, Stop), step
        return step.error


def chat(*, keys: tuple[str, ...] = ("a",)) -> World:
    return World(target(upstream(keys=keys)), target(backup()))


def image(price: Price | None = CHEAP, *, with_backup: bool = False) -> World:
    first = target(upstream(), "gpt-4o-image", price=price)
    return World(first, target(backup(), "gpt-image-1", price=DEAR)) if with_backup else World(first)

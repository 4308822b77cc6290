"""What the gateway remembers of its upstreams between requests, through a reload, and as ``status`` shows it."""

from __future__ import annotations

from gateway.core.routing.route_table import UpstreamStates
from gateway.core.types import FailoverPolicy
from tests.core.builders import Chance, backup, ended, upstream

from .stories import chat


class TestReload:
    def test_breakers_keys_and_budgets_live_on(self) -> None:
        world = chat()
        for _ in range(5):
            world.used("connect_refused")
        fresh = UpstreamStates(
            [upstream(keys=("a", "new")), backup(), upstream("third", hosts=("x",))],
            FailoverPolicy(retry_budget=0.5),
        )
        fresh.adopt(world.states)
        assert ("piapi", "https://api.piapi.ai", False) in fresh.endpoints_available(world.now)
        assert ("piapi", "new", True) in fresh.keys_available(world.now)
        assert fresh["piapi"].budget is world.states["piapi"].budget
        assert fresh["piapi"].budget.ratio == 0.5
        assert {state.upstream.name for state in fresh} == {"piapi", "backup", "third"}

    def test_what_status_shows_holds_no_secret(self) -> None:
        world = chat(keys=("a", "z"))
        world.used("model_missing")
        world.exchange().goes()
        for credential in world.targets[0].upstream.credentials:
            pool = world.states["piapi"].pool
            pool.report(credential, "gpt-4o", ended("key_invalid"), world.now, Chance())
        pool.report(credential, "gpt-4o", ended("rate_limited", retry_after=9.0), world.now, Chance())
        shown = world.states.describe(world.now)
        assert [one["name"] for one in shown] == ["piapi", "backup"]
        assert shown[0]["keys"][0]["cooling"] == "invalid"
        assert shown[0]["keys"][0]["retry_in"] == 5.0
        assert shown[0]["endpoints"][0] == {"url": "https://api.piapi.ai", "breaker": "closed", "retry_in": 0.0}
        assert shown[0]["keys"][1]["models"] == [{"model": "gpt-4o", "cooling": "rate_limited", "retry_in": 9.0}]
        assert shown[0]["models"] == [{"model": "gpt-4o", "breaker": "open", "retry_in": 60.0}]
        assert shown[1]["keys"][0]["in_flight"] == 1
        assert "value-of" not in repr(shown)

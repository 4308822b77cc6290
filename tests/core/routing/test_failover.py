"""Stories of failover between endpoints and targets: how often, through which breakers, within which budget."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from gateway.core.outcomes.table import Verdict
from gateway.core.routing.route_table import Failover
from gateway.core.types import FailoverPolicy, Outcome, Phase
from tests.core.builders import backup, target, upstream

from .stories import World, chat


class TestFirstAttempt:
    def test_costs_few_calls_where_nothing_has_failed(self) -> None:
        """What only later attempts need is made with the first failure."""
        first, second = chat(), chat()
        calls = _calls(first.used)
        assert calls <= 25
        assert calls <= _calls(lambda: second.used("connect_refused")) / 2


class TestEndpoints:
    def test_a_refused_host_gives_way_to_the_next_then_to_the_backup(self) -> None:
        story = chat().exchange()
        assert story.goes() == "piapi api.piapi.ai a"
        assert story.ends("connect_refused") is Verdict.NEXT_ENDPOINT
        assert story.goes() == "piapi proxy.piapi.ai a"
        story.ends("connect_refused")
        assert story.goes() == "backup api.openai.com b"
        assert story.ends("ok") is Verdict.DONE
        assert story.failover_plan.attempts == 3
        assert list(story.failover_plan.failovers) == [
            Failover("piapi", "piapi", "connect_refused"),
            Failover("piapi", "backup", "connect_refused"),
        ]

    def test_a_failing_provider_gives_way_too(self) -> None:
        story = chat().exchange()
        for slug in ("upstream_5xx", "stall_head"):
            story.goes()
            story.ends(slug)
        assert story.goes() == "backup api.openai.com b"

    def test_a_missing_model_goes_to_the_next_target_at_once(self) -> None:
        story = chat().exchange()
        story.goes()
        assert story.ends("model_missing") is Verdict.NEXT_TARGET
        assert story.goes() == "backup api.openai.com b"

    def test_a_dead_host_is_dead_for_every_target_of_its_upstream(self) -> None:
        piapi = upstream(hosts=("api.piapi.ai",))
        story = World(target(piapi, "m1"), target(piapi, "m2"), target(backup())).exchange()
        story.goes()
        story.ends("connect_refused")
        assert story.goes() == "backup api.openai.com b"

    def test_a_rejected_request_is_rejected_everywhere(self) -> None:
        story = chat().exchange()
        story.goes()
        said = Outcome("rejected", Phase.REJECTED, 400, message="no such size", param="size")
        assert story.ends_as(said) is Verdict.STOP
        error = story.stops()
        assert (error.status, error.message, error.param) == (400, "no such size", "size")

    def test_nothing_follows_content(self) -> None:
        story = chat().exchange()
        story.goes()
        assert story.ends("sse_cut_late") is Verdict.STOP
        assert story.stops().code == "upstream_stream_interrupted"

    def test_a_broken_kept_alive_connection_is_tried_afresh_once(self) -> None:
        story = chat().exchange()
        story.goes()
        assert story.plan is not None
        assert not story.plan.fresh_connection
        assert story.ends("reused_conn_reset") is Verdict.FRESH_CONNECTION
        assert story.goes() == "piapi api.piapi.ai a"
        assert story.plan.fresh_connection
        assert story.ends("reused_conn_reset") is Verdict.NEXT_ENDPOINT
        assert story.goes() == "piapi proxy.piapi.ai a"
        assert list(story.failover_plan.failovers) == [Failover("piapi", "piapi", "reused_conn_reset")]

    def test_afresh_a_limited_key_gives_way_at_the_same_host(self) -> None:
        story = chat(keys=("a", "z")).exchange()
        first = story.goes()
        story.ends("reused_conn_reset")
        assert story.goes() == first
        story.ends("rate_limited")
        assert story.goes().split()[1] == "api.piapi.ai"


class TestHowOften:
    def test_three_attempts_are_all(self) -> None:
        world = World(target(upstream(hosts=("one", "two", "three", "four"))))
        story = world.exchange()
        for _ in range(3):
            story.goes()
            story.ends("stall_head")
        assert story.stops().code == "upstream_timeout"

    def test_an_sdk_that_sends_again_gets_two(self) -> None:
        story = chat().exchange(sdk_retry=True)
        for _ in range(2):
            story.goes()
            story.ends("upstream_5xx")
        assert story.stops().code == "upstream_error"

    def test_dials_do_not_count_as_attempts_but_are_counted(self) -> None:
        world = World(target(upstream(hosts=("one", "two", "three", "four", "five", "six"))))
        story = world.exchange(sdk_retry=True)
        for _ in range(4):
            story.goes()
            story.ends("connect_refused")
        assert story.stops().code == "upstream_unreachable"
        assert story.failover_plan.attempts == 4

    def test_no_attempt_follows_when_there_is_no_time_for_it(self) -> None:
        story = chat().exchange(patience=10.0)
        story.goes()
        story.world.now += 9.5
        story.ends("stall_head")
        assert story.stops().code == "upstream_timeout"

    def test_an_exchange_that_is_late_from_the_start(self) -> None:
        story = chat().exchange(patience=0.0)
        assert story.stops().code == "upstream_timeout"

    def test_each_go_is_reported_exactly_once(self) -> None:
        story = chat().exchange()
        story.goes()
        with pytest.raises(RuntimeError):
            story.failover_plan.next(story.world.now)
        story.ends("ok")
        with pytest.raises(RuntimeError):
            story.ends("ok")
        with pytest.raises(RuntimeError):
            story.failover_plan.next(story.world.now)


class TestBreakers:
    def test_a_dead_host_is_not_tried_first_for_long(self) -> None:
        world = chat()
        for _ in range(5):
            assert world.used("connect_refused")[0] == "piapi api.piapi.ai a"
        assert world.used() == ["piapi proxy.piapi.ai a"]

    def test_one_request_finds_out_whether_it_lives_again(self) -> None:
        world = chat()
        for _ in range(5):
            world.used("connect_refused")
        world.now += 10.0
        probe = world.exchange()
        assert probe.goes() == "piapi api.piapi.ai a"
        assert world.exchange().goes() == "piapi proxy.piapi.ai a"
        assert probe.plan is not None
        probe.failover_plan.answering(probe.plan, world.now)
        assert world.exchange().goes() == "piapi api.piapi.ai a"
        probe.ends("ok")

    def test_a_wholly_dead_upstream_is_skipped_for_the_backup(self) -> None:
        world = chat()
        for _ in range(5):
            world.used("connect_refused", "connect_refused")
        story = world.exchange()
        assert story.goes() == "backup api.openai.com b"
        assert list(story.failover_plan.failovers) == [Failover("piapi", "backup", "endpoints_ejected")]

    def test_the_last_way_is_never_closed(self) -> None:
        world = World(target(upstream(hosts=("only",))))
        for _ in range(20):
            story = world.exchange()
            assert story.goes() == "piapi only a"
            story.ends("connect_refused")
            assert story.stops().code == "upstream_unreachable"
        assert world.used() == ["piapi only a"]
        assert world.states.endpoints_available(world.now) == [("piapi", "https://only", True)]

    def test_ejected_hosts_are_a_last_resort_after_the_others_failed(self) -> None:
        world = chat()
        for _ in range(5):
            world.used("connect_refused")
        story = world.exchange()
        assert story.goes() == "piapi proxy.piapi.ai a"
        story.ends("connect_refused")
        assert story.goes() == "backup api.openai.com b"
        story.ends("connect_refused")
        assert story.goes() == "piapi api.piapi.ai a"


class TestOriginTrouble:
    """Proper answers that say that the service behind the host has failed."""

    @pytest.mark.parametrize("slug", ["upstream_5xx", "sse_error_first", "sse_empty", "empty_response", "soft_error"])
    def test_a_host_that_keeps_failing_is_left_alone(self, slug: str) -> None:
        world = chat()
        for _ in range(5):
            assert world.used(slug) == ["piapi api.piapi.ai a", "piapi proxy.piapi.ai a"]
        assert world.used() == ["piapi proxy.piapi.ai a"]
        assert ("piapi", "https://api.piapi.ai", False) in world.states.endpoints_available(world.now)
        world.now += 10.0
        assert world.used() == ["piapi api.piapi.ai a"]
        assert ("piapi", "https://api.piapi.ai", True) in world.states.endpoints_available(world.now)

    def test_a_model_that_fails_at_both_hosts_moves_to_the_backup(self) -> None:
        world = chat()
        for slugs in (["upstream_5xx"] * 2, ["upstream_5xx"] * 2, ["upstream_5xx"]):
            assert world.used(*slugs)[-1] == "backup api.openai.com b"
        assert world.used() == ["backup api.openai.com b"]
        assert all(up for _, _, up in world.states.endpoints_available(world.now))

    def test_the_last_way_stays_open(self) -> None:
        world = World(target(upstream(hosts=("only",))))
        for _ in range(10):
            story = world.exchange()
            assert story.goes_and_ends("upstream_5xx") == "piapi only a"
            assert story.stops().code == "upstream_error"
        assert world.used() == ["piapi only a"]


class TestAskedForPeace:
    """503 with Retry-After."""

    def test_an_exchange_does_not_come_back_to_who_asked_it_not_to(self) -> None:
        story = chat().exchange()
        story.goes_and_ends("upstream_5xx", retry_after=20.0)
        assert story.goes_and_ends("upstream_5xx", retry_after=30.0) == "backup api.openai.com b"
        error = story.stops()
        assert (error.status, error.code, error.should_retry) == (502, "upstream_error", False)
        assert error.retry_after == 30.0

    def test_it_does_once_the_time_is_over(self) -> None:
        story = chat().exchange()
        story.goes_and_ends("upstream_5xx", retry_after=20.0)
        story.goes()
        story.world.now += 20.0
        story.ends("upstream_5xx")
        assert story.goes() == "piapi proxy.piapi.ai a"

    def test_it_does_where_nobody_else_serves_the_model(self) -> None:
        story = World(target(upstream())).exchange()
        story.goes_and_ends("upstream_5xx", retry_after=20.0)
        assert story.goes() == "piapi proxy.piapi.ai a"


class TestRetryBudget:
    def test_a_failing_upstream_is_left_for_the_backup_when_retries_run_out(self) -> None:
        world = chat()
        running = [world.exchange() for _ in range(4)]
        for story in running:
            story.goes_and_ends("sse_event_too_big")
        assert [story.goes() for story in running] == 3 * ["piapi proxy.piapi.ai a"] + ["backup api.openai.com b"]
        for story in running:
            story.ends("ok")
        assert world.used("sse_event_too_big")[-1] == "piapi proxy.piapi.ai a"

    def test_without_a_backup_the_answer_comes_now(self) -> None:
        world = World(target(upstream()))
        running = [world.exchange() for _ in range(4)]
        for story in running:
            story.goes_and_ends("sse_event_too_big")
        for story in running[:3]:
            story.goes()
        assert running[3].stops().code == "upstream_invalid_response"

    def test_to_leave_a_failing_host_for_one_that_works_is_no_retry(self) -> None:
        world = chat()
        running = [world.exchange() for _ in range(40)]
        for story in running:
            story.goes()
        for story in running:
            story.ends("upstream_5xx")
        assert {story.goes() for story in running} == {"piapi proxy.piapi.ai a"}
        for story in running:
            story.ends("ok")

    def test_until_that_one_fails_too(self) -> None:
        """Five failures show that it is not the host; the others go to the backup at once."""
        world = chat()
        running = [world.exchange() for _ in range(40)]
        for story in running:
            story.goes()
        for story in running:
            story.ends("upstream_5xx")
        for story in running[:5]:
            assert story.goes_and_ends("upstream_5xx") == "piapi proxy.piapi.ai a"
        assert {story.goes() for story in running} == {"backup api.openai.com b"}

    def test_a_host_is_left_for_a_working_one_when_fresh_connections_cost_too_much(self) -> None:
        world = chat()
        running = [world.exchange() for _ in range(5)]
        for story in running:
            story.goes_and_ends("reused_conn_reset")
        assert [story.goes().split()[1] for story in running] == ["api.piapi.ai"] * 3 + ["proxy.piapi.ai"] * 2

    def test_refused_dials_and_keys_cost_nothing(self) -> None:
        world = World(target(upstream(keys=("a", "z"))), policy=FailoverPolicy(breaker_failures=1000))
        running = [world.exchange() for _ in range(10)]
        for story in running:
            story.goes()
            story.ends("connect_refused")
        assert {story.goes().split()[1] for story in running} == {"proxy.piapi.ai"}

    def test_a_fresh_connection_costs_budget_too(self) -> None:
        world = World(target(upstream(hosts=("only",))))
        running = [world.exchange() for _ in range(4)]
        for story in running:
            story.goes()
            story.ends("reused_conn_reset")
        for story in running[:3]:
            story.goes()
        assert running[3].stops().code == "upstream_error"


def _calls(story: Callable[[], object]) -> int:
    """How many functions of routing's are called."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and "gateway/core/routing/" in frame.f_code.co_filename

    sys.setprofile(count)
    try:
        story()
    finally:
        sys.setprofile(None)
    return calls

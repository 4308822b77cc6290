"""Stories of failover among keys, and of what a client is told in the end."""

from __future__ import annotations

import pytest

from gateway.core.outcomes.table import RULES, Verdict
from gateway.core.routing.credentials import KeyReading
from gateway.core.routing.key_pauses import Reason
from gateway.core.routing.route_table import Failover, Stop, Wait
from gateway.core.types import FailoverPolicy
from tests.core.builders import backup, key, target, upstream

from .stories import World, chat

DOUBTS: dict[str, Reason] = {"key_invalid": "invalid", "key_unfunded": "unfunded"}


class TestKeys:
    def test_a_limited_key_gives_way_to_the_next_at_the_same_host(self) -> None:
        story = chat(keys=("a", "z")).exchange()
        first = story.goes()
        assert story.ends("rate_limited") is Verdict.NEXT_CREDENTIAL
        second = story.goes()
        assert {first, second} == {"piapi api.piapi.ai a", "piapi api.piapi.ai z"}
        assert list(story.failover_plan.failovers) == []

    def test_keys_all_limited_the_backup_serves(self) -> None:
        world = chat(keys=("a", "z"))
        assert world.used("rate_limited", "rate_limited")[-1] == "backup api.openai.com b"
        story = world.exchange()
        assert story.goes() == "backup api.openai.com b"
        assert list(story.failover_plan.failovers) == [Failover("piapi", "backup", "rate_limited")]

    def test_keys_all_limited_and_no_backup_the_client_is_told_when(self) -> None:
        story = World(target(upstream(keys=("a", "z")))).exchange()
        for seconds in (40.0, 30.0):
            story.goes()
            story.ends("rate_limited", retry_after=seconds)
        error = story.stops()
        assert (error.status, error.code, error.retry_after) == (429, "rate_limit_exceeded", 30.0)
        story.world.now += 4.0
        assert story.world.exchange().stops().retry_after == pytest.approx(26.0)
        story.world.now += 1.0
        story.world.exchange().goes()  # half-open: the last keys of a route are tried again after seconds

    def test_a_client_is_not_sent_away_for_longer_than_a_minute(self) -> None:
        story = World(target(upstream())).exchange()
        story.goes()
        story.ends("rate_limited", retry_after=1800.0)
        assert story.stops().retry_after == 60.0

    def test_a_short_pause_is_waited_for(self) -> None:
        story = World(target(upstream())).exchange()
        story.goes()
        story.ends("rate_limited", retry_after=2.0)
        assert story.waits() == pytest.approx(2.0)
        assert story.goes() == "piapi api.piapi.ai a"
        assert story.ends("ok") is Verdict.DONE

    def test_waiting_has_an_end(self) -> None:
        story = World(target(upstream()), policy=FailoverPolicy(attempts=10)).exchange()
        waited = 0.0
        for _ in range(2):
            story.goes()
            story.ends("rate_limited", retry_after=2.0)
            waited += story.waits()
        story.goes()
        story.ends("rate_limited", retry_after=2.0)
        assert waited == pytest.approx(4.0)
        assert story.stops().retry_after == 2.0

    def test_nobody_waits_beyond_the_deadline(self) -> None:
        story = World(target(upstream())).exchange(patience=2.5)
        story.goes()
        story.ends("rate_limited", retry_after=2.0)
        assert story.stops().status == 429

    @pytest.mark.parametrize(
        ("slug", "status", "code", "hint"),
        [
            ("key_invalid", 502, "upstream_auth_failed", None),
            ("key_forbidden", 502, "upstream_auth_failed", None),
            ("key_unfunded", 503, "upstream_quota_exhausted", 60.0),
        ],
    )
    def test_a_refused_key_stays_out_of_later_exchanges(
        self, slug: str, status: int, code: str, hint: float | None
    ) -> None:
        world = World(target(upstream()))
        story = world.exchange()
        story.goes()
        story.ends(slug)
        told = story.stops()
        assert (told.status, told.code, told.should_retry) == (status, code, False)
        reading = {"key_invalid": KeyReading(False), "key_unfunded": KeyReading(True, False)}.get(slug)
        if reading is None:  # nothing can confirm it, so the last key is tried all the same
            assert world.exchange().goes() == "piapi api.piapi.ai a"
            return
        world.states["piapi"].pool.settle("a", DOUBTS[slug], reading, world.now)
        told = world.exchange().stops()
        assert (told.status, told.code, told.retry_after, told.should_retry) == (status, code, hint, False)
        world.now += 600.0
        assert world.exchange().goes() == "piapi api.piapi.ai a"

    def test_a_refused_request_is_tried_with_one_more_key(self) -> None:
        for slug in ("key_invalid", "key_unfunded", "key_forbidden"):
            story = World(target(upstream(keys=("a", "b", "c", "d"))), policy=FailoverPolicy(attempts=10)).exchange()
            first, second = story.goes_and_ends(slug), story.goes_and_ends(slug)
            assert first != second
            assert story.stops().status in (502, 503)

    def test_and_at_the_next_upstream_with_one_key(self) -> None:
        world = World(
            target(upstream(keys=("a", "z", "y"))), target(backup(keys=("b", "c"))), policy=FailoverPolicy(attempts=10)
        )
        story = world.exchange()
        upstreams = [story.goes_and_ends("key_invalid").split()[0] for _ in range(3)]
        assert upstreams == ["piapi", "piapi", "backup"]
        story.stops()

    def test_doubts_are_told_with_the_key(self) -> None:
        world = World(target(upstream(keys=("a",))))
        told: list[tuple[str, str, Reason]] = []
        world.states.doubt = lambda at, key, doubt: told.append((at.name, key.name, doubt))
        for slug in ("key_invalid", "key_unfunded", "key_forbidden", "rate_limited", "upstream_5xx"):
            world.exchange().goes_and_ends(slug)
            world.now += 100.0
        assert told == [("piapi", "a", "invalid"), ("piapi", "a", "unfunded")]

    def test_a_pool_used_up_names_the_soonest_time(self) -> None:
        world = World(target(upstream()))
        world.exchange().goes_and_ends("key_unfunded")
        world.states["piapi"].pool.settle("a", "unfunded", KeyReading(True, False), world.now)
        world.now += 580.0
        assert world.exchange().stops().retry_after == pytest.approx(20.0)

    def test_a_busy_pool_lets_the_next_target_serve(self) -> None:
        world = World(target(upstream(keys=(key("a", max_parallel=1),))), target(backup()))
        world.exchange().goes()
        story = world.exchange()
        assert story.goes() == "backup api.openai.com b"
        assert list(story.failover_plan.failovers) == [Failover("piapi", "backup", "keys_busy")]

    def test_a_busy_pool_alone_is_waited_for_a_moment(self) -> None:
        world = World(target(upstream(keys=(key("a", max_parallel=1),))))
        holder = world.exchange()
        holder.goes()
        patient, impatient = world.exchange(), world.exchange()
        patient.waits()
        holder.ends("ok")
        patient.goes()
        waited = 0.0
        while isinstance(step := impatient.failover_plan.next(world.now), Wait):
            waited += step.seconds
            world.now += step.seconds
        assert waited == pytest.approx(2.0, abs=0.06)
        assert isinstance(step, Stop)
        assert (step.error.status, step.error.retry_after) == (429, 1.0)

    def test_the_key_comes_back_whatever_happened(self) -> None:
        for slug in RULES:
            world = World(target(upstream(keys=(key("a", max_parallel=1),))))
            story = world.exchange()
            story.goes()
            story.ends(slug)
            assert [one.in_flight for one in world.states["piapi"].pool.snapshot(world.now)] == [0]


class TestWhatTheClientIsTold:
    @pytest.mark.parametrize(
        ("slugs", "status", "code"),
        [
            (("connect_refused", "connect_refused", "key_invalid"), 502, "upstream_auth_failed"),
            (("connect_refused", "connect_refused", "key_unfunded"), 503, "upstream_quota_exhausted"),
            (("connect_refused", "connect_refused", "connect_refused"), 502, "upstream_unreachable"),
            (("model_missing", "connect_refused"), 502, "upstream_unreachable"),
            (("model_missing", "model_missing"), 404, "model_not_found"),
            (("upstream_5xx", "stall_head", "bad_json"), 502, "upstream_invalid_response"),
            (("key_invalid", "upstream_5xx"), 502, "upstream_auth_failed"),
            (("rate_limited", "connect_refused"), 429, "rate_limit_exceeded"),
            (("rate_limited", "upstream_5xx"), 429, "rate_limit_exceeded"),
        ],
    )
    def test_of_several_failures_the_most_telling(self, slugs: tuple[str, ...], status: int, code: str) -> None:
        story = chat().exchange()
        for slug in slugs:
            story.goes()
            story.ends(slug, retry_after=30.0 if slug == "rate_limited" else None)
        error = story.stops()
        assert (error.status, error.code) == (status, code)

    def test_no_key_anywhere(self) -> None:
        error = World(target(upstream(keys=())), target(backup(keys=()))).exchange().stops()
        assert (error.status, error.code) == (502, "upstream_auth_failed")
        assert "gpt-4o" in error.message

    def test_a_route_left_with_no_target(self) -> None:
        assert World().exchange().stops().code == "upstream_auth_failed"

    def test_a_model_of_another_kind(self) -> None:
        error = World(target(upstream(), operation="task")).exchange().stops()
        assert (error.status, error.code, error.param) == (404, "model_not_found", "model")

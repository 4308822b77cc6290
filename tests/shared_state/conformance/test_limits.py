"""The limits of one gateway's keys, whatever they are counted on."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.limits.key_limits import Lease
from gateway.core.types import VirtualKey
from tests.shared_state.fleets import GRAIN, WINDOW, Fleet, Member


async def moment() -> None:
    """What is told without being waited for has arrived."""
    await asyncio.sleep(0.02)


async def again(gateway: Member, key: VirtualKey, wait: float, tokens: int = 0) -> Lease:
    """Let in after waiting as long as was told."""
    await asyncio.sleep(wait + 0.001)
    return await gateway.admitted(key, tokens)


async def test_a_key_without_limits_is_let_in_at_once_and_has_no_headers(engine: Fleet) -> None:
    gateway, key = await engine.join(), VirtualKey("free")
    for _ in range(50):
        lease = gateway.limits.admit(key, 10**9, 0.0)
        assert isinstance(lease, Lease)
        gateway.release(lease, 10**9)
    assert gateway.headers(key) == {}


class TestRequests:
    async def test_so_many_in_a_window_and_no_more(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", rpm=3)
        for left in ("2", "1", "0"):
            await gateway.admitted(key)
            assert gateway.headers(key)["remaining-requests"] == left
        refusal = await gateway.refused(key)
        assert (refusal.kind, refusal.key, refusal.limit, refusal.asked) == ("rpm", "alice", 3, 1)
        assert refusal.retry_after is not None
        assert 0.0 < refusal.retry_after <= WINDOW + 2 * GRAIN
        await again(gateway, key, refusal.retry_after)

    async def test_a_refusal_consumes_nothing(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", rpm=2, tpm=100, parallel=1)
        lease = await gateway.admitted(key, 10)
        for _ in range(20):
            assert (await gateway.refused(key, 10)).kind == "parallel"
        gateway.release(lease, 10)
        await moment()
        await gateway.admitted(key, 90)
        assert gateway.headers(key)["remaining-requests"] == "0"

    async def test_a_limit_of_zero_lets_nothing_in_ever(self, engine: Fleet) -> None:
        gateway = await engine.join()
        assert (await gateway.refused(VirtualKey("closed", rpm=0))).retry_after is None

    async def test_a_lowered_limit_counts_what_was_used(self, engine: Fleet) -> None:
        gateway = await engine.join()
        for _ in range(5):
            await gateway.admitted(VirtualKey("alice", rpm=10))
        await gateway.refused(VirtualKey("alice", rpm=3))
        assert gateway.headers(VirtualKey("alice", rpm=3))["remaining-requests"] == "0"

    async def test_no_window_ever_holds_more(self, engine: Fleet) -> None:
        gateway, key, times = await engine.join(window=0.25), VirtualKey("alice", rpm=8), list[tuple[float, float]]()
        loop = asyncio.get_running_loop()
        ends = loop.time() + 1.2
        while loop.time() < ends:
            before = loop.time()
            if isinstance(await gateway.ask(key), Lease):
                times.append((before, loop.time()))
            await asyncio.sleep(0.002)
        assert all(later - first >= 0.249 for (first, _), (_, later) in zip(times, times[8:], strict=False))
        assert len(times) >= 8 * 4, "what leaves the window comes free"


class TestTokens:
    async def test_what_was_reserved_in_excess_comes_back(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", tpm=1000)
        first = await gateway.admitted(key, 900)
        assert (await gateway.refused(key, 200)).kind == "tpm"
        gateway.release(first, 300)
        await moment()
        await gateway.admitted(key, 700)
        assert (await gateway.refused(key, 1)).kind == "tpm"

    async def test_what_was_used_beyond_it_counts_from_the_end(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", tpm=1000)
        lease = await gateway.admitted(key, 100)
        await asyncio.sleep(WINDOW / 2)
        gateway.release(lease, 1500)
        await asyncio.sleep(WINDOW * 0.7)
        refusal = await gateway.refused(key, 1)
        assert refusal.retry_after is not None
        await again(gateway, key, refusal.retry_after, 1000)

    async def test_usage_that_is_not_known_leaves_the_reservation(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", tpm=1000)
        gateway.release(await gateway.admitted(key, 1000), None)
        await moment()
        refusal = await gateway.refused(key, 1)
        assert refusal.retry_after is not None
        await again(gateway, key, refusal.retry_after, 1000)

    async def test_giving_back_what_has_left_the_window_changes_nothing(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", tpm=1000)
        slow = await gateway.admitted(key, 800)
        await asyncio.sleep(WINDOW + 3 * GRAIN)
        await gateway.admitted(key, 1000)
        gateway.release(slow, 0)
        await moment()
        await gateway.refused(key, 1)

    async def test_a_request_larger_than_the_whole_limit_is_never_let_in(self, engine: Fleet) -> None:
        gateway = await engine.join()
        refusal = await gateway.refused(VirtualKey("alice", tpm=1000), 1001)
        assert (refusal.retry_after, refusal.asked) == (None, 1001)

    async def test_a_negative_estimate_is_a_mistake_of_the_caller(self, engine: Fleet) -> None:
        gateway = await engine.join()
        with pytest.raises(ValueError, match="negative"):
            await gateway.ask(VirtualKey("alice", tpm=1), -1)


class TestParallel:
    async def test_a_place_comes_free_when_a_request_ends(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", parallel=2)
        first = await gateway.admitted(key)
        await gateway.admitted(key)
        refusal = await gateway.refused(key)
        assert (refusal.kind, refusal.limit, refusal.retry_after) == ("parallel", 2, 1.0)
        gateway.release(first)
        await moment()
        await gateway.admitted(key)
        await gateway.refused(key)

    async def test_releasing_twice_frees_one_place(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", parallel=1)
        once = await gateway.admitted(key)
        gateway.release(once)
        gateway.release(once)
        await moment()
        await gateway.admitted(key)
        await gateway.refused(key)

    async def test_no_place_at_all_is_not_worth_a_retry(self, engine: Fleet) -> None:
        gateway = await engine.join()
        assert (await gateway.refused(VirtualKey("alice", parallel=0))).retry_after is None


class TestWhatTheClientIsTold:
    async def test_the_headers_of_every_limit_that_is_set(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", rpm=60, tpm=200_000)
        assert gateway.headers(key) == {
            "limit-requests": "60",
            "remaining-requests": "60",
            "reset-requests": "0s",
            "limit-tokens": "200000",
            "remaining-tokens": "200000",
            "reset-tokens": "0s",
        }
        await gateway.admitted(key, 150)
        headers = gateway.headers(key)
        assert (headers["remaining-requests"], headers["remaining-tokens"]) == ("59", "199850")
        assert headers["reset-requests"] == headers["reset-tokens"] != "0s"
        await asyncio.sleep(WINDOW + 3 * GRAIN)
        assert gateway.headers(key)["remaining-requests"] == "60"

    async def test_only_of_those(self, engine: Fleet) -> None:
        gateway, key = await engine.join(), VirtualKey("alice", parallel=3)
        await gateway.admitted(key)
        assert gateway.headers(key) == {}


async def test_keys_that_are_gone_are_forgotten_but_not_while_they_run(engine: Fleet) -> None:
    gateway, key = await engine.join(), VirtualKey("busy", parallel=1)
    running = await gateway.admitted(key)
    gateway.limits.retain([])
    await gateway.refused(key)
    gateway.release(running)
    await moment()
    await gateway.admitted(key)

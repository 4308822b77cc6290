"""The pool of upstream keys and the breakers of the hosts, as they show at the wire and in the metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest

from gateway.app import key_checks

from .conftest import StartGateway
from .harness import BACKUP_KEY, Answer, Rig, chat_body, eventually
from .moments import start

KEY_GAUGE = "gateway_upstream_key_available"
HOST_GAUGE = "gateway_endpoint_available"
GOOD = "sk-good-0000111122223333"
NO_BACKUP = "upstreams: {backup: {keys: []}, piapi: {keys: [%s]}}"


def pool(*entries: str) -> str:
    """YAML: PiAPI with these keys, and no backup."""
    return NO_BACKUP % ", ".join(f"{{{entry}}}" for entry in entries)


def key_entry(name: str, value: str, **more: int) -> str:
    return ", ".join([f"name: {name}, value: {value}", *(f"{field}: {number}" for field, number in more.items())])


def keys_asked(rig: Rig) -> Counter[str | None]:
    return Counter(request.key for request in rig.sandbox.requests)


def arrived(rig: Rig, count: int) -> bool:
    return len(rig.sandbox.requests) >= count


async def held(rig: Rig, count: int) -> list[asyncio.Task[Answer]]:
    """So many requests that hang at the upstream, asked one after the other."""
    tasks = []
    before = len(rig.sandbox.requests)
    for number in range(1, count + 1):
        tasks.append(start(rig.chat()))
        await rig.sandbox.until(partial(arrived, rig, before + number))
    return tasks


class TestChoosing:
    async def test_the_least_loaded_for_its_weight(self, gateway: StartGateway) -> None:
        rig = await gateway(
            pool(key_entry("small", "sk-small-00001111"), key_entry("big", "sk-big-00001111", weight=3))
        )
        rig.sandbox.script("stall_head;seconds=0.5", times=None)

        answers = await asyncio.gather(*await held(rig, 8))

        assert {answer.status for answer in answers} == {200}
        assert keys_asked(rig) == {"sk-small-00001111": 2, "sk-big-00001111": 6}

    async def test_one_after_the_other_all_keys_get_their_turn(self, gateway: StartGateway) -> None:
        """Chosen by chance among equals: that 40 requests all meet one key has a chance of 2⁻³⁹."""
        rig = await gateway(pool(key_entry("one", "sk-one-00001111"), key_entry("two", "sk-two-00001111")))
        for _ in range(40):
            assert (await rig.chat()).status == 200
        assert set(keys_asked(rig)) == {"sk-one-00001111", "sk-two-00001111"}

    async def test_no_more_at_once_than_a_key_may_have(self, gateway: StartGateway) -> None:
        """The third is held until a key is free again, and is served then."""
        rig = await gateway(pool(key_entry("one", "sk-one-00001111", max_parallel=2)))
        rig.sandbox.script("stall_head;seconds=0.4", times=None)
        running = await held(rig, 2)
        waiting = start(rig.chat())
        await eventually(lambda: len(rig.gateway.services.gate) == 3, "three requests in flight")
        assert len(rig.sandbox.requests) == 2

        answers = await asyncio.gather(*running, waiting)

        assert [answer.status for answer in answers] == [200, 200, 200]
        assert len(rig.sandbox.requests) == 3
        assert rig.sandbox.requests[2].at - rig.sandbox.requests[0].at >= 0.4

    async def test_a_pool_that_stays_busy_is_left_for_the_backup_at_once(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {keys: [{name: one, value: sk-one-00001111, max_parallel: 1}]}}")
        rig.sandbox.script("stall_head;seconds=0.3", role="api")
        [running] = await held(rig, 1)

        assert (await rig.chat()).header("x-gateway-upstream") == "backup"

        assert (await running).status == 200
        moved = {"from": "piapi", "to": "backup", "reason": "keys_busy"}
        assert (await rig.figures()).total("gateway_failovers_total", **moved) == 1

    async def test_a_pool_that_stays_busy_without_a_backup_is_429(self, gateway: StartGateway) -> None:
        rig = await gateway(pool(key_entry("one", "sk-one-00001111", max_parallel=1)))
        rig.sandbox.script("stall_head", role="api")
        async with rig.client() as client:
            await client.ask(chat_body())
            await rig.sandbox.until(lambda: len(rig.sandbox.requests) == 1)

            answer = await rig.chat()

            assert (answer.status, answer.error()["code"]) == (429, "rate_limit_exceeded")
            assert answer.header("x-should-retry") == "true"
            await client.leave()
        await eventually(lambda: len(rig.gateway.services.gate) == 0, "the end of the first")
        assert (await rig.chat()).status == 200


# What the sandbox makes of keys by their values (sandbox/faults/selection.py).
REFUSED = {
    "sk-sandbox-invalid-1": ("key_invalid", 502, "upstream_auth_failed"),
    "sk-sandbox-broke-1": ("key_unfunded", 503, "upstream_quota_exhausted"),
    "sk-sandbox-forbidden-1": ("key_forbidden", 502, "upstream_auth_failed"),
    "sk-sandbox-limited-1": ("rate_limited", 429, "rate_limit_exceeded"),
}


class TestCooling:
    @pytest.mark.parametrize("value", REFUSED)
    async def test_a_refused_key_is_left_alone_and_the_others_serve(self, value: str, gateway: StartGateway) -> None:
        slug = REFUSED[value][0]
        rig = await gateway(pool(key_entry("bad", value), key_entry("good", GOOD)))
        for _ in range(30):
            assert (await rig.chat()).status == 200

        assert keys_asked(rig) == {value: 1, GOOD: 30}
        whole = slug in ("key_invalid", "key_unfunded")
        if whole:
            await read_of(rig, "bad")
        figures = await rig.figures()
        assert figures.total("gateway_upstream_attempts_total", outcome=slug) == 1
        # One request's word does not say that a key is out of use, a free read does.
        assert figures.total(KEY_GAUGE, upstream_key="bad") == (0 if whole else 1)
        assert figures.total(KEY_GAUGE, upstream_key="good") == 1
        assert figures.total(HOST_GAUGE) == len(rig.sandbox.urls)
        await rig.chat(model="gpt-4o-mini")  # forbidden and limited hold for a model, the others for the key
        cooled = next(key for key in (await described(rig))["keys"] if key["name"] == "bad")
        assert cooled["cooling"] is not None
        assert cooled["retry_in"] > 0
        assert bool(cooled["models"]) == (not whole)

    @pytest.mark.parametrize("value", [value for value in REFUSED if "limited" not in value])
    async def test_a_pool_of_refused_keys(self, value: str, gateway: StartGateway) -> None:
        """Each key is asked once. Once free reads have confirmed it, requests are refused without asking; that a key
        is forbidden nothing can confirm, so every request is given a try.
        """
        slug, status, code = REFUSED[value]
        rig = await gateway(pool(key_entry("one", value), key_entry("two", f"{value}-again")))
        confirmed = slug != "key_forbidden"

        for attempts in ("2", "0" if confirmed else "2"):
            answer = await rig.chat()
            assert (answer.status, answer.error()["code"]) == (status, code)
            assert answer.header("x-should-retry") == "false"
            assert answer.header("x-gateway-attempts") == attempts
            if confirmed:
                await read_of(rig, "one", "two")
        assert answer.header("retry-after") == ("60" if slug == "key_unfunded" else None)
        times = 1 if confirmed else 2
        assert keys_asked(rig) == {value: times, f"{value}-again": times}
        first, second = await rig.rows(2)
        assert (first.outcomes, second.outcomes) == ([slug, slug], [] if confirmed else [slug, slug])
        assert first.state == second.state == "released"

    async def test_a_limited_pool_names_the_soonest_time(self, gateway: StartGateway) -> None:
        rig = await gateway(pool(key_entry("one", "sk-one-00001111"), key_entry("two", "sk-two-00001111")))
        rig.sandbox.script("rate_limited;retry_after=50", key="sk-one")
        rig.sandbox.script("rate_limited;retry_after=20", key="sk-two")

        first, second = await rig.chat(), await rig.chat()

        assert (first.status, first.header("retry-after")) == (429, "20")
        assert (second.status, second.header("retry-after")) == (429, "20")
        assert second.header("x-gateway-attempts") == "0"
        assert len(rig.sandbox.requests) == 2
        first_row, second_row = await rig.rows(2)
        assert first_row.outcomes == ["rate_limited"] * 2
        assert (second_row.outcomes, second_row.state, second_row.status) == ([], "released", 429)
        assert (await rig.chat(model="gpt-4o-mini")).status == 200

    async def test_what_explains_most_is_told_when_keys_differ(self, gateway: StartGateway) -> None:
        rig = await gateway(pool(key_entry("one", "sk-sandbox-invalid-1"), key_entry("two", "sk-sandbox-broke-1")))
        for _ in range(2):
            answer = await rig.chat()
            assert (answer.status, answer.error()["code"]) == (503, "upstream_quota_exhausted")
            await read_of(rig, "one", "two")
        assert (await rig.figures()).total(KEY_GAUGE, upstream="piapi") == 0

    async def test_with_every_key_cooled_the_backup_serves(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {keys: [{name: one, value: sk-sandbox-broke-1}]}}")
        for _ in range(3):
            assert (await rig.chat()).header("x-gateway-upstream") == "backup"
        assert keys_asked(rig) == {"sk-sandbox-broke-1": 1, BACKUP_KEY: 3}
        figures = await rig.figures()
        moved = {"from": "piapi", "to": "backup", "reason": "key_unfunded"}
        assert figures.total("gateway_failovers_total", **moved) == 3

    async def test_a_client_is_held_for_a_key_that_is_free_again_soon(self, gateway: StartGateway) -> None:
        rig = await gateway(pool(key_entry("one", "sk-one-00001111")))
        rig.sandbox.script("rate_limited;retry_after_ms=300;retry_after=")

        answer = await rig.chat()

        assert answer.status == 200
        assert answer.header("x-gateway-attempts") == "2"
        first, second = rig.sandbox.requests
        assert second.at - first.at >= 0.29  # both stamps are taken by the sandbox, a little after the fact
        assert (await rig.row()).outcomes == ["rate_limited", "ok"]

    async def test_a_refused_key_is_tried_again_after_ten_minutes_by_one_request_at_a_time(
        self, gateway: StartGateway
    ) -> None:
        rig = await gateway("upstreams: {piapi: {keys: [{name: one, value: sk-one-00001111}]}}")
        rig.sandbox.script("key_invalid", key="sk-one")
        rig.sandbox.script("key_invalid", key="sk-one", path="/account/info")
        await rig.chat()
        await read_of(rig, "one")
        [cooled] = (await described(rig))["keys"]
        assert 590 < cooled["retry_in"] <= 600
        let_pauses_end(rig)

        rig.sandbox.script("stall_head;seconds=0.3", key="sk-one")
        before = len(rig.sandbox.requests)
        [trial] = await held(rig, 1)
        others = [await rig.chat() for _ in range(3)]
        assert {answer.header("x-gateway-upstream") for answer in others} == {"backup"}
        assert (await trial).header("x-gateway-upstream") == "piapi"
        assert [request.role for request in rig.sandbox.requests[before:]] == ["api", "backup", "backup", "backup"]

        assert (await rig.chat()).header("x-gateway-upstream") == "piapi"
        assert (await rig.figures()).total(KEY_GAUGE, upstream_key="one") == 1

    async def test_a_key_refused_again_is_left_alone_twice_as_long(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = await gateway("upstreams: {piapi: {keys: [{name: one, value: sk-sandbox-invalid-1}]}}")
        monkeypatch.setattr(key_checks, "APART", 0.01)
        for minutes in (10, 20, 40):
            assert (await rig.chat()).header("x-gateway-attempts") == "2"
            await read_of(rig, "one")
            [cooled] = (await described(rig))["keys"]
            assert 60 * minutes - 10 < cooled["retry_in"] <= 60 * minutes
            let_pauses_end(rig)


async def read_of(rig: Rig, *names: str) -> None:
    """Wait until free reads have confirmed that these keys are bad."""
    states = rig.gateway.services.snapshot.states["piapi"].pool._states

    def confirmed() -> bool:
        wholes = [states[name].whole for name in names]
        return all(whole is not None and whole.confirmed for whole in wholes)

    await eventually(confirmed, "the free reads")


def let_pauses_end(rig: Rig) -> None:
    """Ten minutes are too long for a test: every pause of a PiAPI key ends now."""
    for state in rig.gateway.services.snapshot.states["piapi"].pool._states.values():
        assert state.whole is not None
        state.whole.until = 0.0


async def described(rig: Rig, upstream: str = "piapi") -> dict[str, Any]:
    """What ``status`` shows of an upstream."""
    states = rig.gateway.services.snapshot.states
    return next(one for one in states.describe(asyncio.get_running_loop().time()) if one["name"] == upstream)


BREAKER = "failover: {breaker: {failures: 5, window: 30s, eject: 500ms, eject_max: 1s}}"


class TestBreakers:
    async def test_a_failing_host_is_ejected_after_five_failures_probed_and_taken_back(
        self, gateway: StartGateway
    ) -> None:
        rig = await gateway(BREAKER)
        api = rig.sandbox.urls["api"]
        failing = rig.sandbox.script("html_200", role="api", times=None)

        async def available() -> float:
            return (await rig.figures()).total(HOST_GAUGE, endpoint=api)

        for _ in range(4):
            assert (await rig.chat()).status == 200
            assert await available() == 1
        assert (await rig.chat()).status == 200
        assert await available() == 0
        before = failing.used

        answer = await rig.chat()  # goes straight to the proxy host
        assert answer.header("x-gateway-attempts") == "1"
        assert failing.used == before == 5

        states = rig.gateway.services.snapshot.states

        def half_open() -> bool:
            return states["piapi"].health.snapshot(asyncio.get_running_loop().time()).endpoints[0].state == "half_open"

        await eventually(half_open, "the end of the ejection")
        assert (await rig.chat()).header("x-gateway-attempts") == "2"  # the probe fails: ejected for longer
        assert failing.used == 6
        assert await available() == 0

        failing.cancel()
        await eventually(half_open, "the end of the second ejection")
        answer = await rig.chat()  # the probe succeeds
        assert answer.header("x-gateway-attempts") == "1"
        assert rig.sandbox.requests[-1].role == "api"
        assert await available() == 1

    async def test_only_one_request_at_a_time_is_the_probe(self, gateway: StartGateway) -> None:
        rig = await gateway(BREAKER)
        failing = rig.sandbox.script("html_200", role="api", times=5)
        for _ in range(5):
            await rig.chat()
        assert failing.times == 0
        states = rig.gateway.services.snapshot.states

        def half_open() -> bool:
            return states["piapi"].health.snapshot(asyncio.get_running_loop().time()).endpoints[0].state == "half_open"

        await eventually(half_open, "the end of the ejection")
        rig.sandbox.script("stall_head;seconds=0.3", role="api")
        before = len(rig.sandbox.requests)
        [probe] = await held(rig, 1)
        others = await asyncio.gather(*(rig.chat() for _ in range(5)))
        assert {answer.status for answer in others} == {200}
        assert (await probe).status == 200
        assert Counter(request.role for request in rig.sandbox.requests[before:]) == {"api": 1, "proxy": 5}

    async def test_with_every_host_ejected_requests_go_through_all_the_same(self, gateway: StartGateway) -> None:
        """Failing open: once the hosts work again nobody waits for a breaker."""
        rig = await gateway(
            f"{BREAKER}\nupstreams: {{backup: {{keys: []}}}}".replace("500ms", "30s").replace("1s", "30s")
        )
        rig.for_all_roles("html_200")
        for _ in range(5):
            assert (await rig.chat()).status == 502
        figures = await rig.figures()
        assert figures.total(HOST_GAUGE, upstream="piapi") == 0

        rig.sandbox.clear_scripts()

        assert (await rig.chat()).status == 200

    async def test_what_speaks_only_of_the_request_ejects_nobody(self, gateway: StartGateway) -> None:
        rig = await gateway(BREAKER)
        rig.sandbox.script("rejected", times=None)
        for _ in range(12):
            assert (await rig.chat()).status == 400
        assert (await rig.figures()).total(HOST_GAUGE, endpoint=rig.sandbox.urls["api"]) == 1

    async def test_retries_stay_within_their_budget(self, gateway: StartGateway) -> None:
        """A failure that speaks against no host: of many requests at once only a few are sent to PiAPI twice."""
        rig = await gateway()
        rig.sandbox.script("huge_event", role="api", times=None)
        rig.sandbox.script("stall_head;seconds=4", role="proxy", times=None)  # longer than all 40 take

        answers = await asyncio.gather(*(rig.chat() for _ in range(40)))

        assert {answer.status for answer in answers} == {200}
        roles = Counter(request.role for request in rig.sandbox.requests)
        assert roles["api"] == 40
        assert roles["proxy"] <= 3 + 4  # three at once, and one in ten
        assert roles["backup"] == 40 - roles["proxy"]

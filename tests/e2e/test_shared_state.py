"""Three gateways and one Valkey, over real sockets: one limit, one memory of upstreams, whatever becomes of Valkey."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.core.limits.key_limits import Lease, LimitRefusal
from gateway.core.types import VirtualKey
from tests.engines import ValkeyServer

from .conftest import StartGateway
from .flux import created, hold, links, order
from .harness import ALICE, PIAPI_KEY, Answer, Rig, eventually
from .moments import start

LIMITED = "gw-limited-000011112222333344"


@pytest.fixture
async def gateway(gateway: StartGateway) -> AsyncIterator[StartGateway]:
    """As everywhere; all let go of the one sandbox before the first of them is looked at."""
    rigs: list[Rig] = []

    async def start(overrides: str = "", *, ask_for_models: bool = False) -> Rig:
        rigs.append(await gateway(overrides, ask_for_models=ask_for_models))
        return rigs[-1]

    yield start
    for rig in rigs:
        await eventually(lambda rig=rig: len(rig.gateway.services.gate) == 0, "no request in flight")  # type: ignore[misc]
        await rig.gateway.services.pool.close()


async def three(starting: StartGateway, url: str, **more: object) -> list[Rig]:
    """Gateways that share their limits; each has its books to itself. ``more``: of the configuration."""
    rigs = [await starting(json.dumps({"shared_state": url, **more})) for _ in range(3)]
    await eventually(
        lambda: all(len(rig.gateway.services.shared.gateways()) == 3 for rig in rigs),  # type: ignore[attr-defined]
        "each knows of all",
    )
    return rigs


def limited(**limits: int) -> dict[str, object]:
    return {"keys": [{"name": "alice", "key": ALICE}, {"name": "dora", "key": LIMITED, **limits}]}


async def ask_in_turn(rigs: Sequence[Rig], times: int) -> list[Answer]:
    return [await rigs[number % len(rigs)].chat(key=LIMITED) for number in range(times)]


def counted(rig: Rig) -> list[str]:
    """From now on: the keys of requests that ask Valkey, and so may have to wait."""
    limits, asked = rig.gateway.services.limits, list[str]()
    ask = limits.ask

    async def counting(key: VirtualKey, tokens: int, now: float) -> Lease | LimitRefusal:
        asked.append(key.name)
        return await ask(key, tokens, now)

    limits.ask = counting  # type: ignore[method-assign]
    return asked


def breakers(rig: Rig, upstream: str = "piapi") -> dict[str, str]:
    now = rig.gateway.services.clock.monotonic()
    found = rig.gateway.services.snapshot.states[upstream].health.snapshot(now)
    return {one.name: one.state for one in (*found.endpoints, *found.models)}


def cooling(rig: Rig, upstream: str = "piapi") -> dict[str, float]:
    """Model → seconds that the upstream's one key rests for it."""
    [key] = rig.gateway.services.snapshot.states[upstream].pool.snapshot(rig.gateway.services.clock.monotonic())
    return {model: seconds for model, (_, seconds) in key.models.items()}


class TestLimits:
    async def test_a_limit_is_one_over_all_and_so_are_its_headers(self, gateway: StartGateway, valkey_url: str) -> None:
        rigs = await three(gateway, valkey_url, **limited(rpm=9, tpm=100_000))
        answers = await ask_in_turn(rigs, 12)
        assert [answer.status for answer in answers] == [200] * 9 + [429] * 3
        assert [answer.header("x-ratelimit-remaining-requests") for answer in answers[:9]] == list("876543210")
        spent = [int(answer.header("x-ratelimit-remaining-tokens") or "") for answer in answers]
        assert spent == sorted(spent, reverse=True)
        assert spent[0] < 100_000
        refused = answers[-1]
        assert refused.error()["code"] == "rate_limit_exceeded"
        assert 50 <= int(refused.header("retry-after") or "0") <= 61
        assert (await rigs[0].chat(key=ALICE)).status == 200

    async def test_places_are_one_pool(self, gateway: StartGateway, valkey_url: str) -> None:
        rigs = await three(gateway, valkey_url, **limited(parallel=4))
        sandbox = rigs[0].sandbox
        sandbox.script("slow;delay=400", role="api", times=4)
        running = [start(rigs[number % 3].chat(key=LIMITED)) for number in range(4)]
        await sandbox.until(lambda: len(sandbox.requests) == 4)
        assert {(await rigs[number % 3].chat(key=LIMITED)).status for number in range(9)} == {429}
        assert {answer.status for answer in await asyncio.gather(*running)} == {200}
        assert (await rigs[1].chat(key=LIMITED)).status == 200

    async def test_a_key_without_limits_asks_nothing(self, gateway: StartGateway, valkey_url: str) -> None:
        import redis

        [rig] = [await gateway(json.dumps({"shared_state": valkey_url, **limited(rpm=9)}))]
        with redis.Redis.from_url(valkey_url) as client:
            before = client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
            began = asyncio.get_running_loop().time()
            for _ in range(50):
                assert (await rig.chat(key=ALICE)).status == 200
            took = asyncio.get_running_loop().time() - began
            asked = client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0) - before
        assert asked <= 3 * (took / 0.5 + 2), "signs of life only"


class TestUpstreams:
    async def test_a_429_seen_by_one_rests_the_key_for_all(self, gateway: StartGateway, valkey_url: str) -> None:
        rigs = await three(gateway, valkey_url)
        rigs[0].sandbox.script("rate_limited", role="api")
        assert (await rigs[0].chat()).status == 200  # by the backup
        await eventually(lambda: all("gpt-4o" in cooling(rig) for rig in rigs), "all know")
        seconds = [cooling(rig)["gpt-4o"] for rig in rigs]
        assert max(seconds) - min(seconds) < 0.5
        assert (await rigs[1].chat()).header("x-gateway-upstream") == "backup"

    async def test_a_pause_that_ended_for_one_has_ended_for_all(self, gateway: StartGateway, valkey_url: str) -> None:
        rigs = await three(gateway, valkey_url)
        rigs[0].sandbox.script("rate_limited_bare", role="api")
        await rigs[0].chat()
        await eventually(lambda: all(cooling(rig) for rig in rigs), "all know")
        pool = rigs[1].gateway.services.snapshot.states["piapi"].pool
        [credential] = rigs[1].gateway.services.snapshot.states["piapi"].upstream.credentials
        now = rigs[1].gateway.services.clock.monotonic()
        pool.answering(credential, "gpt-4o", now, asker="alice", began=now)  # a request that began since succeeds
        await eventually(lambda: not any(cooling(rig) for rig in rigs), "all know", within=1.0)

    async def test_an_endpoint_that_fails_at_one_is_left_by_all(self, gateway: StartGateway, valkey_url: str) -> None:
        rigs = await three(gateway, valkey_url, failover={"breaker": {"failures": 2}}, **limited(rpm=1000))
        host = rigs[0].sandbox.urls["api"]
        rigs[0].sandbox.script("cf_origin_down", role="api", times=None)
        for number in range(8):  # of two members: what one member's requests fail with may be that member's doing
            await rigs[0].chat(key=(ALICE, LIMITED)[number % 2])
        assert breakers(rigs[0])[host] == "open"
        await eventually(lambda: all(breakers(rig)[host] == "open" for rig in rigs), "all know", within=1.0)
        before = len(rigs[0].sandbox.requests)
        assert (await rigs[2].chat()).status == 200
        assert [request.role for request in rigs[0].sandbox.requests[before:]] == ["proxy"]

    async def test_a_gateway_that_starts_later_knows_too(self, gateway: StartGateway, valkey_url: str) -> None:
        rigs = await three(gateway, valkey_url)
        rigs[0].sandbox.script("rate_limited", role="api")
        await rigs[0].chat()
        await eventually(lambda: all(cooling(rig) for rig in rigs), "all know")
        late = await gateway(json.dumps({"shared_state": valkey_url}))
        await eventually(lambda: bool(cooling(late)), "it has read what is kept", within=2.0)

    async def test_what_is_told_of_another_key_of_that_name_is_passed_over(
        self, gateway: StartGateway, valkey_url: str
    ) -> None:
        first = await gateway(json.dumps({"shared_state": valkey_url}))
        other = {"upstreams": {"piapi": {"keys": [{"name": "first", "value": "sk-piapi-another-zzzyyyxxx"}]}}}
        second = await gateway(json.dumps({"shared_state": valkey_url, **other}))
        first.sandbox.script("rate_limited", role="api")
        await first.chat()
        await asyncio.sleep(1.0)
        assert cooling(first)
        assert not cooling(second)

    async def test_a_reload_goes_on_telling_and_hearing(self, gateway: StartGateway, valkey_url: str) -> None:
        rigs = await three(gateway, valkey_url)
        for rig in rigs:
            assert await rig.gateway.reload() == []
        rigs[0].sandbox.script("rate_limited", role="api")
        await rigs[0].chat()
        await eventually(lambda: all(cooling(rig) for rig in rigs), "all know", within=1.0)


class TestTasks:
    async def test_an_accounts_tasks_are_so_many_over_all_gateways(
        self, gateway: StartGateway, valkey_url: str
    ) -> None:
        rigs = await three(gateway, valkey_url)
        sandbox = rigs[0].sandbox
        sandbox.set_default("ok;concurrency=2;enforce_concurrency=1")
        await order(rigs[0])
        limiters = [rig.gateway.services.task_limiter._slots for rig in rigs]
        account = ("piapi", "first")
        await eventually(lambda: [one.limit(account) for one in limiters] == [2, 2, 2], "all know", within=4.0)
        asked = [request.path for request in sandbox.requests].count("/account/info")
        held = hold(rigs[0])
        orders = [start(order(rigs[number % 3])) for number in range(9)]
        await sandbox.until(lambda: len(created(rigs[0])) == 3)
        await asyncio.sleep(0.5)
        assert sandbox.tasks.running(PIAPI_KEY) == 2
        held.cancel()
        assert sum(len(links(answer)) for answer in await asyncio.gather(*orders)) == 9
        assert sandbox.tasks.most_at_once(PIAPI_KEY) == 2
        assert [request.path for request in sandbox.requests].count("/account/info") == asked == 1
        assert {row.outcomes[0] for rig in rigs for row in await rig.at_least(3)} == {"ok"}

    async def test_tasks_go_on_without_valkey(self, gateway: StartGateway, own_valkey: ValkeyServer) -> None:
        rigs = await three(gateway, own_valkey.url)
        rigs[0].sandbox.set_default("ok;concurrency=3")
        await order(rigs[0])
        own_valkey.pause()
        answers = await asyncio.gather(*(order(rigs[number % 3]) for number in range(6)))
        assert sum(len(links(answer)) for answer in answers) == 6


class TestWithoutValkey:
    @pytest.mark.parametrize("ends", ["pause", "kill"])
    async def test_no_request_fails_limits_hold_and_it_comes_back(
        self, gateway: StartGateway, own_valkey: ValkeyServer, ends: str
    ) -> None:
        rigs = await three(gateway, own_valkey.url, **limited(rpm=60))
        assert {answer.status for answer in await ask_in_turn(rigs, 6)} == {200}
        getattr(own_valkey, ends)()
        asked = [counted(rig) for rig in rigs]
        answers = await ask_in_turn(rigs, 90)
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {200, 429}
        let_in = statuses.count(200) + 6
        assert 60 <= let_in <= 66, "each its share: of the moment when it went, a few may count nowhere"
        # The first of each gateway waits for the answer that does not come; the others ask for none.
        assert max(map(len, asked)) <= 3
        for rig in rigs:
            assert [line["level"] for line in await rig.log_lines("shared_state_down")] == ["warning"]
            assert not rig.gateway.services.shared.up
        own_valkey.resume() if ends == "pause" else own_valkey.start()
        await eventually(lambda: all(rig.gateway.services.shared.up for rig in rigs), "it is back")
        for rig in rigs:
            await rig.log_lines("shared_state_up", 2)
            assert len(await rig.log_lines("shared_state_down")) == 1
        # It is told what was let in meanwhile.
        assert {answer.status for answer in await ask_in_turn(rigs, 6)} == {429}

    async def test_a_gateway_starts_without_it(self, gateway: StartGateway, own_valkey: ValkeyServer) -> None:
        own_valkey.kill()
        rig = await gateway(json.dumps({"shared_state": own_valkey.url, **limited(rpm=2)}))
        assert [answer.status for answer in await ask_in_turn([rig], 3)] == [200, 200, 429]
        await rig.log_lines("shared_state_down")


async def test_its_password_is_told_nowhere(gateway: StartGateway) -> None:
    server = ValkeyServer("--requirepass", "hunter2-hunter2")
    try:
        rig = await gateway(
            json.dumps({"shared_state": server.url.replace("redis://", "redis://default:hunter2-hunter2@")})
        )
        assert rig.gateway.services.shared.up
        server.kill()
        await rig.log_lines("shared_state_down")
        assert "hunter2" not in (rig.folder / "gateway.log").read_text()
        assert "hunter2" not in repr(rig.gateway.services.shared.name)
    finally:
        server.close()

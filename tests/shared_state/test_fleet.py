"""Several gateways on one server: their limits are one, and what one knows all know."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.limits.key_limits import Lease
from gateway.core.types import VirtualKey
from gateway.shared_state.base import Message

from .fleets import GRAIN, WINDOW, Fleet, Member, eventually


async def three(fleet: Fleet, **options: Any) -> list[Member]:
    """Three gateways that know of one another."""
    members = [await fleet.join(**options) for _ in range(3)]
    await eventually(lambda: all(len(known(member)) == 3 for member in members))
    return members


def known(member: Member) -> set[str]:
    return set(member.state.gateways())  # type: ignore[attr-defined]


class TestLimits:
    @pytest.mark.parametrize("window", [WINDOW])
    async def test_so_many_over_all_of_them_and_no_more(self, fleet: Fleet, window: float) -> None:
        members, key = await three(fleet), VirtualKey("alice", rpm=100)
        let_in, refused = list[tuple[float, float]](), list[tuple[float, float]]()
        loop = asyncio.get_running_loop()
        ends = loop.time() + 4 * window

        async def hammer(member: Member) -> None:
            while loop.time() < ends:
                before = loop.time()
                answer = await member.ask(key)
                (let_in if isinstance(answer, Lease) else refused).append((before, loop.time()))
                if not isinstance(answer, Lease):
                    await asyncio.sleep(0.005)

        await asyncio.gather(*(hammer(member) for member in members for _ in range(4)))
        let_in.sort()
        assert all(later - first >= window for (first, _), (_, later) in zip(let_in, let_in[100:], strict=False))
        # None is refused before the limit is used up, at whatever speed that comes about.
        assert refused
        earlier = window + 3 * GRAIN
        for before, after in refused:
            assert sum(end >= before - earlier and begin <= after for begin, end in let_in) >= 100

    async def test_a_grain_of_a_real_minute_costs_less_than_one_percent(self) -> None:
        from gateway.core.limits.key_limits import GRAIN as REAL_GRAIN
        from gateway.core.limits.key_limits import RATE_WINDOW

        assert RATE_WINDOW / (RATE_WINDOW + REAL_GRAIN) > 0.99

    async def test_tokens_reserved_at_one_are_given_back_to_all(self, fleet: Fleet) -> None:
        first, second, _ = await three(fleet)
        key = VirtualKey("alice", tpm=1000)
        lease = await first.admitted(key, 1000)
        await second.refused(key, 1)
        first.release(lease, 400)
        await asyncio.sleep(0.05)
        await second.admitted(key, 600)
        assert second.headers(key)["remaining-tokens"] == "0"

    async def test_headers_say_what_is_left_of_all(self, fleet: Fleet) -> None:
        members, key = await three(fleet), VirtualKey("alice", rpm=9)
        for number in range(9):
            member = members[number % 3]
            await member.admitted(key)
            assert member.headers(key)["remaining-requests"] == str(8 - number)

    async def test_places_are_one_pool(self, fleet: Fleet) -> None:
        first, second, third = await three(fleet)
        key = VirtualKey("alice", parallel=2)
        leases = [await first.admitted(key), await second.admitted(key)]
        await third.refused(key)
        second.release(leases[1])
        await asyncio.sleep(0.05)
        await third.admitted(key)
        await first.refused(key)

    async def test_many_at_once_never_get_more_places_than_there_are(self, fleet: Fleet) -> None:
        members, key = await three(fleet), VirtualKey("alice", parallel=7)
        answers = await asyncio.gather(*(member.ask(key) for member in members for _ in range(100)))
        assert sum(isinstance(answer, Lease) for answer in answers) == 7

    async def test_the_places_of_a_gateway_that_died_come_back_and_those_of_others_stay(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from gateway.shared_state.valkey import state

        monkeypatch.setattr(state, "RENEW_EVERY", 0.2)
        members = await three(fleet, place_lasts=1.0)
        key = VirtualKey("alice", parallel=2)
        await members[0].admitted(key)
        await members[1].admitted(key)
        for task in members[0].state._running:  # type: ignore[attr-defined]
            task.cancel()  # it is dead: it renews nothing, and gives nothing back
        await asyncio.sleep(0.8)
        await members[2].refused(key)
        answer = await members[2].ask(key)
        loop = asyncio.get_running_loop()
        ends = loop.time() + 1.5
        while not isinstance(answer, Lease) and loop.time() < ends:
            await asyncio.sleep(0.05)
            answer = await members[2].ask(key)
        assert isinstance(answer, Lease)
        await asyncio.sleep(1.5)
        await members[2].refused(key)  # the other's request runs on, long after the time that a place lasts

    async def test_one_that_leaves_gives_its_places_back_at_once(self, fleet: Fleet) -> None:
        first, second, _ = await three(fleet)
        key = VirtualKey("alice", parallel=1)
        await first.admitted(key)
        await second.refused(key)
        await first.state.close()
        await second.admitted(key)
        await eventually(lambda: len(known(second)) == 2)

    async def test_a_request_whose_client_left_meanwhile_holds_no_place(self, fleet: Fleet) -> None:
        first, second, _ = await three(fleet)
        key = VirtualKey("alice", parallel=1)
        asking = asyncio.get_running_loop().create_task(first.ask(key))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.1)
        await second.admitted(key)


class TestNews:
    async def test_what_one_tells_the_others_hear_once(self, fleet: Fleet) -> None:
        members = await three(fleet)
        heard: list[list[Message]] = [[], [], []]
        for member, messages in zip(members, heard, strict=True):
            member.state.listen("jobs", messages.append)
        await asyncio.sleep(0.1)
        members[0].state.tell("jobs", {"id": "job_1"})
        await eventually(lambda: bool(heard[1] and heard[2]))
        await asyncio.sleep(0.1)
        assert [[dict(message) for message in messages] for messages in heard] == [
            [],
            [{"id": "job_1", "age": 0.0}],
            [{"id": "job_1", "age": 0.0}],
        ]

    async def test_what_is_kept_is_known_to_all_at_once_and_to_one_that_comes_later(self, fleet: Fleet) -> None:
        members, heard = await three(fleet), list[Message]()
        members[1].state.listen("cooldowns", heard.append)
        members[0].state.keep("cooldowns", "first", {"ends": "late"}, 30.0)
        members[0].state.keep("cooldowns", "first", {"ends": "later"}, 30.0)
        await eventually(lambda: bool(heard) and heard[-1]["ends"] == "later")
        await asyncio.sleep(0.3)
        late, known_later = await fleet.join("late"), list[Message]()
        late.state.listen("cooldowns", known_later.append)
        await eventually(lambda: bool(known_later))
        assert known_later[0]["ends"] == "later"
        assert 0.3 <= known_later[0]["age"] < 30.0

    async def test_the_newest_of_a_name_counts_whoever_tells_it(self, fleet: Fleet) -> None:
        members = await three(fleet)
        states: list[dict[str, int]] = [{}, {}, {}]

        def follow(member: Member, state: dict[str, int]) -> None:
            member.state.listen("breakers", lambda message: state.update({message["name"]: message["number"]}))

        for member, state in zip(members, states, strict=True):
            follow(member, state)
        for number in range(60):
            teller = number % 3
            states[teller]["x"] = number
            members[teller].state.keep("breakers", "x", {"name": "x", "number": number}, 30.0)
            await asyncio.sleep(0.01)
        await eventually(lambda: len({state["x"] for state in states}) == 1)

    async def test_what_is_over_is_kept_no_longer(self, fleet: Fleet) -> None:
        first = await fleet.join()
        first.state.keep("cooldowns", "short", {}, 0.2)
        await asyncio.sleep(0.6)
        late, heard = await fleet.join(), list[Message]()
        late.state.listen("cooldowns", heard.append)
        await asyncio.sleep(1.2)
        assert heard == []

    async def test_what_the_channel_lost_is_read(self, fleet: Fleet) -> None:
        members, heard = await three(fleet), list[Message]()
        members[1].state.listen("cooldowns", heard.append)
        hearing = members[1].state._running[2]  # type: ignore[attr-defined]
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        members[0].state.keep("cooldowns", "unheard", {"number": 7}, 30.0)
        await eventually(lambda: bool(heard))
        assert heard[0]["number"] == 7

    async def test_what_is_told_in_another_form_is_passed_over(self, fleet: Fleet) -> None:
        """Gateways of two versions run side by side while a fleet is brought up to date."""
        import redis

        members, heard = await three(fleet), list[Message]()
        members[1].state.listen("cooldowns", lambda message: heard.append(message["number"]))
        await asyncio.sleep(0.2)
        with redis.Redis.from_url(fleet.url) as client:
            for text in (
                "",
                "x",
                "1 ",
                "1 {",
                "1 []",
                '1 {"id": "a"}',
                '1 {"id": "a", "from": "b", "topic": "cooldowns"}',
                '1 {"id": "a", "from": "b", "topic": "cooldowns", "message": []}',
                '0 {"id": "", "from": "b", "topic": "cooldowns", "message": "x"}',
            ):
                client.publish("piapi-gateway:0:told", text)
            client.hset(
                "piapi-gateway:{fleet}:kept", mapping={"a": "nothing", "b": "99999999999999 1 1 {", "c": "1 1 1 {}"}
            )
        members[0].state.keep("cooldowns", "odd", {"other": 1}, 30.0)
        members[0].state.keep("cooldowns", "usual", {"number": 2}, 30.0)
        await eventually(lambda: heard == [2])
        await asyncio.sleep(1.0)
        assert not members[1].failed


class TestTheServersClock:
    @pytest.mark.parametrize(("ahead", "left"), [(WINDOW / 2, "2"), (3 * WINDOW, "4")])
    async def test_that_went_back(self, fleet: Fleet, ahead: float, left: str) -> None:
        """By less than a window: what was counted counts on. By more: it had been wrong."""
        import redis

        gateway, key = await fleet.join(), VirtualKey("alice", rpm=5)
        await gateway.admitted(key)
        await gateway.admitted(key)
        name = "piapi-gateway:{alice}:requests"
        with redis.Redis.from_url(fleet.url, decode_responses=True) as client:
            grains = round(ahead / GRAIN)
            for number, amount in client.hgetall(name).items():
                if number in ("oldest", "newest"):
                    client.hset(name, number, int(amount) + grains)
                elif number != "total":
                    client.hdel(name, number)
                    client.hset(name, str(int(number) + grains), amount)
        await gateway.admitted(key)
        assert gateway.headers(key)["remaining-requests"] == left

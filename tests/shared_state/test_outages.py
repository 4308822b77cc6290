"""The server stalls, dies, loses everything, comes back: requests go on, limits hold nearly, all of it by itself."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.limits.key_limits import Lease
from gateway.core.types import VirtualKey
from gateway.runtime.tasks import TrackedTasks
from gateway.shared_state.base import Message
from tests.engines import ValkeyServer

from .fleets import Fleet, Member, eventually
from .test_fleet import known, three

RIGHTS = "~piapi-gateway:* &piapi-gateway:* -@all +@connection +@scripting +@pubsub +@hash +@sortedset +@string +time \
+@keyspace -@dangerous"


async def let_in(members: list[Member], key: VirtualKey, times: int, tokens: int = 0) -> int:
    """How many of so many requests, spread over all gateways, are let in. Each is answered soon."""
    loop, number = asyncio.get_running_loop(), 0
    for time in range(times):
        began = loop.time()
        lease = await members[time % len(members)].ask(key, tokens)
        assert loop.time() - began < 5.0
        if isinstance(lease, Lease):
            number += 1
            members[time % len(members)].release(lease)
    return number


def all_up(members: list[Member], up: bool) -> bool:
    return all(member.state.up is up for member in members)


class TestStalled:
    async def test_each_keeps_to_its_share_and_nothing_waits_but_the_first(
        self, own_fleet: Fleet, own_valkey: ValkeyServer
    ) -> None:
        members = await three(own_fleet, window=20.0)
        key = VirtualKey("alice", rpm=30)
        assert await let_in(members, key, 6) == 6
        own_valkey.pause()
        loop = asyncio.get_running_loop()
        waits = []
        for number in range(60):
            began = loop.time()
            await members[number % 3].ask(key)
            waits.append(loop.time() - began)
        assert sum(wait > 0.02 for wait in waits) <= 20, "one for each gateway; some for a busy machine"
        await eventually(lambda: all_up(members, up=False))
        # Ten each: what each had let in before counts.
        assert [await let_in([member], key, 20) for member in members] == [0, 0, 0]
        assert [len(member.changes) for member in members] == [2, 2, 2], "up, then down; told once"
        assert all("300 ms" in member.changes[1][1] for member in members)
        own_valkey.resume()
        await eventually(lambda: all_up(members, up=True))
        # The server is told what was let in meanwhile: nothing is left.
        assert await let_in(members, key, 12) == 0
        assert [len(member.changes) for member in members] == [3, 3, 3]

    async def test_never_more_than_twice_the_limit_through_a_stall(
        self, own_fleet: Fleet, own_valkey: ValkeyServer
    ) -> None:
        members = await three(own_fleet, window=3.0)
        key, times = VirtualKey("alice", rpm=60), list[float]()
        loop = asyncio.get_running_loop()
        ends = loop.time() + 9.0

        async def hammer(member: Member) -> None:
            while loop.time() < ends:
                before = loop.time()
                if isinstance(await member.ask(key), Lease):
                    times.append(before)
                await asyncio.sleep(0.01)

        async def stall() -> None:
            await asyncio.sleep(2.0)
            own_valkey.pause()
            await asyncio.sleep(4.0)
            own_valkey.resume()

        await asyncio.gather(stall(), *(hammer(member) for member in members))
        times.sort()
        assert all(later - first >= 3.0 - 0.02 for first, later in zip(times, times[120:], strict=False))
        assert len(times) > 150, "it went on all the time"

    async def test_places_that_were_taken_meanwhile_count_when_it_is_back(
        self, own_fleet: Fleet, own_valkey: ValkeyServer
    ) -> None:
        members = await three(own_fleet)
        key = VirtualKey("alice", parallel=3)
        before = await members[0].admitted(key)
        own_valkey.pause()
        await members[1].ask(key)  # waits as long as any does, then is alone
        await eventually(lambda: all_up(members, up=False))
        await members[2].admitted(key)
        await members[2].refused(key)
        own_valkey.resume()
        await eventually(lambda: all_up(members, up=True))
        await members[0].refused(key)
        members[0].release(before)
        await asyncio.sleep(0.05)
        await members[0].admitted(key)

    async def test_a_large_request_is_let_in_by_one_of_them(self, own_fleet: Fleet, own_valkey: ValkeyServer) -> None:
        members = await three(own_fleet)
        key = VirtualKey("alice", tpm=900)
        own_valkey.pause()
        await members[0].ask(key, 1)
        await eventually(lambda: all_up(members, up=False))
        answers = [await member.ask(key, 800) for member in members]
        assert sum(isinstance(answer, Lease) for answer in answers) == 1
        refused = next(answer for answer in answers if not isinstance(answer, Lease))
        assert (refused.retry_after, refused.limit) == (1.0, 900)  # type: ignore[union-attr]
        assert (await members[0].refused(key, 901)).retry_after is None


class TestKilled:
    async def test_a_server_that_lost_everything_is_told_what_was_let_in(
        self, own_fleet: Fleet, own_valkey: ValkeyServer
    ) -> None:
        members = await three(own_fleet, window=30.0)
        key, busy = VirtualKey("alice", rpm=30, tpm=3000), VirtualKey("busy", parallel=2)
        assert await let_in(members, key, 21, tokens=100) == 21
        await members[0].admitted(busy)
        await asyncio.sleep(0.05)
        own_valkey.kill()
        await eventually(lambda: all_up(members, up=False))
        own_valkey.start()
        await eventually(lambda: all_up(members, up=True))
        assert await let_in(members, key, 30, tokens=100) == 9
        await members[1].admitted(busy)
        await members[2].refused(busy)

    async def test_data_that_is_lost_while_the_connection_stays(
        self, own_fleet: Fleet, own_valkey: ValkeyServer
    ) -> None:
        import redis

        members = await three(own_fleet, window=30.0)
        key = VirtualKey("alice", rpm=30)
        assert await let_in(members, key, 21) == 21
        with redis.Redis(port=own_valkey.port) as client:
            client.flushall()
            client.script_flush()
        await asyncio.sleep(1.5)
        assert await let_in(members, key, 30) == 9
        assert all_up(members, up=True)

    async def test_news_come_through_when_it_is_back(self, own_fleet: Fleet, own_valkey: ValkeyServer) -> None:
        members, heard = await three(own_fleet), list[Message]()
        members[1].state.listen("cooldowns", heard.append)
        own_valkey.kill()
        await eventually(lambda: all_up(members, up=False))
        members[0].state.keep("cooldowns", "key", {"reason": "rate_limited"}, 60.0)
        own_valkey.start()
        await eventually(lambda: all_up(members, up=True))
        await eventually(lambda: bool(heard))
        assert heard[0]["reason"] == "rate_limited"
        assert heard[0]["age"] > 0.0
        members[0].state.keep("cooldowns", "key", {"reason": "invalid"}, 60.0)
        await eventually(lambda: heard[-1]["reason"] == "invalid")

    async def test_a_gateway_starts_without_it_and_finds_it_later(
        self, own_fleet: Fleet, own_valkey: ValkeyServer
    ) -> None:
        own_valkey.kill()
        alone = await own_fleet.join()
        assert not alone.state.up
        key = VirtualKey("alice", rpm=2)
        assert await let_in([alone], key, 4) == 2
        [(up, problem)] = alone.changes
        assert not up
        assert problem
        own_valkey.start()
        await eventually(lambda: alone.state.up)
        await eventually(lambda: known(alone) == {"gw_0"})


@pytest.mark.parametrize("arguments", [("--requirepass", "right-password-1234")])
async def test_a_wrong_password_stops_nothing_and_is_not_told(arguments: tuple[str, ...]) -> None:
    server = ValkeyServer(*arguments)
    fleet = Fleet(server.url.replace("redis://", "redis://:wrong-password-5678@"))
    try:
        member = await fleet.join()
        assert not member.state.up
        assert await let_in([member], VirtualKey("alice", rpm=2), 4) == 2
        assert "password" in member.changes[0][1] or "auth" in member.changes[0][1].lower()
        assert "5678" not in str(member.changes) + member.state.name
    finally:
        await fleet.close()
        server.close()


async def test_a_user_with_few_rights_is_enough() -> None:
    """The rights that docs/shared-state.md names."""
    server = ValkeyServer("--user", *f"gateway on >secret-1234 {RIGHTS}".split())
    fleet = Fleet(server.url.replace("redis://", "redis://gateway:secret-1234@"))
    try:
        members, heard = await three(fleet), list[Message]()
        members[1].state.listen("cooldowns", heard.append)
        members[0].state.keep("cooldowns", "a", {}, 10.0)
        key = VirtualKey("alice", rpm=5, tpm=1000, parallel=5)
        assert await let_in(members, key, 9, tokens=10) == 5
        await eventually(lambda: bool(heard))
        assert all_up(members, up=True)
    finally:
        await fleet.close()
        server.close()


async def test_a_place_whose_end_the_server_was_not_told_is_given_back_soon(
    own_fleet: Fleet, own_valkey: ValkeyServer
) -> None:
    """The server stands still for a moment, in which a request ends: too short a moment for it to count as down."""
    first, second, _ = await three(own_fleet)
    key = VirtualKey("alice", parallel=1)
    lease = await first.admitted(key)
    own_valkey.pause()
    first.release(lease)
    await asyncio.sleep(0.15)
    own_valkey.resume()
    began = asyncio.get_running_loop().time()
    while not isinstance(await second.ask(key), Lease):
        assert asyncio.get_running_loop().time() - began < 10.0, "half of what places last"
        await asyncio.sleep(0.05)


async def test_a_long_outage_leaves_nothing_to_be_told_of_requests_that_came_and_went(
    own_fleet: Fleet, own_valkey: ValkeyServer
) -> None:
    member = await own_fleet.join(window=30.0)
    key = VirtualKey("alice", rpm=100_000, tpm=10**9, parallel=50)
    running = await member.admitted(key, 5)
    own_valkey.kill()
    await eventually(lambda: not member.state.up)
    assert await let_in([member], key, 3000, tokens=10) == 3000
    limits = member.state.limits
    assert len(limits.doubtful) <= 1  # type: ignore[attr-defined]
    member.release(running, 5)
    own_valkey.start()
    await eventually(lambda: member.state.up)
    await eventually(lambda: not limits.doubtful, within=8.0)  # type: ignore[attr-defined]
    last = await member.admitted(key, 10)
    headers = member.headers(key)
    assert headers["remaining-requests"] == str(100_000 - 3002)
    assert headers["remaining-tokens"] == str(10**9 - 5 - 3001 * 10)
    member.release(last, 10)
    assert not limits._told  # type: ignore[attr-defined]
    assert not limits._places  # type: ignore[attr-defined]


async def test_what_was_left_is_shared_out_where_the_gateways_were_not_asked_equally_often(
    own_fleet: Fleet, own_valkey: ValkeyServer
) -> None:
    members = await three(own_fleet, window=30.0)
    key = VirtualKey("alice", rpm=90)
    assert await let_in(members[:1], key, 60) == 60  # twice its share
    assert await let_in(members[1:], key, 2) == 2
    own_valkey.kill()
    await eventually(lambda: all_up(members, up=False))
    assert await let_in(members[:1], key, 40) == 10, "a third of the 30 that were left when it heard last"
    assert await let_in(members[1:], key, 100) <= 58


async def test_what_was_decided_in_a_moments_doubt_counts_once(own_fleet: Fleet, own_valkey: ValkeyServer) -> None:
    """A stall too short for the server to count as down: it carries out what it was asked, when none waits for it."""
    members = await three(own_fleet, window=30.0)
    key = VirtualKey("alice", rpm=30, tpm=3000, parallel=30)
    own_valkey.pause()
    leases = [await members[0].admitted(key, 10) for _ in range(5)]
    await asyncio.sleep(0.1)
    own_valkey.resume()
    for lease in leases:
        members[0].release(lease, 10)
    await asyncio.sleep(1.5)
    assert len(members[0].changes) == 1, "up all the time"
    await members[1].admitted(key, 10)
    headers = members[1].headers(key)
    assert (headers["remaining-requests"], headers["remaining-tokens"]) == ("24", "2940")


async def test_an_answer_that_we_ourselves_are_late_to_read_is_not_the_servers_fault(own_fleet: Fleet) -> None:
    import time

    member = await own_fleet.join(window=30.0)
    key = VirtualKey("alice", rpm=30)
    asking = asyncio.get_running_loop().create_task(member.ask(key))
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    for _ in range(6):  # the loop goes round while each round takes its time, as with much to do
        time.sleep(0.03)  # noqa: ASYNC251
        await asyncio.sleep(0.0)
    assert isinstance(await asking, Lease)
    limits = member.state.limits
    assert not limits._owes  # type: ignore[attr-defined]
    assert member.headers(key)["remaining-requests"] == "29"


async def test_an_answer_of_which_only_a_part_comes_is_not_waited_for(valkey_url: str) -> None:
    tasks, cut = TrackedTasks(lambda *_: None), asyncio.Event()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data[:3] if answers and cut.is_set() else data)
                if answers and cut.is_set():
                    await asyncio.sleep(3600)
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", int(valkey_url.split(":")[-1].split("/")[0]))
        tasks.spawn(pass_on(reader, behind[1], answers=False), "in")
        tasks.spawn(pass_on(behind[0], writer, answers=True), "out")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    fleet = Fleet(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    try:
        member, key = await fleet.join(), VirtualKey("alice", rpm=30)
        await member.admitted(key)
        cut.set()
        async with asyncio.timeout(5.0):
            await member.admitted(key)
        await eventually(lambda: not member.state.up)
        cut.clear()
        await eventually(lambda: member.state.up)
    finally:
        await fleet.close()
        server.close()
        await tasks.cancel_all()

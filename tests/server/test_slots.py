"""Which connections make room when there are too many: strangers' first, and of those the crowd's oldest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.limits import ServerLimits, admin_strangers
from gateway.server.slots import ConnectionSlots, Seat
from tests.server.conftest import front_door

LIMITS = ServerLimits(connections=6, refusals=1, strangers=4)


class Connection:
    """``name``: who is connected."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.idle = True
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class House:
    """Slots, and all who ever came."""

    def __init__(self) -> None:
        self.slots = ConnectionSlots()
        self.came: list[Any] = []

    def enter(self, name: str, address: str | None = "192.0.2.1", *, admitted: bool = False) -> Any:
        connection: Any = Connection(name)
        self.came.append(connection)
        connection.seat = self.slots.enter(connection, (address, 1) if address else None, LIMITS)
        if admitted:
            self.slots.admit(connection)
        return connection

    @property
    def inside(self) -> list[str]:
        assert {one for one in self.came if not one.aborted} >= self.slots.connections
        return [one.name for one in self.came if one in self.slots.connections]


def test_the_oldest_stranger_makes_room() -> None:
    house = House()
    for name in "abcdef":
        assert house.enter(name).seat is Seat.GIVEN
    assert house.inside == ["c", "d", "e", "f"]
    assert [one.name for one in house.came if one.aborted] == ["a", "b"]
    assert house.slots.evicted == 2


def test_a_crowd_makes_room_before_who_came_alone() -> None:
    house = House()
    house.enter("alone", "198.51.100.7")
    house.enter("six", "2001:db8::1")
    for number in range(20):
        house.enter(f"{number}", ["203.0.113.5", "::ffff:203.0.113.5"][number % 2])
    assert house.inside == ["alone", "six", "18", "19"]


def test_who_rotates_within_a_network_is_one_crowd() -> None:
    house = House()
    house.enter("alone", "2001:db8:0:2::1")
    for number in range(20):
        house.enter(f"{number}", f"2001:db8:0:1::{number:x}")
    assert house.inside == ["alone", "17", "18", "19"]


def test_who_was_admitted_stays_while_strangers_come() -> None:
    house = House()
    house.enter("operator", admitted=True)
    for number in range(20):
        house.enter(f"{number}")
    assert house.inside == ["operator", "16", "17", "18", "19"]


def test_an_idle_one_that_was_admitted_makes_room_where_no_stranger_is_left() -> None:
    house = House()
    for name in "abcdef":
        house.enter(name, admitted=True)
    house.came[0].idle = False
    assert house.enter("operator", admitted=True).seat is Seat.GIVEN
    assert house.inside == ["a", "c", "d", "e", "f", "operator"]
    for one in house.came:
        one.idle = False
    assert house.enter("one too many").seat is Seat.REFUSAL
    assert house.enter("another").seat is Seat.REFUSAL, "in the place of the one before"
    assert house.inside == ["a", "c", "d", "e", "f", "operator", "another"]


def test_without_a_number_of_strangers_none_makes_room() -> None:
    slots, limits = ConnectionSlots(), ServerLimits(connections=1, refusals=1)
    came: list[Any] = [Connection(name) for name in "abc"]
    assert [slots.enter(one, None, limits) for one in came] == [Seat.GIVEN, Seat.REFUSAL, Seat.NONE]
    assert not any(one.aborted for one in came)


def test_who_was_served_without_a_key_goes_last_of_its_crowd() -> None:
    house = House()
    for name in "abcd":
        house.enter(name)
    house.slots.renew(house.came[0])
    house.enter("e")
    assert house.inside == ["a", "c", "d", "e"]


@given(st.lists(st.tuples(st.sampled_from("eeeeealr"), st.integers(0, 40), st.sampled_from("abc")), max_size=200))
def test_whatever_happens_the_numbers_hold(steps: list[tuple[str, int, str]]) -> None:
    house = House()
    for what, which, network in steps:
        inside = sorted(house.slots.connections, key=house.came.index)
        one: Any = inside[which % len(inside)] if inside else None
        if what == "e":
            house.enter("x", f"192.0.2.{ord(network)}")
        elif one is not None and what == "a":
            house.slots.admit(one)
        elif one is not None and what == "r":
            house.slots.renew(one, (f"192.0.2.{ord(network)}", 1))
        elif one is not None:
            house.slots.leave(one)
        strangers = house.slots._home
        assert len(strangers) <= 4
        assert len(house.slots.connections) <= 6
        assert strangers.keys() | house.slots._admitted.keys() == house.slots.connections
        sizes = [len(crowd) for crowd in house.slots._strangers.values()]
        assert house.slots._most == max(sizes, default=0)
        assert sum(sizes) == len(strangers)
    for one in list(house.slots.connections):
        house.slots.leave(one)
    assert [*house.slots._home, *house.slots._strangers, *house.slots._by_number] == []


@pytest.mark.parametrize(
    ("descriptors", "strangers"), [(256, 16), (1024, 16), (8192, 128), (1 << 20, 256), (None, 256)]
)
def test_few_files_leave_few_strangers(descriptors: int | None, strangers: int) -> None:
    assert admin_strangers(descriptors) == strangers


async def test_a_burst_of_connections_does_not_close_one_whose_request_is_here_already(
    serve: Any, connect: Any
) -> None:
    """All are accepted before any is read, on asyncio's own loop: so few are accepted at once that it has its turn."""

    async def door(request: Any, client: Any) -> None:
        request.admit()
        await client.respond(200, (), b"{}")

    server = await serve(front_door(door), connections=80, strangers=64)
    others = [await connect(server) for _ in range(100)]
    asked = await connect(server)
    await asked.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    others += [await connect(server) for _ in range(300)]
    assert (await asked.answer()).status == 200
    assert server.connections <= 80
    assert server.evicted >= 300

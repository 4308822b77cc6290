"""Who is let in by the door of the admin routes, and what becomes of the others."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.endpoints.admin.door import MOST_FROM_EVERYWHERE, AdminDoor
from tests.heads import request_of
from tests.in_force import Settings

KEY = "the-operators-own-0123456789"


class Rig:
    """``settings``: those in force, with the key."""

    def __init__(self) -> None:
        self.now = 0.0
        self.settings = Settings(admin_key=KEY)
        self.door = AdminDoor(self.settings, lambda request: str(request.peer[0]), lambda: self.now)

    def ask(self, *headers: tuple[bytes, bytes], address: str = "192.0.2.1", open_to_all: bool = False) -> Any:
        """The name under which it is let in, or the status of its refusal."""
        try:
            return self.door.enter(request_of(headers, address=address), open_to_all=open_to_all)
        except GatewayError as error:
            return error.status if error.should_retry is (error.status == 429) else 0


def bearer(key: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + key.encode("latin-1")


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_the_key_passes_whatever_failed_before_it(rig: Rig) -> None:
    statuses = [rig.ask(bearer(f"guess-{number}")) for number in range(15)]
    assert statuses == [401] * 10 + [429] * 5
    assert rig.ask(bearer(KEY)) == "admin key"
    assert rig.ask(bearer("guess")) == 429, "and makes no failure forgotten"
    assert rig.ask(bearer("guess"), address="192.0.2.2") == 401
    rig.now = 60.0
    assert rig.ask(bearer("guess")) == 401
    assert rig.door.failures == 18


def test_many_addresses_have_a_hundred_failures_together(rig: Rig) -> None:
    statuses = [rig.ask(bearer("guess"), address=f"2001:db8:{number:x}::1") for number in range(10_000)]
    assert statuses == [401] * MOST_FROM_EVERYWHERE + [429] * (10_000 - MOST_FROM_EVERYWHERE)
    assert rig.ask(bearer(KEY)) == "admin key"
    assert rig.ask() == 401, "no key is no guess"


def test_a_million_addresses_take_no_more_memory_than_ten_thousand(rig: Rig) -> None:
    for number in range(30_000):
        rig.ask(bearer("guess"), address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(rig.door._by_address._failures) == 10_000
    assert len(rig.door._of_all._failures) == 1


def test_what_is_open_to_all_is_no_failure(rig: Rig) -> None:
    assert [rig.ask(bearer("guess"), open_to_all=True) for _ in range(20)] == ["admin key"] * 20
    assert rig.ask(bearer("guess"), bearer("guess"), open_to_all=True) == 400
    assert rig.door.failures == 0


def test_without_a_key_all_are_let_in_but_who_sends_two(rig: Rig) -> None:
    rig.settings.admin_key = ""
    assert rig.ask() == rig.ask(bearer("anything")) == "admin API without a key"
    assert rig.ask(bearer("one"), (b"x-api-key", b"two")) == 400


def test_another_key_is_in_force_at_once(rig: Rig) -> None:
    rig.settings.admin_key = "another-key-0123456789"
    assert rig.ask(bearer(KEY)) == 401
    assert rig.ask(bearer("another-key-0123456789")) == "admin key"


@pytest.mark.parametrize("key", [KEY + "\x00", KEY + "\xe9", KEY[:-1], KEY + KEY, "", "k" * (1 << 20), KEY.upper()])
def test_nothing_else_is_the_key(rig: Rig, key: str) -> None:
    assert rig.ask(bearer(key)) == 401

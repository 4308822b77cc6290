"""How many files this process may have open; what macOS and others say of it is emulated here."""

from __future__ import annotations

import resource

import pytest

from gateway.config import load
from gateway.runtime import descriptors
from gateway.runtime.descriptors import NO_LIMIT, RESERVED, lowered, raise_descriptor_limit, room_for

INFINITE = resource.RLIM_INFINITY


class System:
    """A system whose soft limit may be raised up to ``most``, whatever it calls the hard one."""

    def __init__(self, soft: int, hard: int, most: int) -> None:
        self.limits = (soft, hard)
        self.most = most

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if limits[0] == INFINITE or limits[0] > self.most:
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "most", "raised"),
    [
        (1024, 65536, 65536, 65536),
        (65536, 65536, 65536, 65536),
        (256, INFINITE, 24_576, 24_576),  # macOS, whose infinity is none
        (256, INFINITE, 10_240, 10_240),
        (256, INFINITE, 245_760, 65_536),
        (256, 4096, 256, 256),  # a sandbox that forbids it
        (256, INFINITE, 256, 256),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_the_system_lets_it(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int, raised: int
) -> None:
    system = System(soft, hard, most)
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: system.limits)
    monkeypatch.setattr(descriptors.resource, "setrlimit", system.set)
    assert raise_descriptor_limit() == raised
    assert system.limits == (raised, hard)


def test_no_limit_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (INFINITE, INFINITE))
    assert raise_descriptor_limit() == descriptors.descriptor_limit() == NO_LIMIT
    assert room_for(500, NO_LIMIT) == 500
    assert lowered(500, NO_LIMIT) == ""


def test_a_request_takes_two() -> None:
    assert room_for(500, 1000 + RESERVED) == 500
    assert lowered(500, 1000 + RESERVED) == ""
    assert room_for(500, 998 + RESERVED) == 499
    assert "500 is lowered to 499" in lowered(500, 998 + RESERVED)
    assert "LimitNOFILE=1064" in lowered(500, 998 + RESERVED)
    assert room_for(500, 10) == 1


def test_of_the_default_only_much_is_worth_a_word() -> None:
    default = load(None, {}).limits.in_flight
    assert default == descriptors.DEFAULT_IN_FLIGHT
    assert lowered(default, 20_000) == ""
    assert "lowered to 480" in lowered(default, 1024)

"""The limit of descriptors, as Linux and (emulated) macOS tell it."""

from __future__ import annotations

import resource

import pytest

from gateway.runtime.descriptors import descriptor_limit, raise_descriptor_limit

MAC = 2**63 - 1


class Kernel:
    """Limits as a system keeps them. ``most``: what it gives in truth."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int) -> None:
        self.limits, self.most = (soft, hard), most
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.limits)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, _: int, limits: tuple[int, int]) -> None:
        if not 0 <= limits[0] <= self.most or limits[1] != self.limits[1]:
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "most", "then"),
    [
        (1024, 4096, 10**9, 4096),
        (4096, 4096, 10**9, 4096),
        (256, MAC, 10_240, 10_240),
        (256, MAC, 100_000, 65_536),
        (100_000, MAC, 200_000, 100_000),
        (256, MAC, 256, 256),
        (256, -1, 10_240, 10_240),
        (MAC, MAC, 10_240, None),
    ],
)
def test_it_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int, then: int | None
) -> None:
    Kernel(monkeypatch, soft, hard, most)
    assert raise_descriptor_limit() == then
    assert descriptor_limit() == then

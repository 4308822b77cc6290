"""The shared state of a gateway that shares nothing: ``memory://``."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.limits.key_limits import KeyLimits, Limits
from gateway.shared_state.base import Message, Topic


class Alone:
    """There is no other gateway. Implements ``shared_state.base.SharedState``."""

    name = "memory://"
    up = True

    def __init__(self) -> None:
        self.limits: Limits = KeyLimits()

    def tell(self, topic: Topic, message: Message) -> None:
        """None is there to be told."""

    def keep(self, topic: Topic, name: str, message: Message, seconds: float) -> None:
        """None is there to be told."""

    def listen(self, topic: Topic, heard: Callable[[Message], None]) -> None:
        """None is there to be heard."""

    def fleet_is(self, size: Callable[[], int]) -> None:
        """It is one."""

    async def close(self) -> None:
        """Nothing is held."""

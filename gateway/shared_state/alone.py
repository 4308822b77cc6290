"""The shared state of a gateway that shares nothing: ``memory://``."""

from __future__ import annotations

from collections.abc import Callable

from gateway.shared_state.base import Message, Topic


class Alone:
    """There is no other gateway. Implements ``shared_state.base.SharedState``."""

    name = "memory://"
    up = True

    def tell(self, topic: Topic, message: Message) -> None:
        """None is there to be told."""

    def listen(self, topic: Topic, heard: Callable[[Message], None]) -> None:
        """None is there to be heard."""

    async def close(self) -> None:
        """Nothing is held."""

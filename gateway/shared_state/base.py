"""What a gateway shares with the others of its fleet, as protocols. The rooms above know these, never an engine.

Nothing here is money, and nothing here is lost for good when the engine is: it is counted anew, or read in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from gateway.core.limits.key_limits import Limits

Topic = Literal["breakers", "cooldowns", "jobs", "keys", "responses", "task_limits"]

Message = Mapping[str, Any]
"""What is told of a topic; JSON."""


class Announcements(Protocol):
    """What gateways tell one another at once. One may be lost: each topic has a sweep of its own beside it."""

    def tell(self, topic: Topic, message: Message) -> None:
        """Tell the other gateways soon. Never blocks, never raises."""
        ...

    def keep(self, topic: Topic, name: str, message: Message, seconds: float) -> None:
        """Tell it, and keep it for so long for gateways that did not hear it; of one ``name`` the newest only. Never
        blocks, never raises.
        """
        ...

    def listen(self, topic: Topic, heard: Callable[[Message], None]) -> None:
        """Call ``heard`` with what other gateways tell, not with what this one did. It must be quick, and not raise.

        What was kept comes with ``age``: how many seconds ago it was so. It may come more than once.
        """
        ...


class SharedState(Announcements, Protocol):
    """One engine. ``up``: whether it answers; ``name``: what errors call it, without secrets.

    ``limits``: those of virtual keys.
    """

    @property
    def name(self) -> str: ...

    @property
    def up(self) -> bool: ...

    @property
    def limits(self) -> Limits: ...

    def fleet_is(self, size: Callable[[], int]) -> None:
        """``size``: how many gateways live, as the store knows it; the engine may not have seen all of them."""
        ...

    async def close(self) -> None:
        """Let go of it; what this gateway holds is given back."""
        ...


class SharedLook(NamedTuple):
    """An engine as it is found. ``name``: without secrets. ``version``: of Redis, as which Valkey counts; empty if it
    does not say. ``seconds``: that a question and its answer took.
    """

    name: str
    version: tuple[int, ...]
    seconds: float

"""The gateways that share a store, as the store knows them: who lives, who has died and is to be taken over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

BEAT_EVERY = 3.0
"""Seconds between two beats of a gateway."""

LEASE = 15.0
"""Seconds without a beat after which a gateway counts as dead, by the store's clock."""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What a gateway says of itself with each beat.

    ``id``: ``Services.gateway_id``. ``started_at_ns``: Unix time, by its own clock. ``main_url``, ``admin_url``: where
    it listens. ``in_flight``: requests. ``sees``: engine (``store``, ``shared_state``) → whether it can be used.
    """

    id: str
    started_at_ns: int
    version: str
    hostname: str
    pid: int
    main_url: str
    admin_url: str
    in_flight: int
    sees: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeenGateway:
    """A gateway as the store knows it.

    ``seen_at_ns``: its last beat. ``live``: that was within LEASE. Both go by the store's clock.
    """

    state: GatewayState
    seen_at_ns: int
    live: bool


class GatewayRecords(Protocol):
    """One entry for each gateway, from its first beat until it left or was taken over.

    ``alone``: whether no other gateway can ever be here. All methods raise StoreError if the store cannot be used.
    """

    @property
    def alone(self) -> bool: ...

    async def beat(self, gateway: GatewayState) -> None:
        """It lives. One that was taken for dead, or even forgotten, is back with this."""
        ...

    async def all(self) -> Sequence[SeenGateway]:
        """Every entry, the one that began first at the head."""
        ...

    async def claim_dead(self, by: str) -> Sequence[str]:
        """The ids of dead gateways that are gateway ``by``'s to take over from now on. Each is given to one alone,
        until that one is dead itself. What was claimed and not forgotten is given again.
        """
        ...

    async def forget(self, id: str, by: str) -> None:
        """Remove a dead gateway that ``by`` has taken over, unless it is back meanwhile."""
        ...

    async def leave(self, id: str) -> None:
        """Remove a gateway that ends in good order."""
        ...

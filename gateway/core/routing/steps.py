"""What an failover_plan answers when it is asked where to go."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.core.errors import GatewayError
from gateway.core.routing.health import Ticket
from gateway.core.types import Credential, Endpoint, Target


@dataclass(slots=True)
class AttemptPlan:
    """Make attempt ``number`` (from 1). ``fresh_connection``: do not use a kept-alive one."""

    target: Target
    endpoint: Endpoint
    credential: Credential
    fresh_connection: bool
    number: int
    index: int = field(repr=False)
    is_retry: bool = field(repr=False)
    ticket: Ticket = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing is left to try; tell the client."""

    error: GatewayError


@dataclass(frozen=True, slots=True)
class Failover:
    """A change of upstream, or of endpoint within one. ``reason``: the slug of what drove it away, ``keys_busy`` or
    ``endpoints_ejected``."""

    from_upstream: str
    to_upstream: str
    reason: str

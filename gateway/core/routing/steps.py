"""The answers of ``FailoverPlan.next``: attempt, wait, or stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.core.errors import GatewayError
from gateway.core.routing.health import Ticket
from gateway.core.types import NO_WISHES, Credential, Endpoint, Target, Wish


@dataclass(slots=True)
class AttemptPlan:
    """Make one attempt.

    ``fresh_connection``: do not use a kept-alive connection.
    ``number``: counts the exchange's attempts from 1.
    ``index``: of the target among the plan's targets.
    ``is_retry``: whether the attempt counts against the retry budget.
    ``without``: what the upstream is known to refuse and the gateway must not ask for of its own accord.
    """

    target: Target
    endpoint: Endpoint
    credential: Credential
    fresh_connection: bool
    number: int
    index: int = field(repr=False)
    is_retry: bool = field(repr=False)
    ticket: Ticket = field(repr=False)
    without: frozenset[Wish] = NO_WISHES

    def gives_up(self, wish: Wish | None) -> bool:
        """Whether the refusal of ``wish`` makes the exchange give it up: once for each wish and target."""
        return wish is not None and wish not in self.without


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again in ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """No attempt is left; send the client ``error``."""

    error: GatewayError


@dataclass(frozen=True, slots=True)
class Failover:
    """A change of upstream, or of endpoint within one.

    ``reason``: the slug of the outcome that caused it, ``keys_busy`` or ``endpoints_ejected``.
    """

    from_upstream: str
    to_upstream: str
    reason: str

"""A request let in under its key's limits, or refused: where this gateway counts them, and where a fleet does."""

from __future__ import annotations

from gateway.core.errors import gateway_overloaded, server_shutting_down
from gateway.core.limits.key_limits import Lease, LimitRefusal
from gateway.core.types import VirtualKey
from gateway.exchange.services import Running, Services


def admit(services: Services, key: VirtualKey, tokens: int, now: float) -> Lease | None:
    """The lease of a request of ``tokens``; None if ``admit_elsewhere`` has to be awaited. ``now``: the loop's time.

    Raises GatewayError: 503 while draining or with too much in flight, 429.
    """
    gate = services.gate
    if gate.draining:
        raise server_shutting_down()
    if gate.full:
        raise gateway_overloaded()
    answer = services.limits.admit(key, tokens, now)
    if isinstance(answer, LimitRefusal):
        raise answer.error()
    return answer


async def admit_elsewhere(services: Services, running: Running, key: VirtualKey, tokens: int, now: float) -> Lease:
    """The lease of a request whose key's limits are counted by the fleet. ``running`` is in flight meanwhile.

    Raises LimitError.
    """
    services.gate.enter(running)
    answer = await services.limits.ask(key, tokens, now)
    if isinstance(answer, LimitRefusal):
        raise answer.error()
    return answer

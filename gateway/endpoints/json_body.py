"""The reading of a request's JSON body: a long one off the event loop, and within the memory that bodies may take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway.core.errors import gateway_overloaded
from gateway.core.json_weight import is_slow
from gateway.exchange.services import Services
from gateway.runtime.off_loop import off_loop

T = TypeVar("T")


async def read_long(
    services: Services, owner: str, body: bytes, read: Callable[[bytes], T], *, slow: bool | None = None
) -> T:
    """What ``read`` makes of ``body``; of a long one in the documents' thread, and while it waits there its bytes count
    against ``owner``. ``slow``: whether it is long, if that is known.

    Raises what ``read`` raises, and 503 ``gateway_overloaded`` if bodies take too much memory already.
    """
    if not (is_slow(body) if slow is None else slow):
        return read(body)
    lease = services.bodies.lease(owner)
    try:
        if not lease.grow(len(body)):
            raise gateway_overloaded()
        return await off_loop(read, body)
    finally:
        lease.release()

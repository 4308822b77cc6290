"""Whether a request is answered from the cache, and what becomes of its answer if it is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from gateway.core.answer_cache import KeptAnswer, as_given_again, may_be_kept, request_digest
from gateway.core.json_weight import LONG
from gateway.core.types import NANO_PER_USD, CostClass, Route, VirtualKey
from gateway.exchange.cached_answer import CACHE_HEADER, CachedAnswer
from gateway.exchange.client import Client
from gateway.exchange.operation import Operation
from gateway.exchange.services import Services
from gateway.runtime.off_loop import off_loop
from gateway.server.request import Request

Keep = Callable[[bytes, str | None], None]
"""Is told of an answer that came whole, and what the key is charged for it in US dollars, None if that is not known.
May be called in any thread."""


async def from_cache(
    services: Services,
    request: Request,
    client: Client,
    key: VirtualKey,
    route: Route,
    operation: Operation,
    body: Mapping[str, Any],
    size: int,
) -> CachedAnswer | Keep | None:
    """The answer that is kept for an equal request; else what is to be told of the answer to come; None for a request
    that has nothing to do with the cache.

    ``body``: the request's document. ``size``: its bytes.
    """
    rules = route.rules.cache
    if rules is None or request.fields.get(CACHE_HEADER, b"").strip().lower() == b"off" or not may_be_kept(body):
        return None
    if any(target.cost_class is CostClass.PAID for target in route.targets):
        return None
    digesting = rules, key, operation.route, route.named, body
    try:
        digest = await off_loop(request_digest, *digesting) if size > LONG else request_digest(*digesting)
    except TypeError:  # nested too deeply to be written
        return None
    cache, loop = services.answers, client.loop
    if (found := cache.find(route.model, rules, digest, loop.time())) is not None:
        return CachedAnswer(services, operation, route, key, client, found)
    services.metrics.cache_missed(key.name, key.team, route.model)
    epoch = cache.epoch

    def keep(answer: bytes, cost: str | None) -> None:
        try:
            kept = KeptAnswer(as_given_again(answer), None if cost is None else int(Decimal(cost) * NANO_PER_USD))
        except ValueError:
            return
        loop.call_soon_threadsafe(put, kept)

    def put(kept: KeptAnswer) -> None:
        if cache.epoch == epoch:
            cache.keep(route.model, rules, digest, kept, loop.time())

    return keep

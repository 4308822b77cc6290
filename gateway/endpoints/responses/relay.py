"""``POST /v1/responses`` for a model that has targets with that very route: relayed, byte for byte.

Where such an answer is kept is known to this gateway as long as it runs: what goes on from it is asked of the same
upstream with the same key, for no other knows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.core.errors import not_made_here
from gateway.core.made_ids import Place
from gateway.core.types import OperationName, Route, Target, VirtualKey
from gateway.endpoints.admission import Admission, is_sdk_retry
from gateway.endpoints.relays import RelayOperation
from gateway.endpoints.responses.desk import Document
from gateway.exchange.exchange import Exchange
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.translate.responses_relay import RESPONSES, ids_made
from gateway.wire.named_ids import NamedId
from gateway.wire.relay_request import parse_document

_RELAYED: frozenset[OperationName] = frozenset({"responses"})


class ResponsesRelay:
    """Relays what can be. ``admission``: the checks of key and model."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def takes(self, document: Document, key: VirtualKey) -> bool:
        """Whether a request is relayed: a target has the route, and it goes on from nothing that is kept here."""
        fields, routes = document.fields, self._admission.services.snapshot.routes
        model, previous = fields.get("model"), fields.get("previous_response_id")
        route = routes.find(model) if isinstance(model, str) else None
        if route is None or "responses" not in route.operations:
            return False
        return not previous or self._place(previous, key) is not None or route.operations <= _RELAYED

    async def answer(self, request: Request, client: Client, document: Document, key: VirtualKey) -> None:
        """Relay a request, and note where its answer is kept.

        Raises ClientError 404 for an id that is not this key's, or is kept in two places.
        """
        services = self._admission.services
        snapshot = services.snapshot
        asked = parse_document(RESPONSES, document.fields, document.size, snapshot.default_models, slow=document.slow)
        request.model = asked.model
        route = self._admission.route(asked.model, key, unlisted="responses", operations=_RELAYED)
        route = self._pinned(route, document.ids, key)
        operation = RelayOperation(
            asked,
            services.tokenizer.count,
            services.clock,
            services.log.redactor.words,
            max_output=route.max_output,
            context=route.context,
            event_limit=snapshot.event_limit,
            tells_cost=False,
        )
        again = is_sdk_retry(request)
        exchange = Exchange(services, operation, route, key, client, sdk_retry=again, asked=asked.model)
        request.counted = True
        await exchange.run()
        request.error = exchange.refusal
        if (made := operation.newest) is not None:
            now = self._now()
            for id in ids_made(made):
                services.made_ids.add(key.name, id, now, now + _KEPT_FOR, made.kept_at)

    def _pinned(self, route: Route, ids: Iterable[NamedId], key: VirtualKey) -> Route:
        """The route with only the place where all that is named is kept."""
        place: Place | None = None
        for named in ids:
            found = self._place(named.id, key)
            if found is None or (place is not None and found != place):
                raise not_made_here(named.kind, named.id, named.param)
            place = found
        if place is None:
            return route
        upstream, credential = place
        targets = [_with_key(one, credential) for one in route.targets if one.upstream.name == upstream]
        targets = [one for one in targets if one.upstream.credentials]
        if not targets:
            named = next(iter(ids))
            raise not_made_here(named.kind, named.id, named.param)
        return replace(route, targets=tuple(targets))

    def _place(self, id: object, key: VirtualKey) -> Place | None:
        if not isinstance(id, str):
            return None
        return self._admission.services.made_ids.place(key.name, id, self._now())

    def _now(self) -> float:
        return self._admission.services.clock.wall_ns() / 1_000_000_000


_KEPT_FOR = 24 * 3600.0
"""Seconds for which an id is known."""


def _with_key(target: Target, credential: str) -> Target:
    own = tuple(one for one in target.upstream.credentials if one.name == credential)
    return replace(target, upstream=replace(target.upstream, credentials=own))

"""``POST /v1/responses`` for a model that has targets with that very route: relayed, byte for byte.

Where such an answer is kept is known to this gateway as long as it runs: what goes on from it is asked of the same
upstream with the same key, for no other knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from urllib.parse import quote

from gateway.core.errors import OPENAI_ERRORS, GatewayError, invalid_request, not_made_here
from gateway.core.made_ids import Place
from gateway.core.types import OperationName, Route, Target, VirtualKey
from gateway.endpoints.admission import Admission, is_sdk_retry
from gateway.endpoints.preference import preferred
from gateway.endpoints.relays import RelayOperation, relay_operation
from gateway.endpoints.responses.desk import Document
from gateway.exchange.exchange import Exchange
from gateway.exchange.task_lookup import Reading
from gateway.runtime.off_loop import off_loop
from gateway.server.client import Client
from gateway.server.dispatch import RouteHandler
from gateway.server.request import Request
from gateway.translate.responses_relay import RESPONSES, ResponseRead, failed_event, ids_made
from gateway.wire.named_ids import NamedId
from gateway.wire.relay_request import parse_document
from gateway.wire.responses.errors import ResponsesErrors

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

    async def answer(
        self, request: Request, client: Client, document: Document, key: VirtualKey, form: ResponsesErrors
    ) -> None:
        """Relay a request, and note where its answer is kept. ``form``: how the client is told of errors.

        Raises ClientError 404 for an id that is not this key's, or is kept in two places.
        """
        services = self._admission.services
        snapshot = services.snapshot
        asked = parse_document(RESPONSES, document.fields, document.size, snapshot.default_models, slow=document.slow)
        request.model = asked.model
        route = self._admission.route(asked.model, key, unlisted="responses", operations=_RELAYED)
        named = await off_loop(document.named) if document.slow else document.named()
        route = self._pinned(preferred(request, route), named, key)
        operation = relay_operation(services, asked, route, tells_cost=False)
        form.failed = partial(_last_event, operation)
        again = is_sdk_retry(request)
        exchange = Exchange(services, operation, route, key, client, sdk_retry=again, asked=asked.model)
        request.counted = True
        await exchange.run()
        request.error = exchange.refusal
        if (made := operation.newest) is not None:
            now = self._now()
            for id in ids_made(made):
                services.made_ids.add(key.name, id, now, now + _KEPT_FOR, made.kept_at)

    def first(self, handler: RouteHandler, below: str = "") -> RouteHandler:
        """The handler of a route about one response: of one that was relayed its upstream is asked, ``handler`` of all
        others. ``below``: what follows the id in the path.
        """

        async def handle(request: Request, client: Client) -> None:
            key = self._admission.authenticate(request)
            place = self._place(request.params["response_id"], key)
            if place is None:
                await handler(request, client)
            else:
                await self._read(request, client, key, place, below)

        return handle

    async def _read(self, request: Request, client: Client, key: VirtualKey, place: Place, below: str) -> None:
        """Ask where the response is kept."""
        services, (name, credential_name) = self._admission.services, place
        query = request.query.decode("latin-1")
        if _QUERY.fullmatch(query) is None or "stream=true" in query.lower():
            message = "A response that an upstream keeps cannot be read again as a stream."
            raise invalid_request(message, param="stream", code="invalid_value")
        id, state = request.params["response_id"], services.snapshot.states.get(name)
        keys = state.upstream.credentials if state is not None else ()
        credential = next((one for one in keys if one.name == credential_name), None)
        if state is None or credential is None:
            raise not_made_here("response", id, "response_id")
        path = f"{RESPONSES.path}/{quote(id, safe='')}{below}"
        reading = Reading(services)
        with self._admission.limited(key):
            request.upstream = name
            method = "GET" if request.method == "HEAD" else request.method
            question = partial(ResponseRead, method, f"{path}?{query}" if query else path)
            status, body = await reading.put(Target(state.upstream, "", "responses"), credential, question)
        told = ((b"x-gateway-upstream", name.encode()), (b"x-gateway-attempts", b"%d" % reading.attempts))
        await client.respond(status, told, body)

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


_QUERY = re.compile(r"[A-Za-z0-9_.,=&%\[\]-]{0,1000}")

_KEPT_FOR = 24 * 3600.0
"""Seconds for which an id is known."""


def _last_event(operation: RelayOperation, error: GatewayError) -> bytes:
    newest = operation.newest
    failed = None if newest is None else failed_event(newest, error)
    return OPENAI_ERRORS.last_event(error) if failed is None else failed


def _with_key(target: Target, credential: str) -> Target:
    own = tuple(one for one in target.upstream.credentials if one.name == credential)
    return replace(target, upstream=replace(target.upstream, credentials=own))

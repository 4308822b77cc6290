"""``POST /v1/responses`` for a model that has targets with that very route: relayed, byte for byte.

Where such an answer is kept is noted: what goes on from it is asked of the same upstream with the same key, for no
other knows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import quote

from gateway.core.errors import OPENAI_ERRORS, ClientError, GatewayError, invalid_request, not_made_here
from gateway.core.headers import Headers
from gateway.core.types import OperationName, Route, Target, VirtualKey
from gateway.endpoints.admission import Admission
from gateway.endpoints.relays import RelayOperation, relay_operation
from gateway.endpoints.responses.desk import Document
from gateway.exchange.exchange import ClientGone
from gateway.exchange.task_lookup import ReadAnswer, Reading
from gateway.responses.places import ResponsePlaces
from gateway.runtime.off_loop import off_loop
from gateway.server.client import STREAM, Client
from gateway.server.dispatch import RouteHandler
from gateway.server.request import Request
from gateway.stores.response_records import Place
from gateway.translate.responses_relay import RESPONSES, ResponseRead, failed_event, ids_made
from gateway.wire.named_ids import NamedId
from gateway.wire.relay_request import parse_document, upstream_document
from gateway.wire.relay_routes import RelayRoute

_RELAYED: frozenset[OperationName] = frozenset({"responses"})

_MAY_BE_KEPT_HERE = frozenset({"response", "item"})
"""What this gateway keeps itself, of answers that it made of a chat."""


@dataclass(slots=True)
class Relayed:
    """A request that can be relayed.

    ``route``: the targets that have the route, and know what the request names.
    ``pin``: the one place where all of that is kept; None if it names nothing.
    ``others``: whether the model has targets that are asked by a chat.
    ``ids``: what it names.
    """

    operation: RelayOperation
    route: Route
    pin: Place | None
    others: bool
    ids: Sequence[str]


class ResponsesRelay:
    """Relays what can be. ``admission``: the checks of key and model. ``places``: where answers are kept."""

    def __init__(self, admission: Admission, places: ResponsePlaces) -> None:
        self._admission = admission
        self._places = places

    async def read(
        self, request: Request, document: Document, key: VirtualKey, relayed: RelayRoute = RESPONSES
    ) -> Relayed | None:
        """The request as one that is relayed; None if no target of the model has the route, or if it may go on from
        what is kept here.

        ``relayed``: the route. Raises the errors of the model and of the fields that are checked, ClientError 404 for
        an id that is not this key's, or is kept in two places.
        """
        fields, services = document.fields, self._admission.services
        model = fields.get("model")
        route = services.snapshot.routes.find(model) if isinstance(model, str) else None
        if route is None or "responses" not in route.operations:
            return None
        others = not route.operations <= _RELAYED
        named = await off_loop(document.named) if document.slow else document.named()
        places = await self._places.find(key.name, [one.id for one in named], late=not others) if named else {}
        if others and any(one.kind in _MAY_BE_KEPT_HERE and one.id not in places for one in named):
            return None
        defaults = services.snapshot.default_models
        asked = parse_document(relayed, fields, document.size, defaults, slow=document.slow)
        request.model = asked.model
        route = self._admission.route(asked.model, key, unlisted="responses", operations=_RELAYED)
        route, pin = _pinned(route, named, places)
        operation = relay_operation(services, asked, route, tells_cost=False)
        return Relayed(operation, route, pin, others, [one.id for one in named])

    def note(self, relayed: Relayed, key: VirtualKey) -> None:
        """Note where the answer is kept, if there is one, and that what it went on from is in use."""
        if (made := relayed.operation.newest) is not None and (ids := [*ids_made(made)]):
            self._places.note(key.name, [*ids, *relayed.ids], made.kept_at)

    def first(self, handler: RouteHandler, below: str = "") -> RouteHandler:
        """The handler of a route about one response: of one that was relayed its upstream is asked, ``handler`` of all
        others. ``below``: what follows the id in the path.
        """

        async def handle(request: Request, client: Client) -> None:
            key = self._admission.authenticate(request)
            id = request.params["response_id"]
            place = (await self._places.find(key.name, [id])).get(id)
            if place is None:
                try:
                    await handler(request, client)
                except ClientError as error:
                    late = error.status == 404 and self._places.shared  # another gateway may have noted it meanwhile
                    place = (await self._places.find(key.name, [id])).get(id) if late else None
                    if place is None:
                        raise
            if place is not None:
                await self._read(request, client, key, place, below)

        return handle

    async def _read(self, request: Request, client: Client, key: VirtualKey, place: Place, below: str) -> None:
        """Ask where the response is kept."""
        services, (name, credential_name) = self._admission.services, place
        query = request.query.decode("latin-1")
        if _QUERY.fullmatch(query) is None:
            raise invalid_request("The query has characters that no upstream is asked with.", code="invalid_value")
        id, state = request.params["response_id"], services.snapshot.states.get(name)
        keys = state.upstream.credentials if state is not None else ()
        credential = next((one for one in keys if one.name == credential_name), None)
        if state is None or credential is None:
            raise not_made_here("response", id, "response_id")
        path = f"{RESPONSES.path}/{quote(id, safe='')}{below}"
        reading = Reading(services)
        async with self._admission.limited(key):
            request.upstream = name
            method = "GET" if request.method == "HEAD" else request.method
            question = partial(ResponseRead, method, f"{path}?{query}" if query else path)
            target, within = Target(state.upstream, "", "responses"), state.upstream.timeouts.stream_total
            events = _Events(client, name, reading)
            try:
                status, body = await reading.put(target, credential, question, listener=events, within=within)
            except ClientGone:
                return
            except GatewayError as error:
                if not events.started:
                    raise
                await client.stream_error(error)
                return
        if events.started:
            await client.finish()
            return
        if method == "DELETE" and status == 200:
            await self._places.forget(key.name, id)
        await client.respond(status, _told(name, reading), body)

    async def count(self, request: Request, client: Client, relayed: Relayed) -> None:
        """Let the first target count the tokens of a request that no chat can be."""
        services, target = self._admission.services, relayed.route.targets[0]
        reading, upstream = Reading(services), target.upstream
        document = relayed.operation.request
        body = upstream_document(document, target.model, upstream.pass_fields, ask_usage=False)
        question = partial(ResponseRead, "POST", f"{RESPONSES.path}/input_tokens", body=body)
        request.upstream = upstream.name
        status, answer = await reading.put(target, upstream.credentials[0], question)
        await client.respond(status, _told(upstream.name, reading), answer)


class _Events(ReadAnswer):
    """Passes on the events that an upstream tells of a response again."""

    def __init__(self, client: Client, upstream: str, reading: Reading) -> None:
        super().__init__()
        self._client = client
        self._upstream = upstream
        self._reading = reading

    async def emit(self, data: bytes, meaningful: bool) -> None:
        client = self._client
        if not self.started:
            self.started = True
            await client.start(200, (STREAM, *_told(self._upstream, self._reading)))
        await client.write(data)
        if client.gone:
            raise ClientGone


def _told(upstream: str, reading: Reading) -> Headers:
    return (b"x-gateway-upstream", upstream.encode()), (b"x-gateway-attempts", b"%d" % reading.attempts)


_QUERY = re.compile(r"[A-Za-z0-9_.,=&%\[\]-]{0,1000}")


def last_event(operation: RelayOperation, error: GatewayError) -> bytes:
    """What ends a relayed stream: ``response.failed``, if the response was begun."""
    newest = operation.newest
    failed = None if newest is None else failed_event(newest, error)
    return OPENAI_ERRORS.last_event(error) if failed is None else failed


def _pinned(route: Route, ids: Sequence[NamedId], places: Mapping[str, Place]) -> tuple[Route, Place | None]:
    """The route with only the place where all that is named is kept, and that place."""
    place: Place | None = None
    for named in ids:
        found = places.get(named.id)
        if found is None or (place is not None and found != place):
            raise not_made_here(named.kind, named.id, named.param)
        place = found
    if place is None:
        return route, None
    upstream, credential = place
    targets = [_with_key(one, credential) for one in route.targets if one.upstream.name == upstream]
    targets = [one for one in targets if one.upstream.credentials]
    if not targets:
        named = ids[0]
        raise not_made_here(named.kind, named.id, named.param)
    return replace(route, targets=tuple(targets)), place


def _with_key(target: Target, credential: str) -> Target:
    own = tuple(one for one in target.upstream.credentials if one.name == credential)
    return replace(target, upstream=replace(target.upstream, credentials=own))

"""``POST /v1/chat/completions``: a request becomes an operation, which the exchange runs.

A model that only makes images is served as well: the last user message is the order, the answer a markdown image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from gateway.core.errors import ClientError
from gateway.core.json_weight import is_slow
from gateway.core.long_texts import may_hold_long_texts
from gateway.core.routing.route_operations import CHATS
from gateway.core.types import CostClass, Route, VirtualKey
from gateway.endpoints.admission import Admission, is_sdk_retry
from gateway.endpoints.answer_cache import from_cache
from gateway.endpoints.chat_operation import ChatOperation, ChatWork
from gateway.endpoints.json_body import read_long
from gateway.endpoints.ownership import check_chat, ids_to_check, remember_sounds
from gateway.endpoints.paid_chats import PaidChat, PaidChats
from gateway.endpoints.preference import PREFER, preferred
from gateway.exchange.cached_answer import CachedAnswer
from gateway.exchange.exchange import Exchange
from gateway.jobs.waiting import Waiting
from gateway.runtime.off_loop import off_loop
from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.translate.present_chat import ChatPresenter
from gateway.wire.chat_images import asks_for_images, flux_fields, images_from_chat
from gateway.wire.chat_request import CHAT_PATH, ChatRequest, parse_chat_request
from gateway.wire.client_json import nested_too_deeply, object_of_any_depth
from gateway.wire.default_model import with_default_model
from gateway.wire.named_ids import NamedId

_CHAT = frozenset({"chat"})


class ChatOrders:
    """What turns chats into operations, for every API by which they can be asked."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def operation(
        self,
        asked: ChatRequest,
        ids: Sequence[NamedId],
        key: VirtualKey,
        *,
        tells_cost: bool,
        route: Route | None = None,
    ) -> tuple[ChatOperation, Route]:
        """A chat as an operation, and its route at the prices of what it asks for.

        ``ids``: what it names by an id. ``tells_cost``: as in ChatWork. ``route``: where it was found before.
        Raises the errors of the model, of the ids and of the order.
        """
        admission = self._admission
        services = admission.services
        if ids:
            check_chat(ids, key, services)
        if route is None:
            route = admission.route(asked.model, key, unlisted="chat", operations=CHATS)
        work = ChatWork(
            asked,
            services.tokenizer.count,
            services.clock,
            services.log.redactor.words,
            max_output=route.max_output,
            context=route.context,
            event_limit=services.snapshot.event_limit,
            tells_cost=tells_cost,
            heard=None if asked.unusual.usual else remember_sounds(asked.body, key, services),
        )
        flux = {}
        orders, model = services.snapshot.image_orders, route.named
        if model in orders.flux_models or model in orders.task_models:
            flux = flux_fields(asked.body, orders.own_fields(model))
        operation = ChatOperation(work)
        if not route.operations <= _CHAT:
            route = await self._offer_images(operation, route, flux)
        if asked.slow:
            await off_loop(work.work_out, route.targets)
        return operation, route

    async def _offer_images(self, operation: ChatOperation, route: Route, flux: Mapping[str, Any]) -> Route:
        """Let targets that only make images serve the request. Returns the route at the prices of the order.

        Raises the errors of the order, unless another target can serve the request as a chat.
        """
        request = operation.chat.request
        targets = tuple(target for target in route.targets if target.operation != "chat")
        presenter = ChatPresenter(
            id=f"chatcmpl-{self._admission.services.new_id()}",
            created=operation.chat.clock.wall_ns() // 1_000_000_000,
            model=request.model,
            stream=request.stream,
            include_usage=request.include_usage,
            shows_images=asks_for_images(request.body),
            tells_cost=operation.chat.tells_cost,
            links_last=self._admission.services.snapshot.links_last,
        )
        orders, model = self._admission.services.snapshot.image_orders, route.named
        try:
            order = images_from_chat(
                request,
                flux,
                one_source=any(target.operation == "task" and not target.tasks for target in targets),
                wordless=orders.needs_no_words(model, flux),
            )
            order = await orders.with_own_images(replace(order, model=model, n=1))
            images = orders.operation(CHAT_PATH, order, targets, presenter)
        except ClientError:
            if len(targets) == len(route.targets):
                raise
            return route
        operation.offer_images(images)
        order_at_prices = iter(images.targets)
        return replace(
            route,
            targets=tuple(one if one.operation == "chat" else next(order_at_prices) for one in route.targets),
        )


class ChatEndpoint:
    """The handler of the route."""

    def __init__(self, admission: Admission, waiting: Waiting) -> None:
        self._admission = admission
        self._orders = ChatOrders(admission)
        self._paid = PaidChats(admission, waiting)

    async def __call__(self, request: Request, client: Client) -> None:
        exchange = await self._exchange(request, client)
        if exchange is None:
            return
        request.counted = True
        await exchange.run()
        request.error = exchange.refusal

    async def _exchange(self, request: Request, client: Client) -> Exchange | CachedAnswer | None:
        """Read what the client asks, and make it an exchange, or take its answer from the cache; None for one that ran
        in a job, and was answered. Raises the errors of the request.
        """
        admission = self._admission
        services = admission.services
        key = admission.authenticate(request)
        body = await read_body(request, services.snapshot.body_limit, budget=services.bodies, owner=key.name)
        slow = is_slow(body)
        asked, ids = await read_long(services, key.name, body, self._parse_slowly if slow else self._parse, slow=slow)
        del body  # of megabytes, perhaps
        key = admission.recheck(request, key)
        request.model = asked.model
        tells_cost = services.snapshot.cost_in_answers
        operation, route = await self._orders.operation(asked, ids, key, tells_cost=tells_cost)
        if PREFER in request.fields:
            route = preferred(request, route)
        if route.targets and route.targets[0].cost_class is CostClass.PAID:
            chat = PaidChat(asked.model, asked.body, asked.slow, operation.images)
            await self._paid.answer(request, client, operation, route, key, chat)
            return None
        if route.rules.cache is not None and not asked.stream:
            found = await from_cache(services, request, client, key, route, operation, asked.body, asked.size)
            if isinstance(found, CachedAnswer):
                return found
            operation.keep = found
        again = is_sdk_retry(request)
        return Exchange(services, operation, route, key, client, sdk_retry=again, asked=asked.model)

    def _parse(self, body: bytes, *, slow: bool = False) -> tuple[ChatRequest, list[NamedId]]:
        models = self._admission.services.snapshot.default_models
        document = with_default_model(object_of_any_depth(body), models, "chat")
        return read_chat(document, len(body), slow=slow, long_texts=slow and may_hold_long_texts(body))

    def _parse_slowly(self, body: bytes) -> tuple[ChatRequest, list[NamedId]]:
        return self._parse(body, slow=True)


def read_chat(
    document: dict[str, Any], size: int = 0, *, slow: bool, long_texts: bool | None = None
) -> tuple[ChatRequest, list[NamedId]]:
    """A chat that has been checked, and what it names by an id.

    ``document``: the chat. ``size``: bytes of the request that it was read from; 0 for a chat that was made of another
    request, whose own are counted. ``slow``, ``long_texts``: as in ChatRequest; None for as likely as it is slow.
    Raises the errors of the document.
    """
    asked = parse_chat_request(document, size, slow=slow, long_texts=slow if long_texts is None else long_texts)
    try:
        asked.written()
    except orjson.JSONEncodeError:
        raise nested_too_deeply() from None
    return asked, ids_to_check(asked.unusual)

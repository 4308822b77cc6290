"""``POST /v1/chat/completions``: a request becomes an operation, which the exchange runs.

A model that only makes images is served as well: the last user message is the order, the answer a markdown image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.errors import ClientError
from gateway.core.headers import noted
from gateway.core.json_weight import is_slow
from gateway.core.outcomes.table import price_at_stake
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound, most_output
from gateway.core.pricing.cost_reason import chat_cost_reason
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, Route, Target, Wish
from gateway.endpoints.admission import Admission, is_sdk_retry
from gateway.endpoints.json_body import read_long
from gateway.endpoints.ownership import check_chat, ids_to_check, remember_sounds
from gateway.exchange.exchange import Exchange
from gateway.images.operation import ImageOperation
from gateway.images.orders import ImageOrders
from gateway.runtime.off_loop import off_loop
from gateway.runtime.ports import Clock
from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.translate.chat_to_chat import ChatConversation
from gateway.translate.commands import Conversation
from gateway.translate.context import EVENT_LIMIT, AttemptContext
from gateway.translate.own_wishes import chat_wishes
from gateway.translate.present_chat import ChatPresenter
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.answer_sounds import Heard
from gateway.wire.asked_work import asked_of, most_asked_output, most_beside, most_choices
from gateway.wire.chat_images import asks_for_images, flux_fields, images_from_chat
from gateway.wire.chat_request import CHAT_PATH, ChatRequest, parse_chat_request, without_withheld
from gateway.wire.chat_rewrites import rewritten
from gateway.wire.client_json import loads_object
from gateway.wire.default_model import with_default_model
from gateway.wire.most_input import most_input
from gateway.wire.named_ids import NamedId
from gateway.wire.request_shape import chat_shape
from gateway.wire.tokens import count_input, rough_tokens, within

_CHAT = frozenset({"chat"})


@dataclass(slots=True)
class ChatOperation:
    """A chat client's request.

    ``size``: bytes of the request.
    ``count``: counts a text's tokens.
    ``images``: the same request as an order for images, for targets that only make images; None without such targets.
    ``event_limit``: bytes of one event of an upstream's stream.
    ``max_output``: tokens the model can write at most; ``context``: those that it takes in and writes together; None if
        that is not known.
    ``tells_cost``: the answer's usage is to say what the key is charged.
    ``heard``: is told of the sounds in the answer, which later requests of the key may name.
    """

    request: ChatRequest
    size: int
    count: Callable[[str], int]
    clock: Clock
    redact: Callable[[bytes], bytes]
    images: ImageOperation | None = None
    max_output: int | None = None
    tells_cost: bool = False
    event_limit: int = EVENT_LIMIT
    supports: frozenset[str] = _CHAT
    route: str = CHAT_PATH
    context: int | None = None
    heard: Heard | None = None
    _input_tokens: int | None = None
    _shape: bytes | None = None
    _works: dict[tuple[int, bool], RequestedWork] = field(default_factory=dict)

    @property
    def stream(self) -> bool:
        return self.request.stream

    @property
    def notes(self) -> Sequence[str]:
        return self.images.notes if self.images is not None else ()

    @property
    def prepares(self) -> bool:
        return self.images is not None and self.images.prepares

    async def prepare(self) -> None:
        if self.images is not None:
            await self.images.prepare()

    @property
    def parts(self) -> tuple[ChatOperation]:
        return (self,)

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        request, ignored = without_withheld(self.request, target.upstream.pass_fields)
        request, changed = rewritten(request, target.rewrites)
        conversation = self._conversation(request, target, endpoint, without)
        conversation.note = noted(noted(conversation.note, ignored), changed)
        return conversation

    def _conversation(
        self, request: ChatRequest, target: Target, endpoint: Endpoint, without: frozenset[Wish]
    ) -> Conversation:
        if target.operation != "chat":
            assert self.images is not None
            return self.images.parts[0].converse_with(target, endpoint, without)
        return ChatConversation(
            request,
            AttemptContext(
                target,
                endpoint,
                self.clock.wall_ns() / 1_000_000_000,
                self.redact,
                self.event_limit,
                tells_cost=self.tells_cost,
                context=self.context,
                heard=self.heard,
            ),
            count=self.count,
            input_tokens=self.input_tokens,
            without=without,
        )

    def wishes(self, target: Target) -> OwnWishes:
        if target.operation != "chat" and self.images is not None:
            return self.images.parts[0].wishes(target)
        shape = chat_shape(self.request.body) if self._shape is None else self._shape
        return OwnWishes(chat_wishes(self.request), shape)

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        conversation = conversations[0]
        if isinstance(conversation, ChatConversation):
            if self.tells_cost and not self.stream:
                conversation.cost = AnswerCost(charge())
            return conversation.answer
        assert self.images is not None
        return self.images.conclude(conversations, charge)

    def stake(self, target: Target) -> int | None:
        if target.operation == "chat" or self.images is None:
            return price_at_stake(target)
        return self.images.parts[0].stake(target)

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        if target.operation != "chat" and self.images is not None:
            return self.images.parts[0].cost_bound(target, exact=exact)
        return cost_bound((target,), self._work(target, exact=exact))

    def cost_reason(self, target: Target) -> str:
        if target.operation != "chat" and self.images is not None:
            return ""
        return chat_cost_reason(target, self._work(target, exact=True))

    def work_out(self, targets: Sequence[Target]) -> None:
        """Do ahead, off the loop, what takes long with a slow request and is asked for on the loop.

        ``targets``: all that may serve it; they live as long as this.
        """
        self._shape = chat_shape(self.request.body)
        self.input_tokens()
        for target in targets:
            if target.operation == "chat":
                self._work(target, exact=True)
                self._work(target, exact=False)

    def _work(self, target: Target, *, exact: bool) -> RequestedWork:
        """What the request asks of a target; the bounds that must hold if ``exact``, else a quick guess. It is worked
        out once.
        """
        known = self._works.get((id(target), exact))
        if known is None:
            known = self._works[id(target), exact] = self._reckoned(target, exact=exact)
        return known

    def _reckoned(self, target: Target, *, exact: bool) -> RequestedWork:
        request, _ = without_withheld(self.request, target.upstream.pass_fields)
        request, _ = rewritten(request, target.rewrites)  # it may lose the client's bound
        body, bound, choices = request.body, request.max_output_tokens, request.n
        thinking, prediction = most_beside(body, target.model)
        if exact:
            inputs = most_input(body, target.model, self.context, self.size)
            bound, choices = most_asked_output(body), most_choices(body)
        else:
            inputs = within(self.context, self.rough_input_tokens())
        outputs = most_output(bound, self.max_output, choices, thinking)
        return RequestedWork(inputs, outputs + choices * prediction, asked=asked_of(body, target.model))

    def rough_input_tokens(self) -> int:
        return rough_tokens(self.size)

    def input_tokens(self) -> int:
        """Tokens of the request, counted once for all attempts."""
        if self._input_tokens is None:
            self._input_tokens = within(self.context, count_input(self.request.body, self.count))
        return self._input_tokens


class ChatEndpoint:
    """The handler of the route.

    ``image_orders``: returns the ones of the configuration in force.
    """

    def __init__(self, admission: Admission, image_orders: Callable[[], ImageOrders]) -> None:
        self._admission = admission
        self._image_orders = image_orders

    async def __call__(self, request: Request, client: Client) -> None:
        admission = self._admission
        services = admission.services
        key = admission.authenticate(request)
        body = await read_body(request, services.snapshot.body_limit, budget=services.bodies, owner=key.name)
        asked, ids = await read_long(services, key.name, body, self._parse)
        key = admission.recheck(request, key)
        request.model = asked.model
        check_chat(ids, key, services)
        route = admission.route(asked.model, key, unlisted="chat")
        flux = {}
        orders, model = self._image_orders(), route.named
        if model in orders.flux_models or model in orders.task_models:
            flux = flux_fields(asked.body, orders.own_fields(model))
        operation = ChatOperation(
            asked,
            len(body),
            services.tokenizer.count,
            services.clock,
            services.log.redactor.words,
            max_output=route.max_output,
            context=route.context,
            event_limit=services.snapshot.event_limit,
            tells_cost=services.snapshot.cost_in_answers,
            heard=remember_sounds(asked.body, key, services),
        )
        if any(target.operation != "chat" for target in route.targets):
            route = await self._offer_images(operation, route, flux)
        if asked.slow:
            await off_loop(operation.work_out, route.targets)
        again = is_sdk_retry(request)
        exchange = Exchange(services, operation, route, key, client, sdk_retry=again, asked=asked.model)
        request.counted = True
        await exchange.run()
        request.error = exchange.refusal

    def _parse(self, body: bytes) -> tuple[ChatRequest, list[NamedId]]:
        models = self._admission.services.snapshot.default_models
        document = with_default_model(loads_object(body), models, "chat")
        request = parse_chat_request(document, len(body), slow=is_slow(body))
        return request, ids_to_check(request.body)

    async def _offer_images(self, operation: ChatOperation, route: Route, flux: Mapping[str, Any]) -> Route:
        """Let targets that only make images serve the request. Returns the route at the prices of the order.

        Raises the errors of the order, unless another target can serve the request as a chat.
        """
        request = operation.request
        targets = tuple(target for target in route.targets if target.operation != "chat")
        presenter = ChatPresenter(
            id=f"chatcmpl-{self._admission.services.new_id()}",
            created=operation.clock.wall_ns() // 1_000_000_000,
            model=request.model,
            stream=request.stream,
            include_usage=request.include_usage,
            shows_images=asks_for_images(request.body),
            tells_cost=operation.tells_cost,
        )
        orders, model = self._image_orders(), route.named
        try:
            order = images_from_chat(
                request,
                flux,
                one_source=any(target.operation == "task" and not target.tasks for target in targets),
                wordless=orders.needs_no_words(model, flux),
            )
            order = await orders.with_own_images(replace(order, model=model, n=1))
            operation.images = orders.operation(CHAT_PATH, order, targets, presenter)
        except ClientError:
            if len(targets) == len(route.targets):
                raise
            return route
        order_at_prices = iter(operation.images.targets)
        operation.supports = operation.supports | (operation.images.parts[0].supports - _CHAT)
        return replace(
            route,
            targets=tuple(one if one.operation == "chat" else next(order_at_prices) for one in route.targets),
        )

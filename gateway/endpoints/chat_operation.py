"""A chat client's request as the exchange runs it: the work of chat targets, and beside it that of targets that only
make images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.core.headers import noted
from gateway.core.outcomes.table import price_at_stake
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound, most_output
from gateway.core.pricing.cost_reason import chat_cost_reason
from gateway.core.routing.durations import OrderShape
from gateway.core.routing.learned_routing import shape_of
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, Target, Wish
from gateway.exchange.subrequest import OperationPart
from gateway.images.operation import ImageOperation
from gateway.runtime.ports import Clock
from gateway.translate.chat_to_chat import ChatConversation
from gateway.translate.commands import Conversation
from gateway.translate.context import EVENT_LIMIT, AttemptContext
from gateway.translate.own_wishes import chat_wishes
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.answer_sounds import Heard
from gateway.wire.asked_work import asked_of, most_asked_output, most_beside, most_choices
from gateway.wire.chat_request import CHAT_PATH, ChatRequest, without_withheld
from gateway.wire.chat_rewrites import rewritten
from gateway.wire.known_chat import always_searches
from gateway.wire.most_input import most_input, most_of_words
from gateway.wire.request_shape import chat_shape
from gateway.wire.tokens import count_input, rough_tokens, within

_CHAT = frozenset({"chat"})


@dataclass(slots=True)
class ChatWork:
    """What chat targets are asked for.

    ``count``: counts a text's tokens.
    ``event_limit``: bytes of one event of an upstream's stream.
    ``max_output``: tokens the model can write at most; ``context``: those that it takes in and writes together; None if
        that is not known.
    ``tells_cost``: the answer's usage is to say what the key is charged.
    ``heard``: is told of the sounds in the answer, which later requests of the key may name.
    """

    request: ChatRequest
    count: Callable[[str], int]
    clock: Clock
    redact: Callable[[bytes], bytes]
    max_output: int | None = None
    context: int | None = None
    tells_cost: bool = False
    event_limit: int = EVENT_LIMIT
    heard: Heard | None = None
    supports: frozenset[str] = _CHAT
    _input_tokens: int | None = None
    _shape: bytes | None = None
    _works: dict[tuple[int, bool], RequestedWork] | None = None

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        request, note = self.as_sent_to(target)
        context = AttemptContext(
            target,
            endpoint,
            self.clock.wall_ns() / 1_000_000_000,
            self.redact,
            self.event_limit,
            tells_cost=self.tells_cost,
            context=self.context,
            heard=self.heard,
        )
        conversation = ChatConversation(
            request, context, count=self.count, input_tokens=self.input_tokens, without=without
        )
        conversation.note = note
        return conversation

    def as_sent_to(self, target: Target) -> tuple[ChatRequest, str | None]:
        """The request as a target gets it, and the note for the client of what was left out or renamed for that."""
        request = self.request
        if not request.withheld and target.rewrites is None:
            return request, None
        request, ignored = without_withheld(request, target.upstream.pass_fields)
        request, changed = rewritten(request, target.rewrites)
        return request, noted(ignored, changed)

    def wishes(self, target: Target) -> OwnWishes:
        if self._shape is None:
            self._shape = chat_shape(self.request.unusual.body)
        return OwnWishes(chat_wishes(self.request), self._shape)

    def stake(self, target: Target) -> int | None:
        return price_at_stake(target)

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        return cost_bound((target,), self._work(target, exact=exact))

    def cost_reason(self, target: Target) -> str:
        return chat_cost_reason(target, self._work(target, exact=True))

    def work_out(self, targets: Sequence[Target]) -> None:
        """Do ahead, off the loop, what takes long with a slow request and is asked for on the loop.

        ``targets``: all that may serve it; they live as long as this.
        """
        self._shape = chat_shape(self.request.unusual.body)
        for target in targets:
            if target.operation == "chat":
                self._work(target, exact=True)
                self._work(target, exact=False)

    def _work(self, target: Target, *, exact: bool) -> RequestedWork:
        """What the request asks of a target; the bounds that must hold if ``exact``, else a quick guess. What takes
        longer is worked out once.
        """
        request = self.request
        if request.unusual.usual and target.rewrites is None and not always_searches(target.model):
            tools = "tools" in request.body and bool(request.body["tools"])
            inputs = most_of_words(request.size, self.context, tools=tools) if exact else self._roughly()
            return RequestedWork(inputs, most_output(request.max_output_tokens, self.max_output, request.n))
        if self._works is None:
            self._works = {}
        known = self._works.get((id(target), exact))
        if known is None:
            known = self._works[id(target), exact] = self._reckoned(target, exact=exact)
        return known

    def _reckoned(self, target: Target, *, exact: bool) -> RequestedWork:
        # What is usual adds nothing to what is asked for here, but for its bytes.
        part = replace(self.request, body=self.request.unusual.body)
        request, _ = without_withheld(part, target.upstream.pass_fields)
        request, _ = rewritten(request, target.rewrites)  # it may lose the client's bound
        body, bound, choices = request.body, request.max_output_tokens, request.n
        thinking, prediction = most_beside(body, target.model)
        if exact:
            inputs = most_input(body, target.model, self.context, self.request.size)
            bound, choices = most_asked_output(body), most_choices(body)
        else:
            inputs = self._roughly()
        outputs = most_output(bound, self.max_output, choices, thinking)
        return RequestedWork(inputs, outputs + choices * prediction, asked=asked_of(body, target.model))

    def _roughly(self) -> int:
        return within(self.context, rough_tokens(self.request.size))

    def input_tokens(self) -> int:
        """Tokens of the request, counted once for all attempts. For a slow request this takes long."""
        if self._input_tokens is None:
            self._input_tokens = within(self.context, count_input(self.request.body, self.count))
        return self._input_tokens


class ChatOperation:
    """A chat client's request: by the kind of a target, the work that is asked of it."""

    __slots__ = ("_images", "_pictured", "bare", "chat", "keep", "prepares", "route", "stream", "supports")

    def __init__(self, chat: ChatWork, route: str = CHAT_PATH) -> None:
        self.chat = chat
        self.route = route
        self.stream = chat.request.stream
        self.supports = _CHAT
        self.keep: Callable[[bytes, str | None], None] | None = None
        """Is told of the whole answer, and what the key is charged for it."""
        self.prepares = self.bare = False
        self._images: ImageOperation | None = None
        self._pictured: OperationPart | None = None  # what the targets are asked for that only make images

    def offer_images(self, images: ImageOperation) -> None:
        """Let targets that only make images serve it as the same order for images."""
        self._images = images
        self.prepares = images.prepares
        self._pictured = images.parts[0]
        self.supports = _CHAT | self._pictured.supports

    @property
    def images(self) -> ImageOperation | None:
        """The same order for images, if targets that only make images may serve it."""
        return self._images

    def _work(self, target: Target) -> OperationPart:
        pictured = self._pictured
        if pictured is None or target.operation == "chat" or target.operation not in pictured.supports:
            return self.chat
        return pictured

    @property
    def event_limit(self) -> int:
        """Bytes of one event of an upstream's stream."""
        return self.chat.event_limit

    @property
    def notes(self) -> Sequence[str]:
        return self._images.notes if self._images is not None else ()

    @property
    def parts(self) -> tuple[ChatOperation]:
        return (self,)

    async def prepare(self) -> None:
        if self._images is not None:
            await self._images.prepare()

    def rough_input_tokens(self) -> int:
        return rough_tokens(self.chat.request.size)

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        work = self._work(target)
        conversation = work.converse_with(target, endpoint, without)
        if work is not self.chat:
            conversation.note = noted(conversation.note, self.chat.as_sent_to(target)[1])
        return conversation

    def wishes(self, target: Target) -> OwnWishes:
        return self._work(target).wishes(target)

    def shape(self, target: Target) -> OrderShape:
        return shape_of(self._work(target), target)

    def stake(self, target: Target) -> int | None:
        return self._work(target).stake(target)

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        return self._work(target).cost_bound(target, exact=exact)

    def cost_reason(self, target: Target) -> str:
        return self._work(target).cost_reason(target)

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        conversation = conversations[0]
        if not isinstance(conversation, ChatConversation):
            assert self._images is not None
            return self._images.conclude(conversations, charge)
        if self.chat.tells_cost and not self.stream:
            conversation.cost = AnswerCost(charge())
        answer = conversation.answer
        if self.keep is not None and answer is not None:
            self.keep(answer, charge())
        return answer

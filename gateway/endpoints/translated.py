"""A request of another API that is served as a chat: the operation around a chat's, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from gateway.core.errors import GatewayError
from gateway.core.routing.durations import OrderShape
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, Target, Wish
from gateway.endpoints.chat_operation import ChatOperation
from gateway.images.operation import ImageOperation
from gateway.translate.commands import Conversation
from gateway.translate.translated_chat import Presenter, TranslatedConversation
from gateway.wire.answer_cost import AnswerCost


class TranslatedOperation:
    """What a client of another API asked, as a chat.

    ``chat``: the same as a chat, which tells no costs and asks for no chunk of usage.
    ``presenter``: makes the writer of one attempt's answer.
    ``route``: the path of the route, as metrics and books name it. ``tells_cost``: as in ChatOperation.
    ``remarks``: what the client is to be told in ``x-gateway-note``; asked for when the head goes out.
    ``remembered``: what its answer needs that is made after a restart (images/resumed_apis.py).
    """

    bare = False

    def __init__(
        self,
        chat: ChatOperation,
        presenter: Callable[[], Presenter],
        *,
        route: str,
        tells_cost: bool,
        remarks: Callable[[], Sequence[str]] = tuple,
        remembered: Mapping[str, Any] | None = None,
    ) -> None:
        self._chat = chat
        self._presenter = presenter
        self._newest: Presenter | None = None
        self._tells_cost = tells_cost
        self._remarks = remarks
        self.remembered = remembered
        self.route = route

    def converse_with(
        self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES
    ) -> TranslatedConversation:
        presenter = self._newest = self._presenter()
        return TranslatedConversation(
            self._chat.converse_with(target, endpoint, without),
            presenter,
            streamed=self.stream,
            tells_cost=self._tells_cost,
            event_limit=self._chat.chat.event_limit,
        )

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        translated = cast("Sequence[TranslatedConversation]", conversations)
        chats = self._chat.conclude([one.inner for one in translated], charge)
        cost = AnswerCost(charge()) if self._tells_cost and chats is not None else None
        return translated[0].last_bytes(chats, cost) if self.stream else translated[0].whole(chats, cost)

    def failed(self, error: GatewayError) -> bytes:
        """The last events of a stream that has begun, if only with comments."""
        return (self._newest or self._presenter()).failed(error)

    # The rest is the chat's.

    @property
    def stream(self) -> bool:
        return self._chat.stream

    @property
    def images(self) -> ImageOperation | None:
        return self._chat.images

    @property
    def supports(self) -> frozenset[str]:
        return self._chat.supports

    @property
    def notes(self) -> Sequence[str]:
        return (*self._remarks(), *self._chat.notes)

    @property
    def prepares(self) -> bool:
        return self._chat.prepares

    async def prepare(self) -> None:
        await self._chat.prepare()

    @property
    def parts(self) -> tuple[TranslatedOperation]:
        return (self,)

    def wishes(self, target: Target) -> OwnWishes:
        return self._chat.wishes(target)

    def shape(self, target: Target) -> OrderShape:
        return self._chat.shape(target)

    def stake(self, target: Target) -> int | None:
        return self._chat.stake(target)

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        return self._chat.cost_bound(target, exact=exact)

    def cost_reason(self, target: Target) -> str:
        return self._chat.cost_reason(target)

    def rough_input_tokens(self) -> int:
        return self._chat.rough_input_tokens()

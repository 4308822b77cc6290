"""Answers of other APIs than that of chats, which are made after a restart: what is remembered of them, and how they
are written then. Models that are ordered from by a task call no tools, so nothing of tools is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gateway.images.operation import ImageConversation
from gateway.translate.translated_chat import Presenter, TranslatedConversation
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.messages.presenter import MessageFacts, MessagePresenter
from gateway.wire.responses.answer import ResponseFacts
from gateway.wire.responses.presenter import ResponsePresenter

LONGEST_EVENT = 64 << 20
"""Bytes of one event: it is of our own making, and may have pictures in base64."""


def of_message(facts: MessageFacts, *, tells_cost: bool) -> dict[str, Any]:
    """What is remembered of a message. ``tells_cost``: its usage says what the key is charged."""
    return {"api": "messages", "id": facts.id, "model": facts.model, "tells_cost": tells_cost}


def of_response(facts: ResponseFacts, *, tells_cost: bool) -> dict[str, Any]:
    """What is remembered of a response. ``tells_cost``: as above."""
    known = {"id": facts.id, "model": facts.model, "created_at": facts.created_at, "asked": facts.asked}
    return {"api": "responses", "tells_cost": tells_cost, **known}


class ResumedAnswer:
    """The answer of another API, as far as it was remembered. Raises KeyError for what no gateway has remembered.

    ``response``: the response object, once it is complete; None as long as it is not, and for other APIs.
    """

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._presenter: Callable[[bool], Presenter]
        self.response: Mapping[str, Any] | None = None
        if known["api"] == "messages":
            message = MessageFacts(known["id"], known["model"])
            self._presenter = lambda _: MessagePresenter(message)
        else:
            facts = ResponseFacts(known["id"], known["created_at"], known["model"], known["asked"], time.time)
            self._presenter = lambda streamed: ResponsePresenter(facts, self._ended, streamed=streamed)
        self._tells_cost = bool(known["tells_cost"])

    def around(self, conversation: ImageConversation, *, stream: bool) -> TranslatedConversation:
        """What brings the pictures, with all that it has for a chat's client in the words of this API."""
        return TranslatedConversation(
            conversation,
            self._presenter(stream),
            streamed=stream,
            tells_cost=self._tells_cost,
            event_limit=LONGEST_EVENT,
        )

    def of(self, chat: bytes | None, told: TranslatedConversation, charge: str | None, *, stream: bool) -> bytes | None:
        """The answer, or the end of its stream, that says what the ``chat`` does. ``told``: what brought its pictures.
        ``charge``: US dollars.
        """
        cost = AnswerCost(charge) if self._tells_cost and chat is not None else None
        return told.last_bytes(chat, cost) if stream else told.whole(chat, cost)

    def _ended(self, response: Mapping[str, Any]) -> None:
        self.response = response

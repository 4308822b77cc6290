"""The conversation of a chat client with a chat upstream: ``POST /v1/chat/completions`` on either side.

The upstream is asked for a stream with usage, so that no silence grows long enough for a host to hang up, unless it is
known to refuse that (own_wishes.py). A client that wants a stream gets the upstream's own bytes from the first
meaningful event on; other clients get one completion, joined from the chunks. Nothing is forwarded before the first
meaningful event: until then another upstream can still be tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.billing_terms import Terms
from gateway.core.errors import TransportError
from gateway.core.json_weight import LONG
from gateway.core.types import NO_WISHES, Outcome, Phase, Usage, Wish
from gateway.translate.asked_cost import asked_cost
from gateway.translate.chat_errors import interrupted, judge_answer
from gateway.translate.chat_stream import ChatStream
from gateway.translate.commands import (
    Beginning,
    ConversationState,
    Conversing,
    Emit,
    Offload,
    Stalled,
    receive_body,
    relayed,
)
from gateway.translate.context import AttemptContext
from gateway.translate.own_wishes import chat_wishes, sending, wishes_left
from gateway.translate.whole_answers import (
    CHAT_ERROR_LIMIT,
    WHOLE_ANSWER_LIMIT,
    comes_as_stream,
    judged_leniently,
    told_apart,
)
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.answer_head import Head
from gateway.wire.asked_work import as_asked, asked_tier
from gateway.wire.chat_chunk import completion_as_chunks
from gateway.wire.chat_event import parsed_strictly
from gateway.wire.chat_request import CHAT_PATH, ChatRequest, upstream_body
from gateway.wire.pictures_as_chat import as_completion, delta_of_images, with_images
from gateway.wire.sse import DONE, encode_event
from gateway.wire.usage_bounds import believed
from gateway.wire.whole_completion import with_every_field
from gateway.wire.writable import dump_json

_OK = Outcome("ok", Phase.FORWARDED, 200)


class ChatConversation(ConversationState):
    """One attempt at a chat.

    ``without``: what not to ask the upstream for unless the client did.
    ``count``: counts a text's tokens.
    ``input_tokens``: counts the request's tokens, once for all attempts.
    """

    __slots__ = (
        "_completion",
        "_context",
        "_count",
        "_counted",
        "_input_tokens",
        "_request",
        "_sent",
        "_stream",
        "_wishes",
        "asked_with",
        "cost",
        "note",
    )

    def __init__(
        self,
        request: ChatRequest,
        context: AttemptContext,
        *,
        count: Callable[[str], int],
        input_tokens: Callable[[], int],
        without: frozenset[Wish] = NO_WISHES,
    ) -> None:
        self._request = request
        self.asked_with = ""
        self._wishes = wishes_left(chat_wishes(request), without)
        self._context = context
        self._count = count
        self._input_tokens = input_tokens
        self._stream = ChatStream(request, context, self._wishes)
        self._completion: dict[str, Any] | None = None
        self.note: str | None = None
        self.cost: AnswerCost | None = None  # what the whole answer's usage is to say; None to leave it as it came
        self._sent = 0  # bytes of the request
        self._counted = (0, 0)  # characters of the answer, and their tokens

    @property
    def usage(self) -> Usage | None:  # type: ignore[override]
        return self._stream.usage

    @property
    def heavy(self) -> bool:  # type: ignore[override]
        return self._request.size > LONG or self._stream.received > LONG

    @property
    def counts_slowly(self) -> bool:  # type: ignore[override]
        return self._stream.usage is None

    @property
    def progress(self) -> int:  # type: ignore[override]
        return self._stream.progress

    @property
    def images(self) -> int:
        """Images in the answer so far; only answers sold by the image are searched."""
        return 0 if self._stream.pictures is None else self._stream.pictures.count()

    @property
    def delivered(self) -> int:
        """All images: text goes to the client as it comes."""
        return self.images

    @property
    def terms(self) -> Terms:
        return Terms(asked_tier(self._request.body), self._stream.ending.tier, self._stream.ending.answered_model)

    @property
    def answer(self) -> bytes | None:
        """The whole answer, written at the time it is asked for."""
        if (completion := self._completion) is None:
            return None
        if self.cost is not None:
            completion = {**completion, "usage": self.cost.in_usage(completion.get("usage", {}))}
        return dump_json(with_images(completion, self._stream.pictures, self._request.body), heavy=self.heavy)

    def estimate(self) -> Usage:
        """Tokens of the request and of the text received so far, which are counted once if no more comes."""
        text, (length, tokens) = self._stream.text, self._counted
        if length != text.length:
            tokens = text.tokens(self._count)
            self._counted = text.length, tokens
        return Usage(self._input_tokens(), 0, tokens, confidence="estimated")

    def converse(self) -> Conversing:
        """Send the request, then forward or join the answer until its end."""
        request, wishes = self._request, self._wishes
        if request.slow:
            yield Offload()
        order = sending(
            CHAT_PATH,
            upstream_body(request, self._context.target.model, wishes),
            streamed=request.stream or Wish.STREAM in wishes,
        )
        self._sent = len(order.body)
        head = yield order
        del order  # of megabytes, perhaps
        assert isinstance(head, Head)
        if comes_as_stream(head):
            return (yield from self._events(head))
        whole, beginning = yield from told_apart(head)
        return (yield from self._whole(head, beginning) if whole else self._events(head, beginning.data))

    def _whole(self, head: Head, beginning: Beginning) -> Conversing:
        """Read an answer that is not a stream: an error, or the whole completion in one document.

        ``beginning``: what has been read of it.
        """
        limit = WHOLE_ANSWER_LIMIT if head.status == 200 else CHAT_ERROR_LIMIT
        whole = yield from receive_body(limit, beginning)
        outcome, _, whole = judged_leniently(
            whole, lambda body: (judge_answer(head, body, self._context, self._wishes), None)
        )
        if not outcome.ok:
            return outcome
        try:
            completion = as_completion(parsed_strictly(whole), self._stream.ending.named)
            events = completion_as_chunks(completion)
        except ValueError as error:
            return Outcome("bad_json", Phase.UNKNOWN, head.status, detail=f"no completion: {error}")
        trouble = self._stream.take_document(events)
        trouble = trouble or (yield from self._complete())
        if self._completion is not None:
            with_every_field(self._completion, completion)
        return trouble

    def _events(self, head: Head, data: bytes = b"") -> Conversing:
        """Read a stream.

        ``data``: what has been read of it.
        """
        stream = self._stream
        try:
            yield from relayed(stream, data)
        except (Stalled, TransportError) as trouble:
            if not (stream.ending.named_last if isinstance(trouble, Stalled) else stream.ending.finished):
                return interrupted(trouble, stream.phase)
        if stream.is_document:
            return (yield from self._whole(head, Beginning(stream.first_bytes)))
        if stream.trouble is not None:
            return stream.trouble
        if not stream.answered:
            return Outcome("sse_empty", Phase.ANSWERED, 200, detail="the stream ended without content")
        return (yield from self._complete())

    def _complete(self) -> Conversing:
        stream, context = self._stream, self._context.context
        slow = self._request.slow or stream.received > LONG
        if slow:
            yield Offload()
        stated = believed(stream.usage, self._request, context, request_bytes=self._sent, answer_bytes=stream.received)
        if stated is None and not slow:
            yield Offload()  # to count tokens
        usage = stream.usage = as_asked(stated or self.estimate(), self._request.body, self._context.target.model)
        if stream.accumulator is not None:
            if stated is None:
                stream.accumulator.add(stream.ending.usage_chunk(usage))
            self._completion = stream.accumulator.result()
            return _OK
        out = stream.out
        if delta := delta_of_images(stream.pictures, self._request.body):  # before the reason
            out.insert(max(0, len(out) - 1), encode_event(dump_json(stream.ending.named(delta))))
        out += stream.ending.missing_reasons()
        if self._request.include_usage:
            out.append(stream.ending.usage_event(usage, (yield from asked_cost(self._context))))
        out.append(DONE)
        yield Emit(b"".join(out))
        return _OK

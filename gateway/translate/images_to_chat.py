"""The conversation of an image client with a chat upstream: gpt-4o-image, which answers with links in a text.

The order becomes one user message. The answer is a stream of text; wire/chat_pictures.py finds the images, progress,
failures and refusals in it and beside it. One image is ordered at a time, and all images that come are delivered.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from math import gcd
from typing import Any

import orjson

from gateway.core.headers import noted
from gateway.core.images.ignored_fields import SAID_IN_WORDS
from gateway.core.images.sizes import pixels_of, shape_of
from gateway.core.images.types import ImageFacts, ImagesRequest
from gateway.core.types import ALL_WISHES, NO_WISHES, Outcome, Phase, Usage, Wish
from gateway.translate.commands import Conversing, Send
from gateway.translate.context import AttemptContext
from gateway.translate.image_stream import VARIATION_PROMPT, ImageStream, Taking, in_words_only, unusable_answer
from gateway.translate.own_wishes import sending, wishes_left
from gateway.translate.presenting import Presenter
from gateway.wire.chat_chunk import chunk_facts, completion_as_chunks
from gateway.wire.chat_pictures import ChatPictures
from gateway.wire.chat_request import CHAT_PATH
from gateway.wire.image_text import MOST_TEXT
from gateway.wire.picture_parts import pictures_of_answer
from gateway.wire.pictures_as_chat import usage_as_chat
from gateway.wire.received_text import ReceivedText
from gateway.wire.sse import Event, SSEParser
from gateway.wire.tokens import count_input
from gateway.wire.usage_reading import read_usage

CHAT_ANSWER_LIMIT = 48 << 20
"""Bytes of an answer; an image may be base64 in its text."""

IMAGE_TEXT_KEPT = 1 << 16
"""Characters of an answer that are kept for counting its tokens. The image is sold by the piece, so counting the base64
of an image is not worth the time."""

MASK_SENTENCE = (
    "The last image is a mask of the first one: repaint the first image where the mask is transparent, and leave it as "
    "it is everywhere else."
)

_HEADER = 4096
"""Bytes of an image that hold its size."""

_MOST_IN_A_RATIO = 21
"""The largest number in a ratio; one with larger numbers says less than the pixels do."""


class ImagesToChat(ImageStream):
    """One attempt at one image.

    ``count``: counts a text's tokens.
    ``without``: what not to ask the upstream for.
    ``shared``: the request bodies, by model, that all attempts of a request send: they may be large, so each is written
        once; None to share nothing.
    """

    def __init__(
        self,
        request: ImagesRequest,
        context: AttemptContext,
        *,
        presenter: Presenter,
        count: Callable[[str], int],
        shared: MutableMapping[str, bytes] | None = None,
        without: frozenset[Wish] = NO_WISHES,
    ) -> None:
        wishes = wishes_left(ALL_WISHES, without)
        super().__init__(request, context, n=1, presenter=presenter, answer_limit=CHAT_ANSWER_LIMIT, wishes=wishes)
        self._count = count
        self._pictures = ChatPictures()
        self._text = ReceivedText(IMAGE_TEXT_KEPT)
        self._percent: int | None = None
        self._finish: str | None = None
        self._judged = False
        self._shared = {} if shared is None else shared
        self.size = request.size if pixels_of(request.size) is not None else None
        self.facts = ImageFacts(size=self.size)

    @property
    def images(self) -> int:
        """Images that were made; before the end of the answer, those whose links have come.

        Images beyond the one that was asked for count too, since the answer is charged for as a whole.
        """
        return self._made if self._judged else len(self._pictures.result().images)

    @property
    def counts_slowly(self) -> bool:  # type: ignore[override]
        return self.usage is None

    def estimate(self) -> Usage:
        """One image, and the tokens of what was sent and of the text received so far."""
        return Usage(
            count_input(_order_body(_beginnings(self._request), self._context.target.model), self._count),
            0,
            self._text.tokens(self._count),
            images=1,
            confidence="estimated",
        )

    def _order(self) -> Send:
        model = self._context.target.model
        if self._wishes == ALL_WISHES:
            return sending(CHAT_PATH, chat_order(self._request, model, self._shared), streamed=True)
        body = orjson.dumps(_order_body(self._request, model, self._wishes))
        return sending(CHAT_PATH, body, streamed=Wish.STREAM in self._wishes)

    def _take(self, document: dict[str, Any], event: bytes | None) -> Taking:
        if not isinstance(document.get("choices"), list) and pictures_of_answer(document):
            return (yield from self._take_pictures(document))
        facts = chunk_facts(document, 1, event)
        if facts.error is not None:
            return self._in_band(facts.error)
        if facts.usage is not None:
            self.usage = facts.usage
        self._text.extend([piece[:IMAGE_TEXT_KEPT] for piece in facts.text])
        self._finish = facts.finish.get(0, self._finish)
        if facts.meaningful:
            self.progress += 1
            self._pictures.take(facts.tidied or document)
            if self._pictures.too_long:
                return Outcome("sse_event_too_big", self._phase(), 200, detail=f"more than {MOST_TEXT} characters")
            percent = self._pictures.progress
            if percent is not None and percent != self._percent:
                self._percent = percent
                yield from self._presenter.progress(f"{percent}%")
        return None

    def _take_pictures(self, document: dict[str, Any]) -> Taking:
        """Take what an Images API would answer: some relays send that to a chat, as a document or as events."""
        yield from ()
        self.progress += 1
        self._pictures.take(document)
        usage = document.get("usage")
        if isinstance(usage, dict):
            self.usage = read_usage(usage_as_chat(usage)) or self.usage
        return None

    def _take_whole(self, document: dict[str, Any]) -> Taking:
        if not isinstance(document.get("choices"), list) and pictures_of_answer(document):
            return (yield from self._take_pictures(document))
        try:
            events = completion_as_chunks(document)
        except ValueError as error:
            return unusable_answer(str(error))
        for event in SSEParser(2 * CHAT_ANSWER_LIMIT).feed(b"".join(events)):
            assert isinstance(event, Event)
            outcome = yield from self._event(event)
            if outcome is not None:
                return outcome
        return None

    def _complete(self) -> bool:
        return self._finish is not None

    def _conclude(self, trouble: Outcome | None, *, whole: bool) -> Conversing:
        """Images are an answer, even if the stream broke after them. A failure that the text states explains more than
        the trouble after it; other text counts only if it came to its end.
        """
        found = self._pictures.result()
        self._judged = True
        if found.text.downgraded:
            self.note = noted(self.note, "downgraded")
        if found.images:
            made = list(found.images)
            if self.usage is not None:
                self.usage = replace(self.usage, images=len(made))
            yield from self._deliver(made)
            return self._delivered()
        words, refused = found.text.failure, found.text.against_rules
        if words is None and trouble is not None:
            return trouble
        words = words or found.text.refusal
        refused = refused or found.refused or self._finish == "content_filter"
        if words is not None or refused:
            return in_words_only(words, refused=refused, phase=self._phase(), redact=self._context.redacted)
        slug = "empty_response" if whole else "sse_empty"
        return Outcome(slug, Phase.ANSWERED, 200, detail="an answer without images and without words")


def chat_order(request: ImagesRequest, model: str, shared: MutableMapping[str, bytes]) -> bytes:
    """The request body for an order, taken from ``shared`` or stored there."""
    if model not in shared:
        shared[model] = orjson.dumps(_order_body(request, model))
    return shared[model]


def _beginnings(request: ImagesRequest) -> ImagesRequest:
    """The same order with only as much of each image as holds its size, on which its tokens depend."""
    images = tuple(replace(image, data=image.data[:_HEADER]) for image in request.images)
    mask = request.mask and replace(request.mask, data=request.mask.data[:_HEADER])
    return replace(request, images=images, mask=mask)


def _order_body(request: ImagesRequest, model: str, wishes: frozenset[Wish] = ALL_WISHES) -> dict[str, Any]:
    """The chat request: images first, then the mask, then the text, in the order of PiAPI's own examples."""
    words = _words(request)
    sources = [*request.images, *([request.mask] if request.mask is not None else [])]
    content: str | list[dict[str, Any]] = words
    if sources:
        images = [{"type": "image_url", "image_url": {"url": source.as_url()}} for source in sources]
        content = [*images, {"type": "text", "text": words}]
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": content}]}
    if Wish.STREAM in wishes:
        body["stream"] = True
    if Wish.STREAM_OPTIONS in wishes:
        body["stream_options"] = {"include_usage": True}
    return body


def _words(request: ImagesRequest) -> str:
    """The prompt, followed by what a chat has no field for, put into sentences."""
    words = request.prompt or VARIATION_PROMPT
    if request.mask is not None:
        words = f"{MASK_SENTENCE}\n\n{words}"
    if shape_of(request.size) is not None:
        words = f"{words}\n\nAspect ratio: {request.size}."
    elif request.size is not None and request.size != "auto":
        words = f"{words}\n\nSize: {request.size}{_ratio(request.size)}."
    background = request.options.get("background")
    if background in SAID_IN_WORDS:
        words = f"{words}\n\nBackground: {background}."
    return words


def _ratio(size: str) -> str:
    """`` (3:2)`` for ``1536x1024``; empty where the ratio has large numbers."""
    sides = pixels_of(size)
    if sides is None:
        return ""
    across, down = sides
    common = gcd(across, down)
    if not common or max(across, down) // common > _MOST_IN_A_RATIO:
        return ""
    return f" ({across // common}:{down // common})"

"""Images asked for, an Images API bought: ``POST /v1/images/generations`` and ``/v1/images/edits`` upstream.

PiAPI's gpt-image-1 is always asked for a stream, which is the only way it answers; other upstreams only where the
client wants one. All images of an order come in one answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.images.types import ImageFacts, ImagesRequest, MadeImage
from gateway.core.outcomes.classify import classify_error
from gateway.core.outcomes.upstream_error import error_in
from gateway.core.types import Outcome, Phase, Usage
from gateway.translate.commands import Conversing, Send
from gateway.translate.context import AttemptContext
from gateway.translate.image_stream import VARIATION_PROMPT, ImageStream, Taking, bad_json
from gateway.translate.presenting import Presenter
from gateway.wire.images_answer import (
    base64_text,
    event_kind,
    facts_in,
    image_in,
    images_in,
    likely_output_tokens,
    usage_in,
)
from gateway.wire.images_order import images_order

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"

ANSWER_LIMIT = 200 << 20
"""Bytes of a stream: ten images of 4096 × 4096 pixels as base64, and their previews."""

_ACCEPT_JSON = (b"accept", b"application/json")


class ImagesToImages(ImageStream):
    """One attempt. ``n``: images to be made. ``boundary``: of a multipart body, not to be guessed by the client."""

    def __init__(
        self,
        request: ImagesRequest,
        context: AttemptContext,
        *,
        n: int,
        presenter: Presenter,
        boundary: str,
    ) -> None:
        super().__init__(request, context, n=n, presenter=presenter, answer_limit=ANSWER_LIMIT)
        self._boundary = boundary
        self._prompt = request.prompt or VARIATION_PROMPT
        self._stated: Usage | None = None  # the upstream's figures, which are of all images together
        self._sources = len(request.images) + (request.mask is not None)

    def estimate(self) -> Usage:
        """The images asked for, for prices that are tables; their usual tokens, for prices that are not."""
        tokens = self._n * likely_output_tokens(self.size, self.quality)
        return Usage(output_tokens=tokens, images=self._n, confidence="estimated")

    def _order(self) -> Send:
        stream = self._presenter.stream or self._context.target.upstream.dialect == "piapi"
        order = images_order(
            self._request,
            self._context.target.model,
            prompt=self._prompt,
            n=self._n,
            stream=stream,
            partial_images=self._request.partial_images if self._presenter.stream else 0,
            boundary=self._boundary,
        )
        self.size, self.quality = order.size, order.quality
        self.facts = ImageFacts(size=order.size, quality=order.quality)
        headers = ((b"content-type", order.content_type), *(() if stream else (_ACCEPT_JSON,)))
        return Send("POST", EDITS if self._request.images or self._request.mask else GENERATIONS, order.body, headers)

    def _take(self, document: dict[str, Any], event: bytes | None) -> Taking:
        kind = event_kind(document, event)
        if kind == "other":
            if event == b"error" or document.get("type") == "error" or error_in(document) is not None:
                return classify_error(document, forwarded=self._forwarded, redact=self._context.redact)
            return None
        self.progress += 1
        if kind == "whole":
            return (yield from self._take_whole(document))
        self._note(document)
        if kind == "partial":
            yield from self._preview(document)
        elif (image := image_in(document)) is not None:
            yield from self._finished([image])
        return None

    def _take_whole(self, document: dict[str, Any]) -> Taking:
        if not isinstance(document.get("data"), list):
            return bad_json("it has no data")
        self._note(document)
        if images := images_in(document):
            yield from self._finished(list(images))
        return None

    def _preview(self, document: dict[str, Any]) -> Taking:
        """A preview is shown if it can be and goes its way: what was never completed is no image."""
        text, index = document.get("b64_json"), document.get("partial_image_index")
        b64 = base64_text(text) if isinstance(text, str) else None
        if b64 is not None and self._request.partial_images:
            place = index if type(index) is int and 0 <= index < 1000 else 0
            yield from self._noting(self._presenter.partial(b64, place, self.facts))
        return None

    def _finished(self, images: list[MadeImage]) -> Taking:
        self._account_for(self.images + len(images))
        yield from self._deliver(images)
        self._ended = self._complete()  # each image's event says all there is to say
        self._account_for(self.images)
        return None

    def _note(self, document: dict[str, Any]) -> None:
        """Take down what is told beside the images. What the upstream leaves unsaid is as it was asked for.

        Each event's usage is taken for that of the whole request; the last one holds.
        """
        told = facts_in(document)
        self.facts = replace(
            self.facts,
            size=told.size or self.facts.size,
            quality=told.quality or self.facts.quality,
            background=told.background or self.facts.background,
            output_format=told.output_format or self.facts.output_format,
        )
        self.size, self.quality = self.facts.size, self.facts.quality
        stated = usage_in(
            document,
            images_sent=self._sources,
            images_asked=self._n,
            prompt_bytes=len(self._prompt.encode("utf-8", "replace")),
        )
        if stated is not None:
            self._stated = stated.usage
            self._account_for(self.images)
            self.facts = replace(self.facts, usage=stated.document)

    def _account_for(self, images: int) -> None:
        """Keep ``usage`` at what so many images took: should the answer break off here, the others are not paid."""
        if self._stated is None:
            return
        self.usage = replace(self._stated, images=self.images)
        if 0 < images < self._n:
            output = self._stated.output_tokens * images // self._n
            self.usage = replace(self.usage, output_tokens=output, confidence="estimated")

    def _complete(self) -> bool:
        return self.images >= self._n

    def _conclude(self, trouble: Outcome | None, *, whole: bool) -> Conversing:
        """Images that came are an answer, also if they are fewer than were asked for."""
        yield from ()
        if self.images:
            if trouble is None:
                self._account_for(self._n)  # that there are no more images is the upstream's word, and so is this
            return self._delivered()
        if trouble is not None:
            return trouble
        slug = "empty_response" if whole else "sse_empty"
        return Outcome(slug, Phase.ANSWERED, 200, detail="an answer without images")

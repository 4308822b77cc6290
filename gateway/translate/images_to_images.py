"""The conversation of an image client with an Images API: ``POST /v1/images/generations`` or ``/v1/images/edits``.

PiAPI's gpt-image-1 is asked for a stream, since it answers in no other way; other upstreams only where the client wants
one. All images of an order come in one answer, and only of an order for one is there ever a stream
(core/images/splitting.py sees to that).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.billing_terms import Terms
from gateway.core.images.types import ImageFacts, ImagesRequest, MadeImage
from gateway.core.pricing.picture_tokens import bounded_usage
from gateway.core.types import NO_WISHES, Outcome, Phase, Target, Usage, Wish
from gateway.core.upstream_errors.upstream_error import error_in
from gateway.translate.commands import Conversing, Send
from gateway.translate.context import AttemptContext
from gateway.translate.image_stream import VARIATION_PROMPT, ImageStream, Taking, in_words_only, unusable_answer
from gateway.translate.own_wishes import ACCEPT_JSON
from gateway.translate.presenting import Presenter
from gateway.wire.images_answer import (
    event_kind,
    facts_in,
    format_of,
    images_in,
    likely_output_tokens,
    others_in,
    usage_in,
    words_in,
)
from gateway.wire.images_order import images_order
from gateway.wire.picture_address import base64_text

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"

IMAGES_ANSWER_LIMIT = 200 << 20
"""Bytes of a stream: ten images of 4096 × 4096 pixels as base64, and their previews."""

_DEAREST_OF_AUTO = "1024x1024"
"""Of the three sizes from which OpenAI chooses if a request names none, the one with the most tokens by the formula."""


def relay_wishes(target: Target, presenter: Presenter) -> frozenset[Wish]:
    """What an Images API is asked for although the client did not."""
    streams = target.upstream.dialect == "piapi" and not presenter.stream
    return frozenset({Wish.STREAM}) if streams else NO_WISHES


class ImagesToImages(ImageStream):
    """One attempt at images.

    ``n``: images to be made.
    ``boundary``: of a multipart body; the client must not be able to guess it.
    ``without``: what not to ask the upstream for unless the client did.
    """

    def __init__(
        self,
        request: ImagesRequest,
        context: AttemptContext,
        *,
        n: int,
        presenter: Presenter,
        boundary: str,
        without: frozenset[Wish] = NO_WISHES,
    ) -> None:
        wishes = relay_wishes(context.target, presenter) - without
        super().__init__(request, context, n=n, presenter=presenter, answer_limit=IMAGES_ANSWER_LIMIT, wishes=wishes)
        self._boundary = boundary
        self._prompt = request.prompt or VARIATION_PROMPT
        self._stated: Usage | None = None  # the upstream's figures, for all images together
        self._sources = len(request.images) + (request.mask is not None)

    @property
    def terms(self) -> Terms:
        """What drew an SVG is another model, whose tokens are told beside the usage."""
        return Terms(unpriced=bool(self.facts.others.get("svg_usage")))

    def estimate(self) -> Usage:
        """The images asked for, for prices that are tables; their tokens, for prices that are not: by the model's
        formula, where the price has it, else the usual ones.
        """
        price = self._context.target.price
        if price is not None and price.picture_tokens:
            return bounded_usage(
                price,
                self._n,
                quality=self.quality,
                size=self.size or _DEAREST_OF_AUTO,
                prompt_bytes=len(self._prompt.encode("utf-8", "replace")),
                sources=self._sources,
            )
        tokens = self._n * likely_output_tokens(self.size, self.quality)
        return Usage(output_tokens=tokens, images=self._n, confidence="estimated", image_output_tokens=tokens)

    def _order(self) -> Send:
        stream = self._presenter.stream or Wish.STREAM in self._wishes
        order = images_order(
            self._request,
            self._context.target.model,
            prompt=self._prompt,
            n=self._n,
            stream=stream,
            partial_images=self._request.partial_images if self._presenter.stream else 0,
            boundary=self._boundary,
            passed=self._context.target.upstream.pass_fields,
        )
        self.size, self.quality = order.size, order.quality
        self.facts = ImageFacts(size=order.size, quality=order.quality)
        headers = ((b"content-type", order.content_type), *(() if stream else (ACCEPT_JSON,)))
        return Send("POST", EDITS if self._request.images or self._request.mask else GENERATIONS, order.body, headers)

    def _take(self, document: dict[str, Any], event: bytes | None) -> Taking:
        kind = event_kind(document, event)
        if kind == "other" and images_in(document):
            kind = "whole"
        if kind == "other":
            error = error_in(document, is_error=event == b"error" or document.get("type") == "error")
            return None if error is None else self._in_band(error)
        self.progress += 1
        if kind == "whole":
            return (yield from self._take_whole(document))
        self._note(document)
        if kind == "partial":
            yield from self._preview(document)
        elif images := images_in(document):
            yield from self._finished(list(images))
        return None

    def _take_whole(self, document: dict[str, Any]) -> Taking:
        images = images_in(document)
        if not images and not isinstance(document.get("data"), list):
            return self._in_words(document) or unusable_answer("it has no data")
        self._note(document)
        if images:
            yield from self._finished(list(images))
        return None

    def _in_words(self, document: dict[str, Any]) -> Outcome | None:
        """The outcome of a chat's words in place of an answer about images; None without any."""
        said = words_in(document)
        words = said and (said.failure or said.refusal)
        if not said or not words:
            return None
        return in_words_only(words, refused=said.against_rules, phase=self._phase(), redact=self._context.redacted)

    def _preview(self, document: dict[str, Any]) -> Taking:
        """Pass on a preview where the client can take it. It does not count as an image, since it was never
        completed.
        """
        text, index = document.get("b64_json"), document.get("partial_image_index")
        b64 = base64_text(text) if isinstance(text, str) else None
        if b64 is not None and self._request.partial_images:
            place = index if type(index) is int and 0 <= index < 1000 else 0
            yield from self._noting(self._presenter.partial(b64, place, self.facts))
        return None

    def _finished(self, images: list[MadeImage]) -> Taking:
        self._account_for(self.images + len(images))
        if (made := format_of(images)) is not None:  # the bytes know better than what was asked for
            self.facts = replace(self.facts, output_format=made)
        yield from self._deliver(images)
        self._ended = self._complete()  # after the last image's event nothing more is needed
        self._account_for(self.images)
        return None

    def _note(self, document: dict[str, Any]) -> None:
        """Record what is stated beside the images. Values the upstream leaves out are as they were asked for.

        Each event's usage counts as that of the whole request; the last one is used.
        """
        facts = facts_in(document)
        self.facts = replace(
            self.facts,
            size=facts.size or self.facts.size,
            quality=facts.quality or self.facts.quality,
            background=facts.background or self.facts.background,
            output_format=facts.output_format or self.facts.output_format,
            others={**self.facts.others, **others_in(document)},
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
        """Keep ``usage`` at what ``images`` images took: if the answer breaks off here, the others are not paid for."""
        if self._stated is None:
            return
        self.usage = replace(self._stated, images=self.images)
        if 0 < images < self._n:
            output = self._stated.output_tokens * images // self._n
            pictures = self._stated.image_output_tokens * images // self._n
            self.usage = replace(self.usage, output_tokens=output, image_output_tokens=pictures, confidence="estimated")

    def _complete(self) -> bool:
        return self.images >= self._n

    def _conclude(self, trouble: Outcome | None, *, whole: bool) -> Conversing:
        """Images that came are an answer, even if they are fewer than were asked for."""
        yield from ()
        if self.images:
            if trouble is None:
                self._account_for(self._n)  # the upstream ended the answer here, so its figures are for these images
            return self._delivered()
        if trouble is not None:
            return trouble
        slug = "empty_response" if whole else "sse_empty"
        return Outcome(slug, Phase.ANSWERED, 200, detail="an answer without images")

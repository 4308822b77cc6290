"""The presenter for OpenAI's Images API: one JSON document, or events.

In a stream every image comes as base64 unless the client itself asked for links: the SDKs' events have no other field
for it. A known link is sent beside it.

Where base64 is due and a link cannot be fetched, streamed or not, the client gets the link in its place and a note: an
image that was bought must not be lost for the sake of its form. Only a link that the address guard forbids is not
handed on to a client that wants no links.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.errors import LinkForbidden, ResultUnavailable
from gateway.core.images.types import ImageFacts, ImageFormat, ImagesRequest, MadeImage
from gateway.core.long_texts import dumps
from gateway.core.types import Usage
from gateway.translate.asked_cost import charged
from gateway.translate.commands import Command, Emit, Fetch, Result, offloaded
from gateway.translate.presenting import Delivering, Emitting, checked, linked, progress_comment
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.base64_text import encoded_base64
from gateway.wire.image_bytes import image_type
from gateway.wire.picture_address import may_be_handed_out
from gateway.wire.sse import encode_event

_NO_USAGE: Mapping[str, Any] = {
    "input_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""The usage of an upstream that states none; the SDKs' events require one."""

_QUALITIES = frozenset({"low", "medium", "high", "xhigh", "max"})
_BACKGROUNDS = frozenset({"transparent", "opaque"})
_FORMATS = frozenset({"png", "webp", "jpeg"})
"""The values the SDKs' events may have; the first two fields also ``auto``."""

MOST_IMAGE_BYTES = 128 << 20
"""Bytes of images that one request's answer may hold, or that are fetched for it; they are in memory at once."""

LINKED = "link_instead_of_b64"
NOT_LINKED = "b64_instead_of_link"
"""The notes for an answer with a link where base64 is due, and the other way round where no link can be had."""

_FETCHED_OF_EACH = 2
"""Links that are fetched for each image that was asked for; more are given as links."""

_BringingImage = Generator[Command, Result, MadeImage]


class ImagesPresenter:
    """One request's answer in OpenAI's Images form.

    ``created``: Unix seconds.
    ``format``: the form of the images in a whole answer.
    ``explicit``: whether the client itself chose ``format``, so that it applies to a stream as well.
    ``tells_cost``: the usage is to say what the key is charged; in a stream that of the first image which an upstream's
    answer brings, for all of that answer.
    ``links_last``: upstreams' links are good for as long as the answer is kept.

    Its only state are its notes, and how many bytes the request may still use: of images fetched, and of those a whole
    answer gathers. A fetch under way may exceed ``MOST_IMAGE_BYTES`` by itself, since its size is not known before.
    """

    def __init__(
        self,
        request: ImagesRequest,
        *,
        created: int,
        format: ImageFormat,
        explicit: bool,
        tells_cost: bool = False,
        links_last: bool = True,
    ) -> None:
        self.stream = request.stream
        self.tells_cost = tells_cost
        self._links_last = links_last
        self._created = created
        self.notes: list[str] = []
        self._format: ImageFormat = format if explicit or not request.stream else "b64_json"
        self._wants_links = format == "url"
        self._bytes_left = MOST_IMAGE_BYTES
        self._drawing = bool(request.options.get("svg")) or request.options.get("output_format") == "svg"
        self._family = "image_generation" if request.kind == "generation" else "image_edit"

    @property
    def described(self) -> dict[str, Any]:
        """What an equal one is made with, beside the order."""
        format: ImageFormat = "url" if self._wants_links else "b64_json"
        return {
            "created": self._created,
            "format": format,
            "explicit": format == self._format or not self.stream,
            "tells_cost": self.tells_cost,
            "links_last": self._links_last,
        }

    def progress(self, text: str) -> Emitting:
        """Emit a comment in a stream."""
        if self.stream:
            yield Emit(progress_comment(text), meaningful=False, optional=True)

    def partial(self, b64: str, index: int, facts: ImageFacts) -> Emitting:
        """Emit a preview's event in a stream."""
        if self.stream and may_be_handed_out(b64, drawing=self._drawing):
            image = {"b64_json": b64, "partial_image_index": index}
            yield Emit(self._event("partial_image", image, facts, b64))

    def deliver(self, made: Sequence[MadeImage], facts: ImageFacts, asked: int) -> Delivering:
        """Bring each image into the answer's form; in a stream, send it at once, and return it without its bytes.

        Images beyond ``asked`` are delivered too, but at most twice as many links are fetched: after that, and where
        what is fetched would exceed ``MOST_IMAGE_BYTES``, links are sent instead.
        Raises ResultUnavailable if none could be delivered.
        """
        delivered: list[MadeImage] = []
        trouble: ResultUnavailable | None = None
        for place, image in enumerate(made):
            try:
                if self._format == "url":
                    brought = yield from linked(image, drawing=self._drawing, lasting=not self._links_last)
                    if brought.url is None:
                        self._note(NOT_LINKED)
                else:
                    brought = yield from self._as_base64(image, fetch=place < _FETCHED_OF_EACH * asked)
            except ResultUnavailable as error:
                trouble = error
                continue
            if self.stream:
                usage = facts.usage or _NO_USAGE
                if self.tells_cost:
                    cost = AnswerCost(None) if delivered else (yield from charged())
                    usage = cost.in_usage(usage)
                yield from offloaded(len(brought.b64 or ""))
                yield Emit(self._completed(brought, facts, usage))
            delivered.append(replace(brought, b64=None) if self.stream else brought)
        if trouble is not None and not delivered:
            raise trouble
        return tuple(delivered)

    def conclude(
        self,
        images: Sequence[MadeImage],
        facts: ImageFacts,
        usage: Usage | None,
        cost: AnswerCost | None = None,
    ) -> bytes | None:
        """The whole document. A stream is complete with its last image's event: OpenAI's has no ``[DONE]``.

        A cost without a usage stands in one whose counts are 0, since typed clients want them all.
        """
        if self.stream:
            return None
        document: dict[str, Any] = {
            **facts.others,
            "created": self._created,
            "data": [self._item(image) for image in images],
        }
        for name in ("background", "output_format", "quality", "size"):
            if (value := getattr(facts, name)) is not None:
                document[name] = value
        if (fields := _usage(facts, usage)) is None and cost is not None and cost.usd is not None:
            fields = _NO_USAGE
        if fields is not None:
            document["usage"] = fields if cost is None else cost.in_usage(fields)
        return dumps(document)

    def _as_base64(self, image: MadeImage, *, fetch: bool) -> _BringingImage:
        image = checked(image, drawing=self._drawing)
        if image.b64 is not None:
            if not self.stream:  # a stream sends it and forgets it
                self._take_up(len(image.b64) * 3 // 4)
            return image
        assert image.url is not None
        try:
            if not fetch:
                raise ResultUnavailable("too many images in one answer: the others are not fetched")
            self._take_up(0)
            data = yield Fetch(image.url)
            assert isinstance(data, bytes)
            self._take_up(len(data))
        except ResultUnavailable as error:
            if isinstance(error, LinkForbidden) and not self._wants_links:
                raise
            self._note(LINKED)
            return image
        return MadeImage(image.url, encoded_base64(data), image.revised_prompt)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _take_up(self, size: int) -> None:
        """Use ``size`` bytes of the request's allowance. Raises ResultUnavailable if they are too many, and then uses
        none.
        """
        if size > self._bytes_left or self._bytes_left == 0:
            raise ResultUnavailable(f"the request's images have more than {MOST_IMAGE_BYTES} bytes")
        self._bytes_left -= size

    def _item(self, image: MadeImage) -> dict[str, str]:
        by_link = (self._format == "url" and image.url is not None) or image.b64 is None
        item = {"url": image.url} if by_link else {"b64_json": image.b64}
        item["revised_prompt"] = image.revised_prompt
        return {name: value for name, value in item.items() if value is not None}

    def _completed(self, image: MadeImage, facts: ImageFacts, usage: Mapping[str, Any]) -> bytes:
        fields: dict[str, Any] = {**facts.others, "b64_json": image.b64, "usage": usage}
        if image.url is not None:
            fields["url"] = image.url
        if image.revised_prompt is not None:
            fields["revised_prompt"] = image.revised_prompt
        return self._event("completed", fields, facts, image.b64 or "")

    def _event(self, name: str, image: Mapping[str, Any], facts: ImageFacts, b64: str) -> bytes:
        """One event with every field the SDKs' types require; ``auto`` for unknown values."""
        full = f"{self._family}.{name}"
        document = {
            "type": full,
            **image,
            "created_at": self._created,
            "size": facts.size or "auto",
            "quality": facts.quality if facts.quality in _QUALITIES else "auto",
            "background": facts.background if facts.background in _BACKGROUNDS else "auto",
            "output_format": facts.output_format if facts.output_format in _FORMATS else _format_of(b64),
        }
        return encode_event(dumps(document), full.encode())


def _format_of(b64: str) -> str:
    """The format by the magic number, which the first 18 bytes hold; ``png`` if unknown."""
    try:
        kind = image_type(base64.b64decode(b64[:24], validate=True))
    except ValueError:  # binascii.Error is one
        kind = None
    return kind if kind in _FORMATS else "png"


def _usage(facts: ImageFacts, usage: Usage | None) -> Mapping[str, Any] | None:
    """The upstream's own usage object; where there are several conversations, that of all together."""
    if usage is None or usage.confidence != "measured" or not (usage.input_tokens or usage.output_tokens):
        return facts.usage
    if facts.usage is not None and (facts.usage.get("input_tokens"), facts.usage.get("output_tokens")) == (
        usage.input_tokens,
        usage.output_tokens,
    ):
        return facts.usage
    of_images = min(usage.image_input_tokens, usage.input_tokens)
    sent = {"text_tokens": usage.input_tokens - of_images, "image_tokens": of_images}
    if usage.cached_input_tokens:
        sent["cached_tokens"] = usage.cached_input_tokens
    fields: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": sent,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    of_text = usage.output_tokens - usage.image_output_tokens
    if usage.image_output_tokens and of_text:
        fields["output_tokens_details"] = {"image_tokens": usage.image_output_tokens, "text_tokens": of_text}
    return fields

"""The interface between conversations about images and the presenters that answer the client.

The source of the images (a chat, an Images API, a task) and the form of the answer (OpenAI's Images answer, a chat
completion; whole or as events) vary independently. A conversation speaks to its upstream and hands the images to the
presenter; several conversations of one request share one presenter, which keeps no state of them.
"""

from __future__ import annotations

import binascii
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from gateway.core.errors import ResultUnavailable
from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.types import Usage
from gateway.translate.commands import Command, Fetch, Keep, Result
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.base64_text import decoded_base64
from gateway.wire.image_bytes import image_type
from gateway.wire.picture_address import may_be_handed_out

Emitting = Generator[Command, Result, None]
Delivering = Generator[Command, Result, tuple[MadeImage, ...]]

_COMMENT_LIMIT = 200
"""Characters of an upstream's progress text that are passed on."""


class Presenter(Protocol):
    """The writer of one request's answer."""

    stream: bool
    """Whether the client asked for events."""

    tells_cost: bool
    """Whether the answer's usage is to say what the key is charged."""

    @property
    def notes(self) -> Sequence[str]:
        """What the client is to be told about the form of its images (``x-gateway-note``); it grows as they come."""
        ...

    @property
    def described(self) -> dict[str, Any]:
        """What an equal one is made with: values for JSON, none of them what a client wrote but a model's name."""
        ...

    def progress(self, text: str) -> Emitting:
        """Report progress: an optional comment in a stream; nothing in a whole answer."""
        ...

    def partial(self, b64: str, index: int, facts: ImageFacts) -> Emitting:
        """Pass on a preview, if the client asked for a stream that can carry it."""
        ...

    def deliver(self, made: Sequence[MadeImage], facts: ImageFacts, asked: int) -> Delivering:
        """Bring images into the form the client asked for (``Fetch`` a link's bytes, ``Keep`` bytes under a link), and,
        in a stream, send them. Returns those that could be delivered, in order.

        ``asked``: how many were asked for. Images beyond them are delivered as well, up to a bound.

        Images that cannot be delivered, beside others that can, are left out.
        Raises ResultUnavailable if none could.
        """
        ...

    def conclude(
        self,
        images: Sequence[MadeImage],
        facts: ImageFacts,
        usage: Usage | None,
        cost: AnswerCost | None = None,
    ) -> bytes | None:
        """The whole answer's body; for a stream its last bytes, or None if nothing is missing.

        ``images``: as ``deliver`` returned them, of all conversations in order.
        ``usage``: of all conversations together; None if unknown.
        ``cost``: what the answer is to say of it; None to say nothing of our own.
        """
        ...


def checked(image: MadeImage, *, drawing: bool = False) -> MadeImage:
    """The image, if its bytes are those of a picture, under any label. Raises ResultUnavailable for others
    without a link.

    ``drawing``: whether an SVG was asked for, which is no document where it stands as base64.
    """
    if image.b64 is None or may_be_handed_out(image.b64, drawing=drawing):
        return image
    if image.url is None:
        raise ResultUnavailable("what the upstream gave as an image is none, or cannot be read")
    return replace(image, b64=None)


def linked(image: MadeImage, *, drawing: bool = False, lasting: bool = False) -> Generator[Command, Result, MadeImage]:
    """The image under a link: its own, or one it is kept under; as it is if it cannot be kept, since its bytes are at
    hand. Raises ResultUnavailable if its base64 cannot be read, or is no image's.

    ``lasting``: its own link will not last as long as the answer, so the image is fetched and kept if that is possible.
    """
    image = checked(image, drawing=drawing)
    url: Result = image.url
    if url is not None and lasting:
        with suppress(ResultUnavailable):
            data = yield Fetch(image.url or "")
            assert isinstance(data, bytes)
            url = yield Keep(data)
    if url is None:
        try:
            data = decoded_base64(image.b64 or "")
        except ValueError:  # binascii.Error is one
            raise ResultUnavailable("the image's base64 cannot be read") from None
        try:
            url = yield Keep(data)
        except ResultUnavailable:
            return image
    assert isinstance(url, str)
    return MadeImage(url, None, image.revised_prompt)


def address_of(image: MadeImage) -> str:
    """The image's link or, if it has none, the image itself as a data URL."""
    if image.url is not None or image.b64 is None:
        return image.url or ""
    head = binascii.a2b_base64(image.b64[:64])
    return f"data:image/{image_type(head) or 'png'};base64,{image.b64}"


def progress_comment(text: str) -> bytes:
    """A comment in a stream that reports progress; always one line."""
    words = " ".join(text.split())[:_COMMENT_LIMIT]
    return b": progress " + words.encode("utf-8", "replace") + b"\n\n"

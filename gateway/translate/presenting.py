"""How pictures are told to a client: what every conversation about pictures asks of a presenter.

The source of the pictures (a chat, an Images API, a task) and the shape of the answer (OpenAI's Images answer, a chat
completion; whole or as events) vary independently. A conversation speaks to its upstream and hands what came to the
presenter; several conversations of one request share one presenter, which keeps no state of them.
"""

from __future__ import annotations

import binascii
from collections.abc import Generator, Sequence
from typing import Protocol

from gateway.core.errors import ResultUnavailable
from gateway.core.images.types import MadePicture, PictureFacts
from gateway.core.types import Usage
from gateway.translate.commands import Command, Keep, Result

Telling = Generator[Command, Result, None]
Delivering = Generator[Command, Result, tuple[MadePicture, ...]]

_COMMENT_LIMIT = 200
"""Characters of an upstream's words on its progress that are passed on."""


class Presenter(Protocol):
    """One request's."""

    stream: bool
    """Whether the client asked for events."""

    def progress(self, text: str) -> Telling:
        """Tell how far the work is: an optional comment of a stream; nothing in a whole answer."""
        ...

    def partial(self, b64: str, index: int, facts: PictureFacts) -> Telling:
        """Pass on a preview, if the client asked for a stream that can carry it."""
        ...

    def deliver(self, made: Sequence[MadePicture], facts: PictureFacts, asked: int) -> Delivering:
        """Bring pictures into the form the client asked for (``Fetch`` a link's bytes, ``Keep`` bytes under a link),
        and, in a stream, send them. Returns those that could be delivered, in order.

        ``asked``: how many were asked for. Pictures beyond them are delivered as well, as far as that is sane.
        Raises ResultUnavailable if none could. Pictures that could not, beside others that could, are left out.
        """
        ...

    def conclude(self, pictures: Sequence[MadePicture], facts: PictureFacts, usage: Usage | None) -> bytes | None:
        """The whole answer's body; for a stream its last bytes, or None if nothing is missing.

        ``pictures``: as ``deliver`` returned them, of all conversations in order. ``usage``: what is known of all
        of them together, None if nothing.
        """
        ...


def linked(picture: MadePicture) -> Generator[Command, Result, MadePicture]:
    """The picture under a link: its own, or one it is kept under. Raises ResultUnavailable if it cannot be kept."""
    url: Result = picture.url
    if url is None:
        try:
            data = binascii.a2b_base64(picture.b64 or "", strict_mode=True)
        except ValueError:  # binascii.Error is one
            raise ResultUnavailable("the picture's base64 cannot be read") from None
        url = yield Keep(data)
    assert isinstance(url, str)
    return MadePicture(url, None, picture.revised_prompt)


def progress_comment(text: str) -> bytes:
    """A stream's comment that tells how far the work is; one line, whatever ``text`` holds."""
    words = " ".join(text.split())[:_COMMENT_LIMIT]
    return b": progress " + words.encode("utf-8", "replace") + b"\n\n"

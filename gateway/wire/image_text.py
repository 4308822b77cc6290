"""The answers of gpt-4o-image: images, a failure, or a refusal, all of them as text.

PiAPI's answer is markdown: the order as JSON, progress lines, then each image as an image, often with a download link
beside it; wire/picture_links.py says which links are results. A plain link such as ``[100](…)`` is progress, and the
order may quote an image the user sent. An answer can come in any number of pieces; ``ImageTextReader`` takes them as
they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.core.images.types import MOST_READ
from gateway.wire.base64_text import Base64Filter, elide_base64, extract_base64, restore_base64
from gateway.wire.image_failures import failure_of, refusal_of
from gateway.wire.image_parts import AnswerParts, take_apart
from gateway.wire.image_progress import ProgressReader
from gateway.wire.picture_links import addresses_in, is_from_dalle
from gateway.wire.refusal_words import is_refused

MOST_TEXT = 1 << 18
"""Characters that an answer may have beside the base64 of its images: far more than a prompt and all progress need."""

_PICTURES_BEGIN = ("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD")
"""Base64 of the first bytes of PNG, JPEG, WebP and GIF."""
_BEGINNING = 12
"""Characters of a text by which that is seen."""


@dataclass(frozen=True, slots=True)
class ImageText:
    """The content of an answer.

    ``images``: addresses (https, http) or data URLs, each once, in order, the first ``MOST_READ``.
    ``failure``, ``refusal``: why there is no image, at most one of the two; both None beside an image, and where the
        text says nothing at all.
    ``against_rules``: the reason is that rules forbid the image; not for words that say something else, or nothing that
        is understood.
    ``progress``: the newest percentage; None if there was none.
    ``revised_prompt``: the prompt of the order the text begins with; None without one.
    ``downgraded``: DALL·E made the image, or seems to have: its orders have a ``size`` and no ``ratio``.
    """

    images: tuple[str, ...] = field(default=(), repr=False)
    failure: str | None = None
    refusal: str | None = None
    against_rules: bool = False
    progress: int | None = None
    revised_prompt: str | None = field(default=None, repr=False)
    downgraded: bool = False


class ImageTextReader:
    """A reader for an answer that comes in pieces, split anywhere. Feeding costs time linear in the piece.

    The content is kept as long as the reader. The caller bounds the images in it; the reader bounds the other text:
    beyond ``most_text`` characters it is ``too_long`` and takes nothing more.
    """

    __slots__ = ("_beginning", "_content", "_most_text", "_pieces", "_thoughts", "_thoughts_room", "_words", "too_long")

    def __init__(self, most_text: int = MOST_TEXT) -> None:
        self.too_long = False
        self._most_text = most_text
        self._beginning = ""
        self._words = Base64Filter()
        self._pieces: list[str] = []
        self._content = ProgressReader()
        self._thoughts = ProgressReader(thoughts=True)
        self._thoughts_room = MOST_TEXT  # beyond it no more is read: reasoning has no images

    def feed(self, content: str, reasoning: str = "") -> None:
        """Take the next piece of the text, of the reasoning beside it (``reasoning_content``), or of both."""
        if content and not self.too_long:
            if len(self._beginning) < _BEGINNING:
                self._begin(content)
            words = self._words.add(content)
            self.too_long = self._words.count > self._most_text
            if not self.too_long:
                self._pieces.append(content)
                self._content.feed(words)
        if reasoning and self._thoughts_room > 0:
            self._thoughts.feed(reasoning[: self._thoughts_room])
            self._thoughts_room -= len(reasoning)

    def _begin(self, content: str) -> None:
        """Look whether the text is base64 alone."""
        self._beginning += content[:_BEGINNING].lstrip("` \r\n") if not self._beginning else content[:_BEGINNING]
        if len(self._beginning) >= _BEGINNING and self._beginning.startswith(_PICTURES_BEGIN):
            self._words.begin()

    @property
    def progress(self) -> int | None:
        """The newest percentage so far: the text's, or the reasoning's until the text has one. Takes constant time."""
        return self._thoughts.newest if self._content.newest is None else self._content.newest

    def result(self) -> ImageText:
        """The content of the answer if this is all of it. Reads the whole text."""
        progress = self._content.at_end()
        return _read("".join(self._pieces), self._thoughts.at_end() if progress is None else progress)


def read_answer(text: str, reasoning: str = "") -> ImageText:
    """Read a whole answer and the reasoning beside it. Accepts any text and never raises."""
    reader = ImageTextReader()
    reader.feed(text, reasoning)
    return reader.result()


def image_links(text: str) -> list[str]:
    """The images in ``text``, as ``read_answer`` finds them."""
    shorter, runs = extract_base64(text)
    return _images(take_apart(shorter), runs)


def _read(text: str, progress: int | None) -> ImageText:
    shorter, runs = extract_base64(text)
    parts = take_apart(shorter)
    prompt = parts.order.get("prompt")
    revised = elide_base64(prompt) if isinstance(prompt, str) else None
    if images := _images(parts, runs):
        dalle_order = "size" in parts.order and "ratio" not in parts.order
        downgraded = dalle_order or any(map(is_from_dalle, images))
        return ImageText(tuple(images), None, None, False, progress, revised, downgraded)
    failure = failure_of(parts)
    refusal = refusal_of(parts) if failure is None else None
    against_rules = is_refused(failure or refusal or "")
    failure, refusal = (None if words is None else elide_base64(words) for words in (failure, refusal))
    return ImageText((), failure, refusal, against_rules, progress, revised, False)


def _images(parts: AnswerParts, runs: Sequence[str]) -> list[str]:
    found = addresses_in(parts, lambda text: restore_base64(text, runs))
    return list(dict.fromkeys(found))[:MOST_READ]

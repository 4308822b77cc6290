"""What gpt-4o-image answers: pictures, a failure, or a refusal, all of it as text.

PiAPI's answer is markdown: the order as JSON, progress lines, then each picture as an image, often with a link to
download it beside. Only the images are results: a plain link such as ``[100](…)`` is progress, and the order may quote
a picture the user sent. An answer can come in any number of pieces: ``ImageTextReader`` takes them as they come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.wire.image_failures import failure_of, outside_quotes, refusal_of
from gateway.wire.image_parts import AnswerParts, take_apart
from gateway.wire.image_progress import ProgressReader

# Possessive throughout: from any start the text is read once, up to the first character that cannot belong to it.
_IMAGE = re.compile(
    r"""!\[[^\[\]]*+(?:\[[^\[\]]*+\][^\[\]]*+)*+\]  # alternative text: a name, a URL, brackets one level deep
        \(\s*+<?
        ( https?://[^()<>\s]++(?:\([^()\s]*+\)[^()<>\s]*+)*+  # the address, parentheses one level deep
        | data:image/[\w.+-]++;base64,[\w+/=-]++  # or the picture itself
        )
        >?(?:\s++(?:"[^"]*+"|'[^']*+'))?+\s*+\)    # a title
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Where DALL·E's own pictures are kept: PiAPI says that an order may be downgraded to it.
_DALLE_HOST = r"https?://oaidalleapiprod[\w-]*+\.blob\.core\.windows\.net(?::\d++)?(?=[/?])"
_FROM_DALLE = re.compile(_DALLE_HOST, re.IGNORECASE)
_DALLE_LINK = re.compile(_DALLE_HOST + r"""[^\s()<>\[\]"'`*]++""", re.IGNORECASE)
_AFTER_A_LINK = ".,;:!?。，；：！？"


@dataclass(frozen=True, slots=True)
class ImageText:
    """What an answer says.

    ``pictures``: addresses (https, http) or data URLs, each once, in order. ``failure``, ``refusal``: why there is no
    picture, at most one of the two; both None beside a picture, and where the text says nothing at all.
    ``progress``: the newest percent. ``revised_prompt``: the prompt of the order the text begins with.
    ``downgraded``: DALL·E made the picture, or seems to have: its orders have a ``size`` and no ``ratio``.
    """

    pictures: tuple[str, ...] = field(default=(), repr=False)
    failure: str | None = None
    refusal: str | None = None
    progress: int | None = None
    revised_prompt: str | None = field(default=None, repr=False)
    downgraded: bool = False


class ImageTextReader:
    """An answer that comes in pieces; how it is split makes no difference. Feeding costs time by the piece's length.

    The content is kept whole until the reader goes: whoever feeds it bounds it.
    """

    __slots__ = ("_content", "_pieces", "_thoughts")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._content = ProgressReader()
        self._thoughts = ProgressReader(thoughts=True)

    def feed(self, content: str, reasoning: str = "") -> None:
        """Take the next piece of the text, of the thoughts beside it (``reasoning_content``), or of both."""
        if content:
            self._pieces.append(content)
            self._content.feed(content)
        if reasoning:
            self._thoughts.feed(reasoning)

    @property
    def progress(self) -> int | None:
        """The newest percent so far: the text's, and the thoughts' until the text has told one. Costs nothing."""
        return self._thoughts.newest if self._content.newest is None else self._content.newest

    def result(self) -> ImageText:
        """What the answer says if this is all of it. Goes through the whole text."""
        progress = self._content.at_end()
        return _read("".join(self._pieces), self._thoughts.at_end() if progress is None else progress)


def read_answer(text: str, reasoning: str = "") -> ImageText:
    """Read a whole answer and the thoughts beside it. Any text is fit; nothing is raised."""
    reader = ImageTextReader()
    reader.feed(text, reasoning)
    return reader.result()


def picture_links(text: str) -> list[str]:
    """The pictures in ``text``, as ``read_answer`` finds them."""
    return _pictures(take_apart(text))


def _read(text: str, progress: int | None) -> ImageText:
    parts = take_apart(text)
    prompt = parts.order.get("prompt")
    revised = prompt if isinstance(prompt, str) else None
    if pictures := _pictures(parts):
        dalle_order = "size" in parts.order and "ratio" not in parts.order
        downgraded = dalle_order or any(_FROM_DALLE.match(picture) for picture in pictures)
        return ImageText(tuple(pictures), None, None, progress, revised, downgraded)
    failure = failure_of(parts)
    return ImageText((), failure, refusal_of(parts) if failure is None else None, progress, revised, False)


def _pictures(parts: AnswerParts) -> list[str]:
    """The markdown images; a link to DALL·E's store will do where there is none, for it can be nothing else."""
    found = _IMAGE.findall(parts.body)
    if not found:
        links = _DALLE_LINK.findall(outside_quotes(parts.body))
        found = [link.rstrip(_AFTER_A_LINK) for link in links]
    return list(dict.fromkeys(found))

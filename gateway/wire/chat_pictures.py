"""The pictures and words of a chat's answer as it comes: in its text, as parts of it, and beside it."""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.core.images.types import MadeImage
from gateway.wire.image_text import MOST_TEXT, ImageText, ImageTextReader
from gateway.wire.picture_address import picture_at
from gateway.wire.picture_parts import each_once, pictures_of_answer, spoken

_BESIDE_CHOICES = ("images", "data")


class FoundPictures(NamedTuple):
    """What an answer holds.

    ``images``: each once, those of the text first. ``text``: what the text says beside.
    ``unreadable``: pictures in the text whose bytes are damaged.
    ``refused``: the answer has something in the field for refusals.
    """

    images: tuple[MadeImage, ...]
    text: ImageText
    unreadable: int = 0
    refused: bool = False


class ChatPictures:
    """A reader for a chat's chunks, or for one completion. Taking costs time linear in what is new.

    ``most_text``: characters of text, beside base64, that are read; beyond them it is ``too_long``.

    A ``message`` in a stream holds all of the answer until now, so only what is new in it is read. Reasoning has
    progress, and no pictures.
    """

    __slots__ = ("_beside", "_found", "_reader", "_refused", "_said", "_thought")

    def __init__(self, most_text: int = MOST_TEXT) -> None:
        self._reader = ImageTextReader(most_text)
        self._beside: list[MadeImage] = []
        self._refused = False
        self._found: FoundPictures | None = None  # since the last piece: reading megabytes of text takes long
        self._said = 0  # characters
        self._thought = 0

    @property
    def too_long(self) -> bool:
        """Whether there was more text than is read."""
        return self._reader.too_long

    @property
    def has_images_beside(self) -> bool:
        """Whether any picture came outside of the text."""
        return bool(self._beside)

    @property
    def progress(self) -> int | None:
        """The newest percentage so far."""
        return self._reader.progress

    def take(self, document: dict[str, Any]) -> None:
        """Take a chunk or a completion: what its choices say, and pictures outside of them."""
        self._found = None
        choices = document.get("choices")
        if not isinstance(choices, list):
            self._beside += pictures_of_answer(document)
            return
        for choice in choices:
            if isinstance(choice, dict):
                if isinstance(delta := choice.get("delta"), dict):
                    self._take(delta, begun=False)
                message = choice.get("message") or choice.get("text")
                if isinstance(message, dict | str):
                    self._take({"content": message} if isinstance(message, str) else message, begun=True)
                if choice.get("images"):
                    self._beside += pictures_of_answer({"images": choice["images"]})
        if any(name in document for name in _BESIDE_CHOICES):
            self._beside += pictures_of_answer({name: document.get(name) for name in _BESIDE_CHOICES})

    def result(self) -> FoundPictures:
        """The pictures and words if this is all of the answer. Reads the whole text, once."""
        if self._found is None:
            self._found = self._read()
        return self._found

    def _read(self) -> FoundPictures:
        text = self._reader.result()
        made = [picture_at(address, text.revised_prompt) for address in text.images]
        beside = [MadeImage(one.url, one.b64, one.revised_prompt or text.revised_prompt) for one in self._beside]
        images = each_once([*(one for one in made if one is not None), *beside])
        return FoundPictures(images, text, made.count(None), self._refused)

    def count(self) -> int:
        """The pictures so far, those that cannot be read too: they were made."""
        found = self.result()
        return len(found.images) + found.unreadable

    def _take(self, message: dict[str, Any], *, begun: bool) -> None:
        """``begun``: the message repeats what came before."""
        said = spoken(message)
        words, thoughts = said.words, said.thoughts
        if begun:
            words, thoughts = words[self._said :], thoughts[self._thought :]
        self._said += len(words)
        self._thought += len(thoughts)
        self._refused = self._refused or bool(said.refusal.strip())
        self._reader.feed(words + said.refusal if said.refusal else words, thoughts)
        self._beside += said.pictures


def pictures_of_chat(completion: dict[str, Any]) -> FoundPictures:
    """The pictures and words of a whole completion."""
    reader = ChatPictures()
    reader.take(completion)
    return reader.result()

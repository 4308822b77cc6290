"""The presenter for chat clients: a message whose content is markdown images, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.core.errors import ResultUnavailable
from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.long_texts import dumps
from gateway.core.types import Usage
from gateway.translate.commands import Emit
from gateway.translate.presenting import Delivering, Emitting, address_of, linked, progress_comment
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.sse import DONE, encode_event
from gateway.wire.usage_reading import write_usage

_IN_MARKDOWN = {ord(char): f"%{ord(char):02X}" for char in "()<> "}
"""Characters that would end a markdown link too early → how they are written inside a URL."""


class ChatPresenter:
    """One request's answer as a chat completion.

    ``id``, ``created``, ``model``: as every chunk has them. ``created`` is Unix seconds.
    ``include_usage``: the client asked for a usage chunk.
    ``tells_cost``: the usage is to say what the key is charged.
    ``links_last``: upstreams' links are good for as long as the answer is kept.
    ``shows_images``: the client reads images beside the content as well (``message.images``, as OpenRouter has them).
    """

    def __init__(
        self,
        *,
        id: str,
        created: int,
        model: str,
        stream: bool,
        include_usage: bool,
        shows_images: bool = False,
        tells_cost: bool = False,
        links_last: bool = True,
    ) -> None:
        self.stream = stream
        self.tells_cost = tells_cost
        self._links_last = links_last
        self.notes: tuple[str, ...] = ()
        self._named: dict[str, Any] = {"id": id, "created": created, "model": model}
        self._include_usage = include_usage
        self._shows_images = shows_images
        self._begun = False

    @property
    def described(self) -> dict[str, Any]:
        """What an equal one is made with."""
        return {
            **self._named,
            "stream": self.stream,
            "include_usage": self._include_usage,
            "shows_images": self._shows_images,
            "tells_cost": self.tells_cost,
            "links_last": self._links_last,
        }

    def progress(self, text: str) -> Emitting:
        """Emit a comment in a stream."""
        if self.stream:
            yield Emit(progress_comment(text), meaningful=False, optional=True)

    def partial(self, b64: str, index: int, facts: ImageFacts) -> Emitting:
        """Emit nothing: a chat cannot replace an image by a better one later."""
        yield from ()

    def deliver(self, made: Sequence[MadeImage], facts: ImageFacts, asked: int) -> Delivering:
        """Give each image a link; in a stream, send it at once. Raises ResultUnavailable if none can be shown."""
        delivered: list[MadeImage] = []
        trouble: ResultUnavailable | None = None
        for image in made:
            try:
                shown = yield from linked(image, lasting=not self._links_last)
            except ResultUnavailable as error:
                trouble = error
                continue
            delivered.append(replace(shown, b64=None) if self.stream else shown)
            if self.stream:
                begun, self._begun = self._begun, True
                line, beside = _line(shown), self._beside([shown])
                if begun:
                    yield Emit(self._chunk({"content": f"\n{line}", **beside}))
                else:
                    role = self._chunk({"role": "assistant", "content": "", "refusal": None})
                    yield Emit(role + self._chunk({"content": line, **beside}))
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
        """The whole completion, or a stream's last chunks and its end."""
        usage_fields = write_usage(usage or Usage())
        if cost is not None:
            usage_fields = cost.in_usage(usage_fields)
        if self.stream:
            last = self._chunk({}, "stop")
            if self._include_usage:
                last += self._event({"choices": [], "usage": usage_fields})
            return last + DONE
        content = "\n".join(_line(image) for image in images)
        message = {"role": "assistant", "content": content, "refusal": None, **self._beside(images)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return dumps({"object": "chat.completion", **self._named, "choices": [choice], "usage": usage_fields})

    def _beside(self, images: Sequence[MadeImage]) -> dict[str, Any]:
        if not self._shows_images:
            return {}
        return {"images": [{"type": "image_url", "image_url": {"url": address_of(image)}} for image in images]}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage: dict[str, Any] = {"usage": None} if self._include_usage else {}
        return self._event({"choices": [choice], **usage})

    def _event(self, fields: dict[str, Any]) -> bytes:
        return encode_event(dumps({"object": "chat.completion.chunk", **self._named, **fields}))


def _line(image: MadeImage) -> str:
    return f"![image]({address_of(image).translate(_IN_MARKDOWN)})"

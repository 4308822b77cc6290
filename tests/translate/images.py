"""Orders for images, and what the tests of their conversations and presenters are made of."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

from gateway.core.images.types import ImageFacts, ImageKind, ImagesRequest, MadeImage, SourceImage
from gateway.translate.commands import Command, Emit, Result
from gateway.translate.presenting import Delivering, Emitting

T = TypeVar("T")


def png(shade: int) -> bytes:
    """A real PNG of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes([0, shade]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


BLACK, GREY, WHITE = png(0), png(128), png(255)
URL = "https://storage.theapi.app/image/gen-1.png"
OTHER_URL = "https://storage.theapi.app/image/gen-2.png"
KEPT_URL = "http://127.0.0.1:8400/images/kept"


def order(kind: ImageKind = "generation", prompt: str = "A cat", **fields: Any) -> ImagesRequest:
    """An order as the front door would hand it over."""
    return ImagesRequest(kind, "gpt-image", prompt, **fields)


def source(data: bytes = BLACK) -> SourceImage:
    return SourceImage(data, width=1, height=1)


def tell(telling: Generator[Command, Result, T], *answers: Result | Exception) -> tuple[list[Command], T]:
    """Let a presenter speak. ``answers``: for everything it says but ``Emit``, in order."""
    told = iter(answers)
    said: list[Command] = []
    answer: Result | Exception = None
    while True:
        try:
            said.append(telling.throw(answer) if isinstance(answer, Exception) else telling.send(answer))
        except StopIteration as end:
            value: T = end.value
            return said, value
        answer = None if isinstance(said[-1], Emit) else next(told)


class PlainPresenter:
    """Tells what it was handed in words, so that a conversation's transcript shows just that.

    ``unavailable``: it can deliver none.
    """

    def __init__(self, stream: bool = False) -> None:
        self.stream = stream
        self.notes: tuple[str, ...] = ()
        self.delivered: list[tuple[MadeImage, ImageFacts]] = []
        self.previews: list[tuple[str, int]] = []
        self.progressed: list[str] = []

    def progress(self, text: str) -> Emitting:
        self.progressed.append(text)
        yield from ()

    def partial(self, b64: str, index: int, facts: ImageFacts) -> Emitting:
        self.previews.append((b64, index))
        if self.stream:
            yield Emit(b"preview")

    def deliver(self, made: Iterable[MadeImage], facts: ImageFacts, asked: int) -> Delivering:
        images = tuple(made)
        self.delivered += [(image, facts) for image in images]
        if self.stream:
            yield Emit(b"image" * len(images))
        return images

    def conclude(self, images: object, facts: object, usage: object, cost: object = None) -> bytes | None:
        raise AssertionError("a conversation does not conclude")

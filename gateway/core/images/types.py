"""The types of image requests: what a client orders and sends, and what comes back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ImageKind = Literal["generation", "edit", "variation"]
ImageFormat = Literal["url", "b64_json"]

STANDARD_SIZES = ("256x256", "512x512", "1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024x1792")
"""The sizes of all of OpenAI's image models; ``auto`` leaves the choice to the model."""

NEWEST_OPTIONS = ("complexity", "svg", "markup", "frame_count", "frame_duration_ms")
"""The fields of OpenAI's Images API that PiAPI's asynchronous routes do not document; so are the formats of
``NEWEST_FORMATS``."""

NEWEST_FORMATS = ("gif", "svg")

OPENAI_OPTIONS = (
    *("style", "user", "background", "moderation", "output_compression", "output_format", "input_fidelity"),
    *("safety_identifier", *NEWEST_OPTIONS),
)
"""The fields of OpenAI's Images API that change nothing here: they go to an Images API as they came
(openai-python 3.57, types/image_generate_params.py and image_edit_params.py)."""

MOST_IMAGES = 10
"""OpenAI's upper bound for ``n``."""

_SLICE = 3 << 17
"""Bytes that are written as base64 at a time; of all but the last, thirds."""

MOST_READ = 32
"""Images read from one answer. Some models make more than were asked for, so a small excess is accepted."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image a client sends in: its bytes, or a link to it.

    ``content_type``: the type of the bytes.
    ``width``, ``height``: pixels; 0 where they are not known (links).
    """

    data: bytes = field(default=b"", repr=False)
    url: str | None = field(default=None, repr=False)
    content_type: str = "image/png"
    width: int = 0
    height: int = 0

    def as_url(self) -> str:
        """The link, or the bytes as a data URL."""
        return self.url if self.url is not None else f"data:{self.content_type};base64,{self.as_base64()}"

    def as_base64(self) -> str:
        """The bytes as base64 text, written in slices between which other threads run."""
        parts = (self.data[at : at + _SLICE] for at in range(0, len(self.data), _SLICE))
        return "".join([base64.b64encode(part).decode("ascii") for part in parts])


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file of the client's whose meaning only the upstream knows.

    ``name``: of the form's field.
    """

    name: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImagesRequest:
    """A checked order for images. It is shared by all attempts and never changed.

    ``prompt``: empty only for variations; the conversation with the upstream then puts in a fixed sentence.
    ``size``: in the spelling of ``wire/image_size.py``; None if the client gave none.
    ``quality``: as the client gave it; None if it did not.
    ``format``: how the client wants the images; None for the model's own way.
    ``partial_images``: how many previews a stream may bring.
    ``options``: those of ``OPENAI_OPTIONS`` that the client gave, unchecked.
    ``flux``: Flux's own fields, as the client gave them.
    ``extras``, ``attached``: every other field, and every file under another name: for an Images API only, which
        judges them.
    ``withheld``: fields that go to no upstream but to those that are configured to get them, and their values.
    """

    kind: ImageKind
    model: str
    prompt: str = field(repr=False)
    n: int = 1
    size: str | None = None
    quality: str | None = None
    format: ImageFormat | None = None
    stream: bool = False
    partial_images: int = 0
    images: tuple[SourceImage, ...] = ()
    mask: SourceImage | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    flux: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict, repr=False)
    attached: tuple[AttachedFile, ...] = ()
    withheld: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class MadeImage:
    """An image that was made: a link, its bytes as base64 text, or both."""

    url: str | None = None
    b64: str | None = field(default=None, repr=False)
    revised_prompt: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """The facts an answer states about its images; None where it does not state them.

    ``size``: the ``WIDTHxHEIGHT`` that was really asked for.
    ``usage``: OpenAI's usage object, as an Images API sent it.
    ``others``: what an Images API's answer has beside these and its images (``svg_usage``, …), for the client.
    """

    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    usage: Mapping[str, Any] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

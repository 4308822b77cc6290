"""An order for images as an Images API reads it: ``POST /v1/images/generations`` and ``/v1/images/edits``.

Generations are JSON. Edits are multipart where every image is present as bytes; where one is a link, they are OpenAI's
JSON form of edits (``images: [{"image_url": …}]``), and the upstream follows the link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from gateway.core.images.types import ImagesRequest, SourceImage

_NEAREST: Mapping[str, str] = {
    "256x256": "1024x1024",
    "512x512": "1024x1024",
    "1792x1024": "1536x1024",
    "1024x1792": "1024x1536",
}
"""Sizes of older models → the gpt-image size of the same orientation."""

_QUALITIES: Mapping[str, str] = {"standard": "auto", "hd": "high"}
"""Words of older models → those of gpt-image."""

_FILE_ENDINGS: Mapping[str, str] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}


class ImagesOrder(NamedTuple):
    """The order as it goes upstream.

    ``size``, ``quality``: what the upstream is asked for; None where the choice is left to it.
    """

    content_type: bytes
    body: bytes
    size: str | None
    quality: str | None


def images_order(
    request: ImagesRequest, model: str, *, prompt: str, n: int, stream: bool, partial_images: int, boundary: str
) -> ImagesOrder:
    """Write the order.

    ``model``: the upstream's name.
    ``partial_images``: previews wanted, only with ``stream``.
    ``boundary``: of a multipart body; it must not occur in what the client sent.

    The order has no ``response_format``, which gpt-image refuses, and none of Flux's fields.
    """
    fields: dict[str, Any] = {"model": model, "prompt": prompt, "n": n}
    if request.size is not None:
        fields["size"] = _NEAREST.get(request.size, request.size)
    if request.quality is not None:
        fields["quality"] = _QUALITIES.get(request.quality, request.quality)
    fields.update(request.options)
    if stream:
        fields["stream"] = True
        if partial_images:
            fields["partial_images"] = partial_images
    size, quality = _asked(fields.get("size")), _asked(fields.get("quality"))
    sources = [*request.images, *([request.mask] if request.mask is not None else [])]
    if sources and all(source.url is None for source in sources):
        body = _multipart(fields, request.images, request.mask, boundary.encode())
        return ImagesOrder(f"multipart/form-data; boundary={boundary}".encode(), body, size, quality)
    if request.images:
        fields["images"] = [{"image_url": source.as_url()} for source in request.images]
    if request.mask is not None:
        fields["mask"] = {"image_url": request.mask.as_url()}
    return ImagesOrder(b"application/json", orjson.dumps(fields), size, quality)


def _asked(value: object) -> str | None:
    return value if isinstance(value, str) and value != "auto" else None


def _multipart(
    fields: Mapping[str, Any], images: tuple[SourceImage, ...], mask: SourceImage | None, boundary: bytes
) -> bytes:
    """RFC 7578. One image is ``image``, several are ``image[]`` each, as OpenAI's SDKs send them."""
    name = "image" if len(images) == 1 else "image[]"
    pieces: list[bytes] = []
    for field, value in fields.items():
        pieces += (b"--", boundary, b'\r\ncontent-disposition: form-data; name="', field.encode(), b'"\r\n\r\n')
        pieces += (_as_text(value), b"\r\n")
    for number, image in enumerate(images, 1):
        pieces += (b"--", boundary, b"\r\n", *_file(name, f"image-{number}", image))
    if mask is not None:
        pieces += (b"--", boundary, b"\r\n", *_file("mask", "mask", mask))
    return b"".join([*pieces, b"--", boundary, b"--\r\n"])


def _as_text(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _file(field: str, stem: str, image: SourceImage) -> Iterator[bytes]:
    """One part of the form. Its file name is generated: the client's own is private, and may be any text."""
    ending = _FILE_ENDINGS.get(image.content_type)
    content_type = image.content_type if ending else "application/octet-stream"
    yield f'content-disposition: form-data; name="{field}"; filename="{stem}.{ending or "bin"}"\r\n'.encode()
    yield f"content-type: {content_type}\r\n\r\n".encode()
    yield image.data
    yield b"\r\n"

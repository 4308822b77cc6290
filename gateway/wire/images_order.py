"""An order for images as an Images API reads it: ``POST /v1/images/generations`` and ``/v1/images/edits``.

Generations are JSON. Edits are multipart where every image is present as bytes; where one is a link, they are OpenAI's
JSON form of edits (``images: [{"image_url": …}]``), and the upstream follows the link.

What the client sent beside that goes along as it came, in a form as the SDKs write it (``svg[model]``).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple

import orjson

from gateway.core.images.gpt_image import gpt_image_quality, gpt_image_size, is_gpt_image
from gateway.core.images.ignored_fields import refused_by
from gateway.core.images.sizes import pixels_of
from gateway.core.images.types import AttachedFile, ImagesRequest, SourceImage

_CONTENT_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,80}")

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
    request: ImagesRequest,
    model: str,
    *,
    prompt: str,
    n: int,
    stream: bool,
    partial_images: int,
    boundary: str,
    passed: Set[str] = frozenset(),
) -> ImagesOrder:
    """Write the order.

    ``model``: the upstream's name.
    ``partial_images``: previews wanted, only with ``stream``.
    ``boundary``: of a multipart body; it must not occur in what the client sent.
    ``passed``: the withheld fields that the upstream is configured to get.

    The order has no ``response_format``, which gpt-image refuses, and none of Flux's fields.
    """
    fields: dict[str, Any] = {**request.extras}
    fields |= {name: value for name, value in request.withheld.items() if name in passed and name != "webhook_config"}
    fields |= {"model": model, "prompt": prompt, "n": n}
    fields |= size_and_quality(request, model)
    fields |= {name: value for name, value in request.options.items() if name not in refused_by(model)}
    if stream:
        fields["stream"] = True
        if partial_images:
            fields["partial_images"] = partial_images
    size, quality = fields.get("size"), _asked(fields.get("quality"))
    size = size if pixels_of(size) is not None else None
    sources = [*request.images, *([request.mask] if request.mask is not None else [])]
    if sources and all(source.url is None for source in sources):
        body = _multipart(fields, request, boundary.encode())
        return ImagesOrder(f"multipart/form-data; boundary={boundary}".encode(), body, size, quality)
    if request.images:
        fields["images"] = [{"image_url": source.as_url()} for source in request.images]
    if request.mask is not None:
        fields["mask"] = {"image_url": request.mask.as_url()}
    for file in request.attached:
        data = base64.b64encode(file.data).decode("ascii")
        fields[file.name] = {"image_url": f"data:{_content_type(file.content_type)};base64,{data}"}
    return ImagesOrder(b"application/json", orjson.dumps(fields), size, quality)


def size_and_quality(request: ImagesRequest, model: str) -> dict[str, Any]:
    """Both as the model names them; what another model than OpenAI's takes is not known here, so it gets the client's
    words.
    """
    size, quality = request.size, request.quality
    if is_gpt_image(model):
        source = request.images[0] if request.images else None
        sides = (source.width, source.height) if source is not None and source.width and source.height else None
        size = size and gpt_image_size(size, model, sides)
        quality = quality and gpt_image_quality(quality)
    return {name: value for name, value in (("size", size), ("quality", quality)) if value is not None}


def _asked(value: object) -> str | None:
    return value if isinstance(value, str) and value != "auto" else None


def _multipart(fields: Mapping[str, Any], request: ImagesRequest, boundary: bytes) -> bytes:
    """RFC 7578. One image is ``image``, several are ``image[]`` each, as OpenAI's SDKs send them."""
    name = "image" if len(request.images) == 1 else "image[]"
    pieces: list[bytes] = []
    for field, value in _flattened(fields):
        pieces += (b"--", boundary, b'\r\ncontent-disposition: form-data; name="', _quoted(field), b'"\r\n\r\n')
        pieces += (_as_text(value), b"\r\n")
    for number, image in enumerate(request.images, 1):
        pieces += (b"--", boundary, b"\r\n", *_file(name, f"image-{number}", image))
    if request.mask is not None:
        pieces += (b"--", boundary, b"\r\n", *_file("mask", "mask", request.mask))
    for number, file in enumerate(request.attached, 1):
        pieces += (b"--", boundary, b"\r\n", *_attached(file, f"file-{number}"))
    return b"".join([*pieces, b"--", boundary, b"--\r\n"])


def _flattened(fields: Mapping[str, Any], below: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a form, nested ones with brackets in their names."""
    for name, value in fields.items():
        path = f"{below}[{name}]" if below else name
        if isinstance(value, dict):
            yield from _flattened(value, path)
        elif isinstance(value, list):
            for item in value:
                yield from _flattened({"": item}, path)
        else:
            yield path, value


def _quoted(name: str) -> bytes:
    """A client's name of a field inside quotation marks; no character of it ends them nor the header."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode("utf-8", "replace")


def _as_text(value: object) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else orjson.dumps(value)


def _attached(file: AttachedFile, stem: str) -> Iterator[bytes]:
    """A file under the name the client gave its field."""
    content_type = _content_type(file.content_type)
    ending = _FILE_ENDINGS.get(content_type, "bin")
    yield b'content-disposition: form-data; name="' + _quoted(file.name)
    yield f'"; filename="{stem}.{ending}"\r\ncontent-type: {content_type}\r\n\r\n'.encode()
    yield file.data
    yield b"\r\n"


def _content_type(claimed: str) -> str:
    """The type of a file as the client claims it, if it is one that can be named in a header."""
    return claimed if _CONTENT_TYPE.fullmatch(claimed) else "application/octet-stream"


def _file(field: str, stem: str, image: SourceImage) -> Iterator[bytes]:
    """One part of the form. Its file name is generated: the client's own is private, and may be any text."""
    ending = _FILE_ENDINGS.get(image.content_type)
    content_type = image.content_type if ending else "application/octet-stream"
    yield f'content-disposition: form-data; name="{field}"; filename="{stem}.{ending or "bin"}"\r\n'.encode()
    yield f"content-type: {content_type}\r\n\r\n".encode()
    yield image.data
    yield b"\r\n"

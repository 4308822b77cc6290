"""The images that a client sends in as links to this gateway: they are read here and sent on as bytes.

An upstream could not follow such a link to a machine behind a router, and the link may be gone by then. The name in it
is the secret that guards the file: knowing it gives the right to the image.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from gateway.core.errors import ClientError, invalid_request
from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.images.kept import KeptFile
from gateway.wire.source_images import image_from_bytes

Open = Callable[[str], Awaitable[KeptFile | None]]
"""Opens a kept image by its name; None if there is none."""

MOST_BYTES = 64 << 20
"""Bytes of kept images in one request."""

_OWN = re.compile(r"(https?://[^/?#\s]*)[^?#\s]*/images/([A-Za-z0-9_-]{43}\.(?:png|jpg|webp|gif))(?:[?#]\S*)?", re.I)
_THIS_MACHINE = re.compile(r"https?://(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?", re.I)


async def with_own_images(request: ImagesRequest, opened: Open) -> ImagesRequest:
    """The request with the bytes of every kept image in the place of its link.

    Raises ClientError 400 for one that is no longer kept, if its link leads to this machine, where no upstream could
    look for it, and for more than ``MOST_BYTES``. Other links stay as they are.
    """
    left = MOST_BYTES
    images, mask = list(request.images), request.mask
    for place, image in enumerate(images):
        images[place] = await _read(image, "image", opened, left)
        left -= len(images[place].data) if images[place] is not image else 0
    if mask is not None:
        mask = await _read(mask, "mask", opened, left)
    if mask is request.mask and all(one is other for one, other in zip(images, request.images, strict=True)):
        return request
    return replace(request, images=tuple(images), mask=mask)


async def _read(image: SourceImage, param: str, opened: Open, most: int) -> SourceImage:
    link = _OWN.fullmatch(image.url) if image.url is not None else None
    if link is None:
        return image
    kept = await opened(link[2])
    if kept is None:
        if _THIS_MACHINE.fullmatch(link[1]):
            raise _gone(param)
        return image
    try:
        if kept.size > most:
            raise invalid_request(
                f"The kept images of this request have more than {MOST_BYTES} bytes together: send fewer.",
                param=param,
                code="invalid_value",
            )
        data = await kept.read(kept.size)
    finally:
        kept.close()
    return image_from_bytes(data, param)


def _gone(param: str) -> ClientError:
    return invalid_request(
        f"Invalid value for '{param}': there is no such image here any more. Images are kept for a limited time only; "
        "send the image itself.",
        param=param,
        code="invalid_value",
    )

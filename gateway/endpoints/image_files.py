"""``GET /images/{name}``: an image the gateway keeps, for any client that knows its name.

No key is checked: the name cannot be guessed, and a browser that shows the image could not send one. Images are sent in
pieces as clients read them, so that slow readers cost no memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.core.errors import ClientError, gateway_overloaded
from gateway.core.headers import Headers
from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.request import Request

PIECE = 256 * 1024
"""Bytes read, and written, at a time."""

READERS_AT_ONCE = 64
"""Images sent at once; each holds a descriptor and a piece."""


class Kept(Protocol):
    """An image that is being read.

    ``size``: bytes.
    """

    @property
    def size(self) -> int: ...
    @property
    def content_type(self) -> str: ...
    async def read(self, most: int) -> bytes: ...
    def close(self) -> None: ...


Open = Callable[[str], Awaitable[Kept | None]]

_HEADERS = (
    # Shared caches must not keep an image that only holders of its name may see. A name never stands for another image.
    (b"cache-control", b"private, max-age=3600, immutable"),
    # What a browser keeps for an <img> has no CORS headers, which a script that asks for the same image needs.
    (b"vary", b"origin"),
    # The bytes come from elsewhere: a browser is to show them as the image they are said to be, and to run nothing.
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"referrer-policy", b"no-referrer"),
    # Pages of any site may show it by its link, as the SDKs' users expect of a picture's address.
    (b"cross-origin-resource-policy", b"cross-origin"),
)


class _Readers:
    """The number of images being sent."""

    count = 0


def kept_image_routes(opened: Open) -> OwnRoutes:
    """The one route; it answers HEAD as well.

    ``opened``: opens an image by its name, which may be any text; None if there is none.
    """
    readers = _Readers()

    async def kept_image(request: Request, client: Client) -> None:
        if readers.count >= READERS_AT_ONCE:
            raise gateway_overloaded()
        kept = await opened(request.params["name"])
        if kept is None:
            raise ClientError(
                404,
                "invalid_request_error",
                "image_not_found",
                "There is no such image here. Images are kept for a limited time only.",
            )
        readers.count += 1
        try:
            await client.start(200, _head(kept.content_type), length=kept.size)
            while request.method != "HEAD" and not client.gone and (piece := await kept.read(PIECE)):
                await client.write(piece)
            await client.finish()
        finally:
            readers.count -= 1
            kept.close()

    return {"/images/{name}": {"GET": kept_image}}


def _head(content_type: str) -> Headers:
    # A name of ours: the image's own is its secret, and should not become the name of a file.
    disposition = f'inline; filename="image.{content_type.removeprefix("image/")}"'
    return (
        *_HEADERS,
        (b"content-type", content_type.encode("ascii")),
        (b"content-disposition", disposition.encode("ascii")),
    )

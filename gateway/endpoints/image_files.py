"""``GET /images/{name}``: an image the gateway keeps, for any client that knows its name.

No key is checked: the name cannot be guessed, and a browser that shows the image could not send one. Images are sent in
pieces as clients read them, so that slow readers cost no memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.core.errors import ClientError, gateway_overloaded

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

_HEADERS = {
    # Shared caches must not keep an image that only holders of its name may see. A name never stands for another image.
    "cache-control": "private, max-age=3600, immutable",
    # What a browser keeps for an <img> has no CORS headers, which a script that asks for the same image needs.
    "vary": "origin",
    # The bytes come from elsewhere: a browser is to show them as the image they are said to be, and to run nothing.
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "referrer-policy": "no-referrer",
    # Pages of any site may show it by its link, as the SDKs' users expect of a picture's address.
    "cross-origin-resource-policy": "cross-origin",
}


class _Readers:
    """The number of images being sent."""

    count = 0


class _Sending(StreamingResponse):
    """The response with one image. The file is closed in every case, also if sending never begins."""

    def __init__(self, kept: Kept, readers: _Readers, *, head_only: bool) -> None:
        super().__init__(
            self._pieces(),
            200,
            {
                **_HEADERS,
                "content-length": str(kept.size),
                # A name of ours: the image's own is its secret, and should not become the name of a file.
                "content-disposition": f'inline; filename="image.{kept.content_type.removeprefix("image/")}"',
            },
            kept.content_type,
        )
        self._kept = kept
        self._head_only = head_only
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._readers.count += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._readers.count -= 1
            self._kept.close()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while not self._head_only and (piece := await self._kept.read(PIECE)):
            yield piece


def kept_image_routes(opened: Open) -> list[Route]:
    """The one route; it answers HEAD as well.

    ``opened``: opens an image by its name, which may be any text; None if there is none.
    """
    readers = _Readers()

    async def kept_image(request: Request) -> Response:
        if readers.count >= READERS_AT_ONCE:
            raise gateway_overloaded()
        kept = await opened(request.path_params["name"])
        if kept is None:
            raise ClientError(
                404,
                "invalid_request_error",
                "image_not_found",
                "There is no such image here. Images are kept for a limited time only.",
            )
        return _Sending(kept, readers, head_only=request.method == "HEAD")

    return [Route("/images/{name}", kept_image, methods=["GET"])]

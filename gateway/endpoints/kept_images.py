"""``GET /images/{name}``: pictures the gateway keeps. The name is the secret, so no key is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import ClientError

Read = Callable[[str], Awaitable[tuple[bytes, str] | None]]
"""A picture's name → its bytes and content type, or None if no such picture is kept."""

_HEADERS = {
    # No shared cache may keep what only holders of the name may see. A name never stands for another picture.
    "cache-control": "private, max-age=3600, immutable",
    # The bytes come from elsewhere: a browser is to show them as the picture they are said to be, and to run nothing.
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
}


def kept_image_routes(read: Read) -> list[Route]:
    """The one route; it answers HEAD as well. ``read`` alone judges names: any text may come."""

    async def kept_image(request: Request) -> Response:
        kept = await read(request.path_params["name"])
        if kept is None:
            raise ClientError(
                404,
                "invalid_request_error",
                "image_not_found",
                "There is no such picture here. Pictures are kept for a limited time only.",
            )
        data, content_type = kept
        return Response(data, 200, _HEADERS, content_type)

    return [Route("/images/{name}", kept_image, methods=["GET"])]

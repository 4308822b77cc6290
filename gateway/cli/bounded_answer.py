"""An answer to a command's question, read up to a bound: who answers may be anybody."""

from __future__ import annotations

from typing import Any

import httpx2


async def read_bounded(
    client: httpx2.AsyncClient, method: str, url: str, most: int, **request: Any
) -> tuple[httpx2.Response, bytes | None]:
    """The answer and its body; None for a body of more than ``most`` bytes, or one that is compressed, which was not
    asked for. ``request``: as ``client.request`` takes it. Raises httpx2.HTTPError.
    """
    headers = {**request.pop("headers", {}), "accept-encoding": "identity"}
    async with client.stream(method, url, headers=headers, **request) as answer:
        if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
            return answer, None
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > most:
                return answer, None
    return answer, bytes(body)

"""An httpx2 transport over the gateway's own connections, for probes, the command line and tests.

The hot path calls ``ConnectionPool.request`` itself: building an httpx2 request alone costs more than a whole exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Literal

import httpx2

from gateway.core.connection_options import DIRECT
from gateway.core.errors import TransportError
from gateway.core.types import Endpoint
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.response import Response

_DEFAULT_PORTS = {"http": 80, "https": 443}

_DROPPED = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"accept-encoding"})
"""Headers that the pool writes, or (accept-encoding) this transport: a compressed answer could grow without bound."""

_ERRORS: dict[str, type[httpx2.TransportError]] = {
    "connect_refused": httpx2.ConnectError,
    "dns_error": httpx2.ConnectError,
    "tls_error": httpx2.ConnectError,
    "connect_timeout": httpx2.ConnectTimeout,
    "pool_timeout": httpx2.PoolTimeout,
    "reused_conn_reset": httpx2.ReadError,
    "connection_reset": httpx2.ReadError,
    "bad_http": httpx2.RemoteProtocolError,
    "head_too_big": httpx2.RemoteProtocolError,
}


class PoolTransport(httpx2.AsyncBaseTransport):
    """The transport: ``AsyncClient(transport=PoolTransport(pool))``.

    ``endpoints``: hosts that are connected to by options of their own.
    ``options``: how all others are; they may be set anew at any time.

    Honours the client's ``connect`` and ``read`` time-outs (``read`` is the longest silence). Always asks for
    ``identity``. The Host header follows the URL. Closing the client leaves the pool open, since it has other users.
    """

    def __init__(self, pool: ConnectionPool, endpoints: Iterable[Endpoint] = ()) -> None:
        self._pool = pool
        self._options = {(one.scheme, one.host, one.port): one.options for one in endpoints}
        self.options = DIRECT

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request.

        Raises httpx2's own exceptions: ConnectError, ConnectTimeout, ReadTimeout, ReadError, …ProtocolError.
        """
        timeouts = request.extensions.get("timeout", {})
        read_timeout: float | None = timeouts.get("read")
        headers = [(name, value) for name, value in request.headers.raw if name.lower() not in _DROPPED]
        headers.append((b"accept-encoding", b"identity"))
        body = await request.aread()
        endpoint = self._endpoint(request.url)
        try:
            # Connecting has its own limit, so the silence is counted from its end: both together bound the whole.
            async with asyncio.timeout(_sum(timeouts.get("connect"), read_timeout)):
                response = await self._pool.request(
                    endpoint,
                    request.method,
                    request.url.raw_path.decode("ascii"),
                    headers,
                    body,
                    connect_timeout=timeouts.get("connect"),
                )
        except TransportError as error:
            raise _ERRORS[error.slug](str(error), request=request) from error
        except TimeoutError as error:
            raise httpx2.ReadTimeout("no answer in time", request=request) from error
        except ValueError as error:
            raise httpx2.LocalProtocolError(str(error), request=request) from error
        return httpx2.Response(
            response.status,
            headers=list(response.headers),
            stream=_Body(response, read_timeout, request),
            extensions={"http_version": b"HTTP/1.1", "reused": response.reused},
        )

    def _endpoint(self, url: httpx2.URL) -> Endpoint:
        if url.scheme not in ("http", "https"):
            raise httpx2.UnsupportedProtocol(f"the scheme {url.scheme!r} is not HTTP")
        scheme: Literal["http", "https"] = "https" if url.scheme == "https" else "http"
        host, port = url.raw_host.decode("ascii").strip("[]"), url.port or _DEFAULT_PORTS[scheme]
        return Endpoint(
            url=f"{scheme}://{url.netloc.decode('ascii')}",
            scheme=scheme,
            host=host,
            port=port,
            options=self._options.get((scheme, host, port), self.options),
        )


class _Body(httpx2.AsyncByteStream):
    """An answer's body as httpx2 reads it."""

    def __init__(self, response: Response, read_timeout: float | None, request: httpx2.Request) -> None:
        self._response = response
        self._read_timeout = read_timeout
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._read_timeout):
                    data = await self._response.receive()
            except TransportError as error:
                raise _ERRORS[error.slug](str(error), request=self._request) from error
            except TimeoutError as error:
                raise httpx2.ReadTimeout("the answer fell silent", request=self._request) from error
            if not data:
                return
            yield data

    async def aclose(self) -> None:
        self._response.close()


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second

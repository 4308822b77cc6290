"""The fetching of images that an upstream left behind a link: without credentials, bounded in size and time."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

from gateway.core.errors import ResultUnavailable, TransportError
from gateway.upstream.address_guard import AddressGuard, Destination, LinkRefused
from gateway.upstream.dialer import Resolver, SystemDialer, system_resolver
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.response import Response
from gateway.wire.image_bytes import image_type

_HEADERS = (
    (b"accept", b"image/png, image/jpeg, image/webp, image/gif"),
    (b"accept-encoding", b"identity"),  # a compressed answer could grow without bound
    (b"user-agent", b"piapi-gateway"),  # content networks refuse clients without a name
    (b"connection", b"close"),
)

_REDIRECTS = frozenset((301, 302, 303, 307, 308))

_MAY_PASS = frozenset((403, 404, 408, 425, 429))
"""Statuses that may pass, beside all 5xx. Image hosts answer 403 and 404 for seconds until a new image has reached
every edge."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The bounds of a fetch.

    ``size``: bytes of an image.
    ``total``: seconds for everything but waiting for a turn.
    ``silence``: seconds without a byte.
    ``connect``: seconds until a connection stands.
    ``parallel``: fetches at once, so that at most that many images are in memory here.
    ``pauses``: seconds before the second try, the third, …
    """

    size: int = 50 * 1024 * 1024
    total: float = 60.0
    silence: float = 30.0
    connect: float = 10.0
    parallel: int = 8
    redirects: int = 3
    pauses: tuple[float, ...] = (0.5, 1.5)


class _MayPass(Exception):
    """This try failed; the next may succeed."""


class ResultFetcher:
    """Fetches images over its own connections, each used once, so that an image host cannot affect other requests.

    ``hosts``, ``private``: as AddressGuard takes them.
    ``ssl_context``: for other certificate authorities; None for the system's.

    ``close`` it.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        private: bool,
        *,
        resolver: Resolver = system_resolver,
        ssl_context: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        limits: FetchLimits = FetchLimits(),
    ) -> None:
        self._guard = AddressGuard(hosts, private)
        # No failed look-up is remembered: the next try looks up again.
        dialer = SystemDialer(ssl_context, resolve=self._guard.guarding(resolver), negative_ttl=0)
        self._pool = ConnectionPool(dialer, max_idle=0)
        self._slots = asyncio.Semaphore(limits.parallel)
        self._sleep = sleep
        self._limits = limits
        self._closed = False

    async def fetch(self, url: str) -> bytes:
        """A PNG, JPEG, WebP or GIF, as its first bytes show; it is not decoded.

        Tries again after failures that may pass: 403, 404, 408, 425, 429, 5xx, and connections that fail or fall
        silent. Raises ResultUnavailable with a message for the log that does not repeat the link.
        """
        async with self._slots:
            try:
                async with asyncio.timeout(self._limits.total):
                    return await self._try_again(url)
            except TimeoutError:
                raise ResultUnavailable(f"the image did not come within {self._limits.total:g} s") from None

    async def close(self) -> None:
        """Close every connection; fetches that still run raise ResultUnavailable."""
        self._closed = True
        await self._pool.close()

    async def _try_again(self, url: str) -> bytes:
        trouble = ""
        for pause in (0.0, *self._limits.pauses):
            if trouble:
                await self._sleep(pause)
            try:
                return await self._follow(url)
            except _MayPass as error:
                trouble = str(error)
        raise ResultUnavailable(f"{trouble}; tried {1 + len(self._limits.pauses)} times")

    async def _follow(self, url: str) -> bytes:
        """One try: from the link, over redirects each of which is checked like the link, to the image."""
        for _ in range(1 + self._limits.redirects):
            destination = self._guard.destination(url)
            try:
                async with asyncio.timeout(self._limits.connect + self._limits.silence):
                    response = await self._ask(destination)
                try:
                    if response.status not in _REDIRECTS:
                        return await self._image(response)
                    url = _redirected(url, response)
                finally:
                    response.close()
            except TransportError as error:
                raise _MayPass(f"{destination.endpoint.host}: {error}") from None
            except TimeoutError:
                raise _MayPass(f"{destination.endpoint.host} fell silent for {self._limits.silence:g} s") from None
        raise LinkRefused(f"the image's link was redirected more than {self._limits.redirects} times")

    async def _ask(self, destination: Destination) -> Response:
        if self._closed:
            raise ResultUnavailable("the gateway is shutting down")
        return await self._pool.request(
            destination.endpoint,
            "GET",
            destination.target,
            _HEADERS,
            b"",
            connect_timeout=self._limits.connect,
            fresh=True,
        )

    async def _image(self, response: Response) -> bytes:
        if response.status in _MAY_PASS or response.status >= 500:
            raise _MayPass(f"the image's host answered {response.status}")
        if response.status != 200:
            raise ResultUnavailable(f"the image's host answered {response.status}")
        for name, value in response.headers:
            if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                raise ResultUnavailable("the image came compressed, which was not asked for")
            if name == b"content-length" and int(value) > self._limits.size:
                raise self._too_large()
        data = await self._read(response)
        if image_type(data) is None:
            raise ResultUnavailable("what came is not a PNG, JPEG, WebP or GIF")
        return data

    async def _read(self, response: Response) -> bytes:
        whole = io.BytesIO()  # hands over its bytes without another copy
        while True:
            async with asyncio.timeout(self._limits.silence):
                piece = await response.receive()
            if not piece:
                return whole.getvalue()
            if whole.tell() + len(piece) > self._limits.size:
                raise self._too_large()
            whole.write(piece)

    def _too_large(self) -> ResultUnavailable:
        return ResultUnavailable(f"the image is larger than {self._limits.size} bytes")


def _redirected(url: str, response: Response) -> str:
    """The destination of a redirect, relative ones resolved; not yet checked."""
    for name, value in response.headers:
        if name == b"location":
            try:
                return urljoin(url, value.decode("utf-8"))
            except ValueError:  # UnicodeDecodeError is one
                break
    raise ResultUnavailable(f"the image's host answered {response.status} and no place to go to")

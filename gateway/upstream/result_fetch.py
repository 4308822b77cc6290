"""The fetching of images that an upstream left behind a link: without credentials, bounded in size and time."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urljoin

from gateway.core.connection_options import DIRECT, ConnectionOptions
from gateway.core.errors import ResultUnavailable, TransportError
from gateway.core.headers import Headers
from gateway.core.types import Phase
from gateway.upstream.address_guard import AddressGuard, Destination, LinkRefused, Surroundings
from gateway.upstream.dialer import Address, Resolver, SystemDialer, is_shortage, resolver_on, system_resolver
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.response import Response
from gateway.wire.image_bytes import image_type

_HEADERS = (
    (b"accept", b"image/png, image/jpeg, image/webp, image/gif"),
    (b"accept-encoding", b"identity"),  # a compressed answer could grow without bound
    (b"user-agent", b"piapi-gateway"),  # content networks refuse clients without a name
    (b"connection", b"close"),
)

_AS_A_BROWSER = (
    (b"accept", b"image/webp,image/png,image/jpeg,image/gif,image/*;q=0.5,*/*;q=0.3"),
    (b"accept-encoding", b"identity"),
    (b"accept-language", b"en-US,en;q=0.9"),
    (
        b"user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    (b"connection", b"close"),
)
"""The headers for a host that answered 403: some refuse everybody who does not look like a person. AVIF, which browsers
prefer, is not among the forms that are taken here."""

_FORBIDDEN = 403

_REDIRECTS = frozenset((301, 302, 303, 307, 308))

_MAY_PASS = frozenset((403, 404, 408, 425, 429))
"""Statuses that may pass, beside all 5xx. Image hosts answer 403 and 404 for seconds until a new image has reached
every edge."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The bounds of fetches.

    ``size``: bytes of an image.
    ``together``: bytes that all fetches for one answer may bring, useless ones included.
    ``total``: seconds in which any fetch for one answer runs; waiting for a turn is not counted.
    ``silence``: seconds without a byte.
    ``connect``: seconds until a connection stands.
    ``parallel``: fetches at once, so that at most that many images are in memory here.
    ``pauses``: seconds before the second try, the third, …
    """

    size: int = 50 * 1024 * 1024
    together: int = 64 * 1024 * 1024
    total: float = 30.0
    silence: float = 10.0
    connect: float = 5.0
    parallel: int = 8
    redirects: int = 3
    pauses: tuple[float, ...] = (0.5, 1.5)


class FetchAllowance:
    """What the fetches for one answer may still take. It belongs to one loop."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._bytes_left = limits.together
        self._seconds_left = limits.total
        self._running = 0
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator[float]:
        """Count the time of a fetch; fetches that run side by side take it once. Gives the loop's time at which the
        allowance ends.
        """
        loop = asyncio.get_running_loop()
        if not self._running:
            self._since = loop.time()
        self._running += 1
        try:
            yield self._since + self._seconds_left
        finally:
            self._running -= 1
            if not self._running:
                self._seconds_left -= loop.time() - self._since

    def check(self, size: int) -> None:
        """Raise ResultUnavailable if ``size`` bytes are more than are left."""
        if size > self._bytes_left:
            raise ResultUnavailable(f"the images of one answer are larger than {self._limits.together} bytes")

    def take(self, size: int) -> None:
        """Count bytes that came. Raises ResultUnavailable if they are more than were left."""
        self.check(size)
        self._bytes_left -= size


class _MayPass(Exception):
    """This try failed; the next may succeed.

    ``status``: what the host answered; None without an answer.
    """

    def __init__(self, trouble: str, status: int | None = None) -> None:
        super().__init__(trouble)
        self.status = status


class ResultFetcher:
    """Fetches images over its own connections, each used once, so that an image host cannot affect other requests.

    ``hosts``, ``private``: as AddressGuard takes them.
    ``resolver``: None for the system's, on threads of its own, since the writer of a link chooses the name.
    ``ssl_context``: for other certificate authorities; None for the system's, and those of ``options``.
    ``options``: how hosts are connected to; they may be set anew at any time. Through a proxy a host's name is resolved
        there: what this machine's resolver knows of it is checked before, the rest is left to the proxy's own rules.

    ``close`` it.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        private: bool,
        *,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        limits: FetchLimits = FetchLimits(),
        options: ConnectionOptions = DIRECT,
    ) -> None:
        self._guard = AddressGuard(hosts, private)
        self.options = options
        self._look_ups = ThreadPoolExecutor(limits.parallel, thread_name_prefix="image-hosts")
        resolver = resolver_on(self._look_ups) if resolver is None else resolver
        self._guarded = self._guard.guarding(resolver)
        # No failed look-up is remembered: the next try looks up again.
        dialer = SystemDialer(ssl_context, resolve=self._resolve, negative_ttl=0)
        self._pool = ConnectionPool(dialer, max_idle=0)
        self._slots = asyncio.Semaphore(limits.parallel)
        self._sleep = sleep
        self._limits = limits
        self._closed = False

    @property
    def surroundings(self) -> Surroundings:
        """The places around the gateway that are never asked; they may be set anew at any time."""
        return self._guard.surroundings

    @surroundings.setter
    def surroundings(self, places: Surroundings) -> None:
        self._guard.surroundings = places

    def allowance(self) -> FetchAllowance:
        """A whole one, for the fetches of one answer."""
        return FetchAllowance(self._limits)

    async def fetch(self, url: str, allowance: FetchAllowance | None = None) -> bytes:
        """A PNG, JPEG, WebP or GIF, as its first bytes show; it is not decoded.

        ``allowance``: the answer's; None for one of this fetch alone.

        Tries again after failures that may pass: 403 (then as a browser would ask), 404, 408, 425, 429, 5xx, and
        connections that fail or fall silent. Raises LinkForbidden for a link that leads where no client should be sent,
        also by a redirect, and ResultUnavailable for all else, with a message for the log that does not repeat the
        link.
        """
        allowance = self.allowance() if allowance is None else allowance
        async with self._slots:
            try:
                with allowance.running() as end:
                    if end <= asyncio.get_running_loop().time():
                        raise TimeoutError
                    async with asyncio.timeout_at(end):
                        return await self._try_again(url, allowance)
            except TimeoutError:
                raise ResultUnavailable(f"the image did not come within {self._limits.total:g} s") from None

    async def close(self) -> None:
        """Close every connection; fetches that still run raise ResultUnavailable."""
        self._closed = True
        await self._pool.close()
        self._look_ups.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, host: str, port: int) -> list[Address]:
        """The addresses to connect to. Those of a proxy are the operator's choice, and not guarded."""
        return await (self._guarded if self.options.proxy is None else system_resolver)(host, port)

    async def _try_again(self, url: str, allowance: FetchAllowance) -> bytes:
        trouble = ""
        headers: Headers = _HEADERS
        for pause in (0.0, *self._limits.pauses):
            if trouble:
                await self._sleep(pause)
            try:
                return await self._follow(url, headers, allowance)
            except _MayPass as error:
                trouble = str(error)
                if error.status == _FORBIDDEN:
                    headers = _AS_A_BROWSER
        raise ResultUnavailable(f"{trouble}; tried {1 + len(self._limits.pauses)} times")

    async def _follow(self, url: str, headers: Headers, allowance: FetchAllowance) -> bytes:
        """One try: from the link, over redirects each of which is checked like the link, to the image."""
        for _ in range(1 + self._limits.redirects):
            destination = self._guard.destination(url)
            try:
                async with asyncio.timeout(self._limits.connect + self._limits.silence):
                    response = await self._ask(destination, headers)
                try:
                    if response.status not in _REDIRECTS:
                        return await self._image(response, allowance)
                    url = _redirected(url, response)
                finally:
                    response.close()
            except TransportError as error:
                raise _MayPass(f"{destination.endpoint.host}: {error}") from None
            except TimeoutError:
                raise _MayPass(f"{destination.endpoint.host} fell silent for {self._limits.silence:g} s") from None
        raise LinkRefused(f"the image's link was redirected more than {self._limits.redirects} times")

    async def _ask(self, destination: Destination, headers: Headers) -> Response:
        if self._closed:
            raise ResultUnavailable("the gateway is shutting down")
        endpoint = destination.endpoint
        if self.options.proxy is not None:
            try:
                await self._guarded(endpoint.host, endpoint.port)
            except socket.gaierror as error:
                if is_shortage(error):  # which says nothing about the name, so it was not checked
                    raise TransportError("pool_timeout", Phase.UNSENT, str(error)) from None
                # A name that only the proxy can resolve is left to its rules.
        return await self._pool.request(
            replace(endpoint, options=self.options),
            "GET",
            destination.target,
            headers,
            b"",
            connect_timeout=self._limits.connect,
            fresh=True,
        )

    async def _image(self, response: Response, allowance: FetchAllowance) -> bytes:
        if response.status in _MAY_PASS or response.status >= 500:
            raise _MayPass(f"the image's host answered {response.status}", response.status)
        if response.status != 200:
            raise ResultUnavailable(f"the image's host answered {response.status}")
        for name, value in response.headers:
            if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                raise ResultUnavailable("the image came compressed, which was not asked for")
            if name == b"content-length":
                if int(value) > self._limits.size:
                    raise self._too_large()
                allowance.check(int(value))
        data = await self._read(response, allowance)
        if image_type(data) is None:
            raise ResultUnavailable("what came is not a PNG, JPEG, WebP or GIF")
        return data

    async def _read(self, response: Response, allowance: FetchAllowance) -> bytes:
        whole = io.BytesIO()  # hands over its bytes without another copy
        while True:
            async with asyncio.timeout(self._limits.silence):
                piece = await response.receive()
            if not piece:
                return whole.getvalue()
            if whole.tell() + len(piece) > self._limits.size:
                raise self._too_large()
            allowance.take(len(piece))
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

"""The command line's way to a running gateway: its admin API; and who does the work where no gateway runs.

One process writes a store. So what changes it is asked of the gateway that has it open, and done here only without one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar

import httpx2

from gateway.core.errors import GatewayError, OperatorError
from gateway.stores.records import StoreInUse

T = TypeVar("T")

TIMEOUT = 10.0
"""Seconds: a change is told as done once it is on the disk."""

PATIENCE = 5.0
"""Seconds to wait for another command, or for a gateway that is starting: both have the store's lock for a moment."""

_PAUSE = 0.05


class NoGateway(OperatorError):
    """Nothing listens where the admin API should be."""


class AdminClient:
    """``url``: of the admin listener. ``admin_key``: or empty."""

    def __init__(self, url: str, admin_key: str) -> None:
        self.url = url
        self._headers = {"authorization": f"Bearer {admin_key}"} if admin_key else {}

    async def ask(
        self,
        method: str,
        path: str,
        *,
        known: Callable[[Mapping[str, Any]], bool],
        doubt: str,
        timeout: float | None = TIMEOUT,
        **request: Any,
    ) -> dict[str, Any]:
        """The JSON of a 200. ``known``: whether it looks like this route's. ``request``: ``params``, ``json``.

        Raises the GatewayError that the gateway answered with, NoGateway, and OperatorError for anything else; where
        nobody answered, ``doubt`` says how to find out what was done. ``timeout``: seconds, None to wait for ever.
        """
        place = self.url + path
        try:
            async with httpx2.AsyncClient(timeout=timeout, trust_env=False, headers=self._headers) as client:
                answer = await client.request(method, place, **request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise NoGateway(f"no gateway answers at {place} ({error})") from None
        except httpx2.HTTPError as error:
            lost = f"the gateway at {place} did not answer ({type(error).__name__})"
            raise OperatorError(f"{lost}; {doubt}") from None
        if answer.status_code == 401:
            raise OperatorError(f"{place} answered 401; admin.key is not the running gateway's")
        return _understood(answer, place, known)


async def by_the_one_writer(url: str, asked: Callable[[], Awaitable[T]], here: Callable[[], Awaitable[T]]) -> T:
    """What the gateway does when ``asked``; without one, what is done ``here``; while the store is another's, both
    again for PATIENCE seconds.

    ``url``: of the admin listener. ``asked`` raises NoGateway where there is none, ``here`` StoreInUse.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await asked()
        except NoGateway:
            pass
        try:
            return await here()
        except StoreInUse as busy:
            if time.monotonic() >= deadline:
                _give_up(url, busy)
        await asyncio.sleep(_PAUSE)


def _give_up(url: str, busy: StoreInUse) -> NoReturn:
    raise OperatorError(
        f"the store is in use by process {busy.holder}, but no gateway answers at {url}. If that process is a gateway, "
        "call this with the configuration it runs with (--config), or stop it; if it is another command, try again."
    ) from None


def _understood(answer: httpx2.Response, place: str, known: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """The body of a gateway's answer; the error that it tells of is raised."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        error = body.get("error")
        if answer.status_code == 200 and known(body):
            return body
        if isinstance(error, dict) and "x-should-retry" in answer.headers:  # as every error of ours has
            message = "".join(letter if letter.isprintable() else "?" for letter in str(error.get("message")))
            raise GatewayError(answer.status_code, str(error.get("type")), error.get("code"), message)
    raise OperatorError(f"{place} answered {answer.status_code}, but not as this gateway does; what listens there?")

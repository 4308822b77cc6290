"""The command line's way to a running gateway, its admin API; and the store's own files where no gateway runs.

One process writes a store, and the gateway that has it open knows best what is in it. So every command asks the gateway
first, and reads or writes the store by itself only where none answers.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import httpx2
import orjson

from gateway.cli.bounded_answer import read_bounded
from gateway.config import Config
from gateway.core.errors import GatewayError, OperatorError
from gateway.endpoints.admin.json_body import ADMIN_USER
from gateway.endpoints.admin.paths import KEYS_PATH, UPSTREAMS_PATH
from gateway.keys.service import MOST_LISTED
from gateway.stores.base import StoreReader
from gateway.stores.engines import read_store
from gateway.stores.records import StoreInUse

T = TypeVar("T")

ADMIN_TIMEOUT = 10.0
"""Seconds: a change is told as done once it is on the disk."""

STATE_TIMEOUT = 5.0
"""Seconds: what a gateway says of itself it has in memory."""

PATIENCE = 5.0
"""Seconds to wait for another command, or for a gateway that is starting: both have the store's lock for a moment."""

MOST_ANSWER = 256 << 20
"""Bytes of an answer: a year's usage day by day, of a thousand keys."""

_PAUSE = 0.05


class NoGateway(OperatorError):
    """Nothing listens where the admin API should be."""


class WrongAdminKey(OperatorError):
    """What listens there is behind another admin key."""


class AdminClient:
    """The admin API of the gateway at ``url``. ``admin_key``: what it asks for, or empty."""

    def __init__(self, url: str, admin_key: str) -> None:
        self.url = url
        self._headers = {ADMIN_USER: local_user(), **({"authorization": f"Bearer {admin_key}"} if admin_key else {})}

    @classmethod
    def of(cls, config: Config) -> AdminClient:
        """A client of the gateway that runs with this configuration."""
        return cls(f"http://{config.admin.listen}", config.admin.key)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        known: Callable[[Mapping[str, Any]], bool],
        doubt: str,
        timeout: float | None = ADMIN_TIMEOUT,
        **request: Any,
    ) -> dict[str, Any]:
        """The JSON of a 200. ``known``: whether it looks like this route's. ``request``: ``params``, ``json``.

        Raises the GatewayError that the gateway answered with, NoGateway where nothing listens, and OperatorError for
        anything else. ``doubt``: how to find out what was done if no answer comes. ``timeout``: seconds; None for ever.
        """
        place = self.url + path
        try:
            async with httpx2.AsyncClient(timeout=timeout, trust_env=False, headers=self._headers) as client:
                answer, body = await read_bounded(client, method, place, MOST_ANSWER, **request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise NoGateway(f"no gateway answers at {place} ({error})") from None
        except httpx2.HTTPError as error:
            lost = f"the gateway at {place} did not answer ({type(error).__name__})"
            raise OperatorError(f"{lost}; {doubt}") from None
        if body is None:
            raise OperatorError(f"{place} answered with more than {MOST_ANSWER} bytes; what listens there?")
        if answer.status_code == 401:
            raise WrongAdminKey(
                f"{place} answered 401; admin.key is not the running gateway's. "
                "Name the configuration it runs with (--config), or set admin.key to its key."
            )
        return _understood(answer, body, place, known)

    async def state(self) -> dict[str, Any]:
        """What the gateway says of itself: version, store, upstreams, work in flight. Raises what ``ask`` does."""
        return await self.ask(
            "GET",
            UPSTREAMS_PATH,
            known=lambda body: "ledger_rows_pending" in body,
            doubt="try again, and look at its log",
            timeout=STATE_TIMEOUT,
        )


class RemoteKeys:
    """The virtual keys of a running gateway; the methods are those of KeyListing and KeyService.

    They raise what ``AdminClient.ask`` does.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    async def page(self, after: str = "", limit: int = MOST_LISTED, include_revoked: bool = False) -> dict[str, Any]:
        query = {"after": after, "limit": str(limit), "include_revoked": str(include_revoked).lower()}
        return await self._ask("GET", "", params=query)

    async def show(self, name: str) -> dict[str, Any]:
        return await self._ask("GET", _below(name))

    async def create(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask("POST", "", json=dict(fields))

    async def change(self, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask("PATCH", _below(name), json=dict(fields))

    async def rotate(self, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask("POST", f"{_below(name)}/rotate", json=dict(fields))

    async def revoke(self, name: str) -> dict[str, Any]:
        return await self._ask("DELETE", _below(name))

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        return await self._client.ask(
            method,
            KEYS_PATH + path,
            known=lambda body: "name" in body or "has_more" in body,
            doubt="'keys list' tells whether the change was made",
            **request,
        )


def local_user() -> str:
    """The name of the user who runs this command, for the audit log; the number of one that has no name."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # the last on Windows, without any of its variables
        name = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in name)[:64]


def gateway_first(
    config: Config,
    asked: Callable[[AdminClient], Awaitable[T]],
    here: Callable[[], Awaitable[T]],
    notes: list[str],
) -> T:
    """What the running gateway answers; without one, what is done ``here``; while the store is locked by another
    process, both again for PATIENCE seconds.

    ``asked`` raises NoGateway where there is none, ``here`` StoreInUse. Any other error of a gateway that is there is
    raised: its refusal is no reason to go round it. ``notes``: gets a sentence if the gateway that answered has another
    store than the one this configuration names.
    """
    client, store = AdminClient.of(config), read_store(config.store)

    async def asked_and_noted() -> T:
        answer = await asked(client)
        if await store.exists():
            notes.extend(await _note_of_another_store(client, store))
        return answer

    return asyncio.run(_until_either(asked_and_noted, here, client.url))


async def _until_either(asked: Callable[[], Awaitable[T]], here: Callable[[], Awaitable[T]], url: str) -> T:
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


async def _note_of_another_store(client: AdminClient, ours: StoreReader) -> list[str]:
    """A sentence if the gateway that has just answered has another store than ``ours``, which is there as well."""
    try:
        theirs = (await client.state()).get("store")
    except (OperatorError, GatewayError):
        return []  # it has answered what it was asked for; this was only a courtesy
    if not isinstance(theirs, str) or theirs == ours.name:
        return []
    return [f"the gateway at {client.url} answered, whose store is {_printable(theirs)}; {ours.name} was left alone"]


def _give_up(url: str, busy: StoreInUse) -> NoReturn:
    raise OperatorError(
        f"the store is in use by process {busy.holder}, but no gateway answers at {url}. If that process is a gateway, "
        "call this with the configuration it runs with (--config), or stop it; if it is another command, try again."
    ) from None


def _understood(
    answer: httpx2.Response, data: bytes, place: str, known: Callable[[Mapping[str, Any]], bool]
) -> dict[str, Any]:
    """The body of a gateway's answer; the error that it tells of is raised."""
    try:
        body = orjson.loads(data)  # which bounds how deep it may be nested
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict):
        error = body.get("error")
        if answer.status_code == 200 and known(body):
            return body
        if isinstance(error, dict) and "x-should-retry" in answer.headers:  # as every error of ours has
            message = "\n".join(map(_printable, str(error.get("message")).split("\n")))
            raise GatewayError(answer.status_code, str(error.get("type")), error.get("code"), message)
    raise OperatorError(f"{place} answered {answer.status_code}, but not as this gateway does; what listens there?")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _below(name: str) -> str:
    """The path of a key, below KEYS_PATH."""
    return "/" + quote(name, safe="")

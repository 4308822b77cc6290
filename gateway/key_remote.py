"""The virtual keys of a running gateway, through its admin API; the methods are those of KeyBook and KeyDesk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx2

from gateway.errors import GatewayError, OperatorError
from gateway.key_book import MOST_LISTED

TIMEOUT = 10.0
"""Seconds: a change is told as done once it is on the disk."""

Fields = Mapping[str, Any]


class NoGateway(OperatorError):
    """Nothing listens where the admin API should be."""


class RemoteKeys:
    """``url``: of the admin listener. ``admin_key``: or empty.

    Methods raise the GatewayError that the gateway answered with, NoGateway, and OperatorError for anything else.
    """

    def __init__(self, url: str, admin_key: str) -> None:
        self._url = f"{url}/admin/v1/keys"
        self._headers = {"authorization": f"Bearer {admin_key}"} if admin_key else {}

    async def page(self, after: str = "", limit: int = MOST_LISTED, include_revoked: bool = False) -> dict[str, Any]:
        query = {"after": after, "limit": str(limit), "include_revoked": str(include_revoked).lower()}
        return await self._ask("GET", "", params=query)

    async def show(self, name: str) -> dict[str, Any]:
        return await self._ask("GET", _path(name))

    async def create(self, fields: Fields) -> dict[str, Any]:
        return await self._ask("POST", "", json=dict(fields))

    async def change(self, name: str, fields: Fields) -> dict[str, Any]:
        return await self._ask("PATCH", _path(name), json=dict(fields))

    async def rotate(self, name: str, fields: Fields) -> dict[str, Any]:
        return await self._ask("POST", f"{_path(name)}/rotate", json=dict(fields))

    async def revoke(self, name: str) -> dict[str, Any]:
        return await self._ask("DELETE", _path(name))

    async def _ask(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False, headers=self._headers) as client:
                answer = await client.request(method, self._url + path, **rest)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise NoGateway(f"no gateway answers at {self._url} ({error})") from None
        except httpx2.HTTPError as error:
            lost = f"the gateway at {self._url} did not answer ({type(error).__name__})"
            raise OperatorError(f"{lost}; 'keys list' tells whether the change was made") from None
        if answer.status_code == 401:
            raise OperatorError(f"{self._url} answered 401; admin.key is not the running gateway's")
        return _understood(answer, self._url)


def _understood(answer: httpx2.Response, url: str) -> dict[str, Any]:
    """The body of a gateway's answer; the error that it tells of is raised."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        error = body.get("error")
        if answer.status_code == 200 and ("name" in body or "has_more" in body):
            return body
        if isinstance(error, dict) and error.keys() >= {"message", "type", "param", "code"}:
            message = str(error["message"])
            raise GatewayError(answer.status_code, str(error["type"]), error["code"], message, param=error["param"])
    raise OperatorError(f"{url} answered {answer.status_code}, but not as this gateway does; what listens there?")


def _path(name: str) -> str:
    return "/" + quote(name, safe="")

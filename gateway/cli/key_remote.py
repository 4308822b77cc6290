"""The virtual keys of a running gateway, through its admin API; the methods are those of KeyListing and KeyService."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gateway.cli.admin_client import AdminClient
from gateway.keys.service import MOST_LISTED

KEYS_PATH = "/admin/v1/keys"

_DOUBT = "'keys list' tells whether the change was made"

Fields = Mapping[str, Any]


class RemoteKeys:
    """Methods raise what ``AdminClient.ask`` does."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

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

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        return await self._client.ask(method, KEYS_PATH + path, known=_is_ours, doubt=_DOUBT, **request)


def _is_ours(body: Mapping[str, Any]) -> bool:
    return "name" in body or "has_more" in body


def _path(name: str) -> str:
    return "/" + quote(name, safe="")

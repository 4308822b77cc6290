"""What an application is told of a request."""

from __future__ import annotations

import asyncio

import pytest

from gateway.server.connection import connection_of
from gateway.server.scope import connection_scope, request_scope
from tests.raw_client import RawClient, message


class Transport:
    """``ends``: an address, or what asking for it raises."""

    def __init__(self, **ends: object) -> None:
        self._ends = ends

    def get_extra_info(self, name: str) -> object:
        found = self._ends.get(name)
        if isinstance(found, OSError):
            raise found
        return found


COMMON = connection_scope(Transport(sockname=("127.0.0.1", 8400), peername=("127.0.0.1", 50_000)), None)


def test_a_request_has_its_own_scope():
    headers = [(b"host", b"a")]
    scope = request_scope(COMMON, b"POST", b"/v1/a%2Fb%20c?x=%31&y", "1.1", headers)
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8400),
        "client": ("127.0.0.1", 50_000),
        "scheme": "http",
        "root_path": "",
        "extensions": {"piapi.connection": None},
        "method": "POST",
        "path": "/v1/a/b c",
        "raw_path": b"/v1/a%2Fb%20c",
        "query_string": b"x=%31&y",
        "headers": headers,
    }
    assert "path" not in COMMON


def test_the_version_is_told_if_it_is_another():
    assert request_scope(COMMON, b"GET", b"/", "1.0", [])["http_version"] == "1.0"


@pytest.mark.parametrize(
    ("found", "client"),
    [
        (("::1", 50_000, 0, 0), ("::1", 50_000)),
        (None, None),
        ("", None),  # of a Unix socket
        (OSError(107, "Transport endpoint is not connected"), None),
    ],
)
def test_a_client_is_its_address_and_port_or_has_none(found, client):
    assert connection_scope(Transport(peername=found), None)["client"] == client


async def test_a_real_scope_names_both_ends_and_the_connection(serve, connect):
    scopes = []

    async def application(scope, receive, send):
        scopes.append(scope)
        await connection_of(scope).answer(200, ((b"content-length", b"0"),), b"")

    server = await serve(application)
    client: RawClient = await connect(server)
    for target in ("/a?b", "/"):
        await client.send(message("GET", target))
        assert (await client.answer()).status == 200
    first, second = scopes
    assert first["server"] == ("127.0.0.1", server.port)
    assert first["client"] == client.writer.get_extra_info("sockname")
    assert (first["raw_path"], first["query_string"], second["query_string"]) == (b"/a", b"b", b"")
    await asyncio.sleep(0)

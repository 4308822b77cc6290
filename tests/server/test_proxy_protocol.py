"""The PROXY protocol: headers read at every split, believed from trusted proxies, refused from everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network

import pytest

from gateway.core.client_address import Network
from gateway.core.errors import GatewayError
from gateway.server.client import Client
from gateway.server.limits import ServerLimits
from gateway.server.listener import RunningServer, start_server
from gateway.server.proxy_protocol import SIGNATURE, Malformed, ProxyHeader, read_header
from gateway.server.request import Request
from tests.raw_client import RawClient

Connect = Callable[[RunningServer], Awaitable[RawClient]]
REQUEST = b"GET / HTTP/1.1\r\nhost: gateway.example\r\n\r\n"
HERE: tuple[Network, ...] = (ip_network("127.0.0.0/8"),)


def new_header(
    source: str = "203.0.113.7", port: int = 5512, *, command: int = 0x21, family: int | None = None, more: bytes = b""
) -> bytes:
    """A header of version 2. ``more``: what load balancers add after the addresses."""
    address = ip_address(source)
    to = ip_address("192.0.2.1" if address.version == 4 else "2001:db8::1")
    body = address.packed + to.packed + port.to_bytes(2, "big") + (8400).to_bytes(2, "big") + more
    family = (0x11 if address.version == 4 else 0x21) if family is None else family
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


HEADERS = {
    "old, IPv4": (b"PROXY TCP4 203.0.113.7 192.0.2.1 5512 8400\r\n", ("203.0.113.7", 5512)),
    "old, IPv6": (b"PROXY TCP6 2001:db8::7 2001:DB8::1 5512 8400\r\n", ("2001:db8::7", 5512)),
    "old, IPv4 in IPv6": (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 1 2\r\n", ("203.0.113.7", 1)),
    "old, a check": (b"PROXY UNKNOWN\r\n", None),
    "old, unknown with addresses": (b"PROXY UNKNOWN ffff:f...f:ffff ffff 65535 65535\r\n", None),
    "new, IPv4": (new_header(), ("203.0.113.7", 5512)),
    "new, IPv6": (new_header("2001:db8::7"), ("2001:db8::7", 5512)),
    "new, IPv4 in IPv6": (new_header("::ffff:203.0.113.7"), ("203.0.113.7", 5512)),
    "new, with what a load balancer adds": (new_header(more=b"\xea\x00\x16\x01" + b"v" * 300), ("203.0.113.7", 5512)),
    "new, a check": (SIGNATURE + b"\x20\x00\x00\x00", None),
    "new, a check with addresses": (new_header(command=0x20), None),
    "new, of no family": (SIGNATURE + b"\x21\x00\x00\x00", None),
    "new, over a Unix socket": (SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), None),
}

UNSOUND = {
    "old, a longer line": b"PROXY UNKNOWN " + b"f" * 100 + b"\r\n",
    "old, without an end": b"PROXY UNKNOWN " + b"f" * 100,
    "old, the other family": b"PROXY TCP4 2001:db8::7 2001:db8::1 5512 8400\r\n",
    "old, no address": b"PROXY TCP4 999.0.113.7 192.0.2.1 5512 8400\r\n",
    "old, no port": b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 8400\r\n",
    "old, too few fields": b"PROXY TCP4 203.0.113.7\r\n",
    "old, another transport": b"PROXY UDP4 203.0.113.7 192.0.2.1 5512 8400\r\n",
    "old, two blanks": b"PROXY  TCP4 203.0.113.7 192.0.2.1 5512 8400\r\n",
    "new, another version": new_header(command=0x31),
    "new, another command": new_header(command=0x22),
    "new, another family": new_header(family=0x51),
    "new, too short for its addresses": SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
    "new, too long": SIGNATURE + b"\x20\x00\xff\xff" + bytes(100),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_is_read_at_every_split(kind: str) -> None:
    header, source = HEADERS[kind]
    assert read_header(header + REQUEST) == ProxyHeader(len(header), source)
    for end in range(len(header)):
        assert read_header(header[:end]) is None


@pytest.mark.parametrize("kind", UNSOUND)
def test_what_only_begins_like_one_is_refused(kind: str) -> None:
    with pytest.raises(Malformed):
        read_header(UNSOUND[kind])


async def tells_the_client(request: Request, client: Client) -> None:
    await client.respond(200, (), repr(request.peer).encode())


@pytest.fixture
async def serving() -> object:
    servers: list[RunningServer] = []

    async def start(trusted: tuple[Network, ...] = HERE, **more: object) -> RunningServer:
        limits = more.pop("limits", ServerLimits())
        assert isinstance(limits, ServerLimits)
        server = await start_server(tells_the_client, "127.0.0.1", 0, limits=limits, trusted=lambda: trusted, **more)  # type: ignore[arg-type]
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.close(0.05)
        assert server.connections == 0


Serving = Callable[..., Awaitable[RunningServer]]


@pytest.mark.parametrize("kind", HEADERS)
async def test_a_trusted_proxys_word_holds_for_the_connection(serving: Serving, connect: Connect, kind: str) -> None:
    header, source = HEADERS[kind]
    client = await connect(await serving())
    await client.send(header + REQUEST)
    told = [(await client.answer()).body.decode()]
    await client.send(REQUEST)
    told.append((await client.answer()).body.decode())
    if source is None:
        assert all(one.startswith("('127.0.0.1', ") for one in told)
    else:
        assert told == [repr(source)] * 2


@pytest.mark.parametrize("kind", ["old, IPv4", "new, IPv6"])
async def test_in_single_bytes(serving: Serving, connect: Connect, kind: str) -> None:
    header, source = HEADERS[kind]
    client = await connect(await serving())
    for byte in header + REQUEST:
        await client.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert (await client.answer()).body.decode() == repr(source)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "PROPFIND"])
async def test_a_proxy_that_speaks_http_alone_is_as_welcome(serving: Serving, connect: Connect, method: str) -> None:
    request = REQUEST.replace(b"GET", method.encode()).replace(b"\r\n\r\n", b"\r\ncontent-length: 0\r\n\r\n")
    for first in (0, 1, 2, 4):
        client = await connect(await serving())
        await client.send(request[:first])
        await asyncio.sleep(0.005)
        await client.send(request[first:])
        assert (await client.answer()).body.startswith(b"('127.0.0.1', ")


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("trusted", [(), (ip_network("198.51.100.0/24"),)])
async def test_from_anybody_else_it_is_no_http(
    serving: Serving, connect: Connect, kind: str, trusted: tuple[Network, ...]
) -> None:
    refused: list[str] = []

    def note(error: GatewayError, *_: object) -> None:
        refused.append(str(error))

    client = await connect(await serving(trusted, on_refused=note))
    await client.send(HEADERS[kind][0] + REQUEST)
    answer = await client.answer()
    assert (answer.status, answer.json()["error"]["code"]) == (400, "malformed_http")
    assert "trusted_proxies" in answer.json()["error"]["message"]
    await client.closed()
    assert len(refused) == 1


@pytest.mark.parametrize("kind", UNSOUND)
async def test_an_unsound_one_is_refused_and_never_half_believed(serving: Serving, connect: Connect, kind: str) -> None:
    client = await connect(await serving())
    await client.send(UNSOUND[kind] + REQUEST)
    answer = await client.answer()
    assert (answer.status, answer.json()["error"]["code"]) == (400, "malformed_http")


async def test_a_second_header_is_no_http(serving: Serving, connect: Connect) -> None:
    client = await connect(await serving())
    await client.send(HEADERS["old, IPv4"][0] * 2 + REQUEST)
    assert (await client.answer()).status == 400
    later = await connect(await serving())
    await later.send(HEADERS["old, IPv4"][0] + REQUEST)
    assert (await later.answer()).status == 200
    await later.send(HEADERS["old, IPv6"][0] + REQUEST)
    assert (await later.answer()).status == 400


@pytest.mark.parametrize("came", [b"", b"P", b"PROXY TCP4 203.0", b"\r\n\r\n\x00", HEADERS["new, IPv4"][0]])
async def test_one_that_never_ends_is_not_waited_for(serving: Serving, connect: Connect, came: bytes) -> None:
    client = await connect(await serving(limits=ServerLimits(head_timeout=0.05)))
    await client.send(came)
    await client.closed()


@pytest.mark.parametrize("came", [b"", b"PRO", SIGNATURE])
async def test_a_proxy_that_leaves_at_once_leaves_nothing(serving: Serving, connect: Connect, came: bytes) -> None:
    """As the checks of a load balancer do that only connect. The fixture sees that nothing is left."""
    server = await serving()
    client = await connect(server)
    await client.send(came)
    await client.leave()


async def test_a_reload_holds_for_connections_that_come_after_it(connect: Connect) -> None:
    trusted: list[Network] = []
    server = await start_server(tells_the_client, "127.0.0.1", 0, trusted=lambda: trusted)
    before = await connect(server)
    await before.send(REQUEST)
    assert (await before.answer()).status == 200
    trusted += HERE
    after = await connect(server)
    await after.send(HEADERS["old, IPv4"][0] + REQUEST)
    assert (await after.answer()).body.decode() == repr(HEADERS["old, IPv4"][1])
    await before.send(HEADERS["old, IPv4"][0] + REQUEST)
    assert (await before.answer()).status == 400
    await server.close(0.05)

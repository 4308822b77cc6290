"""Where a server can be: behind TLS, at a Unix socket, behind Sentinels, in a cluster; each by its URL."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import trustme

from gateway.core.errors import OperatorError
from gateway.core.types import VirtualKey
from gateway.runtime.tasks import TrackedTasks
from gateway.shared_state.base import Message
from gateway.shared_state.engines import open_shared_state
from gateway.shared_state.valkey.lines import Source, shown
from tests.engines import ValkeyServer
from tests.engines.child import free_port

from .fleets import Fleet, eventually
from .test_outages import all_up, let_in


async def works(url: str) -> None:
    """Two gateways share a limit and tell one another."""
    fleet = Fleet(url)
    try:
        members, heard = [await fleet.join(), await fleet.join()], list[Message]()
        await eventually(lambda: all_up(members, up=True))
        members[1].state.listen("cooldowns", heard.append)
        await asyncio.sleep(0.7)
        members[0].state.keep("cooldowns", "a", {"number": 1}, 30.0)
        key = VirtualKey("alice", rpm=5, tpm=1000, parallel=5)
        assert await let_in(members, key, 9, tokens=10) == 5
        await eventually(lambda: bool(heard))
    finally:
        await fleet.close()


class TlsInFront:
    """What a server with TLS looks like: the wheel's is built without."""

    def __init__(self, port: int, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self._context)
        self._behind = port
        self._running = TrackedTasks(lambda *_: None)

    async def start(self) -> int:
        """The port it listens at."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        self._running.spawn(_pass_on(reader, behind_writer), "in")
        self._running.spawn(_pass_on(behind_reader, writer), "out")

    async def close(self) -> None:
        self._server.close()
        await self._running.cancel_all()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


async def test_behind_tls_whose_certificate_is_checked(valkey_url: str, tmp_path: Path) -> None:
    server = TlsInFront(int(valkey_url.rpartition(":")[2].partition("/")[0]), tmp_path)
    port = await server.start()
    try:
        await works(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={server.ca}")
        stranger = Fleet(f"rediss://127.0.0.1:{port}/0")
        member = await stranger.join()
        assert not member.state.up
        assert "certificate" in member.changes[0][1].lower()
        await stranger.close()
    finally:
        await server.close()


async def test_at_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "valkey.sock"
    server = ValkeyServer("--unixsocket", str(path))
    try:
        await works(f"unix://{path}?db=2")
    finally:
        server.close()


async def test_another_database_is_another_fleet(valkey_url: str) -> None:
    first, second = Fleet(valkey_url), Fleet(valkey_url.replace("/0", "/1"))
    members, heard = [await first.join("gw_a"), await second.join("gw_b")], list[Message]()
    try:
        members[1].state.listen("jobs", heard.append)
        await asyncio.sleep(0.7)
        members[0].state.tell("jobs", {})
        key = VirtualKey("alice", rpm=3)
        assert [await let_in([member], key, 4) for member in members] == [3, 3]
        await asyncio.sleep(0.3)
        assert heard == []
    finally:
        await first.close()
        await second.close()


@pytest.fixture
def cluster() -> Iterator[ValkeyServer]:
    """A cluster of one server, which has all slots."""
    bus = str(free_port())  # by itself it would be 10,000 above the port, which may be too high
    server = ValkeyServer("--cluster-enabled", "yes", "--cluster-port", bus)
    with redis.Redis(port=server.port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    yield server
    server.close()


async def test_in_a_cluster(cluster: ValkeyServer) -> None:
    with redis.Redis(port=cluster.port) as client:
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            await asyncio.sleep(0.05)
    await works(f"redis+cluster://127.0.0.1:{cluster.port}")


async def test_behind_sentinels(own_valkey: ValkeyServer, tmp_path: Path) -> None:
    file = tmp_path / "sentinel.conf"
    port = free_port()
    file.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {own_valkey.port} 1\n")
    sentinel = _Sentinel(file, port)
    try:
        await works(f"redis+sentinel://127.0.0.1:{port}/main/0")
    finally:
        sentinel.close()


class _Sentinel(ValkeyServer):
    """A Sentinel with this configuration."""

    def __init__(self, file: Path, port: int) -> None:
        self._file, self._own_port = file, port
        super().__init__(str(file), "--sentinel")

    def start(self) -> None:
        from tests.engines.child import Child

        self.port = self._own_port
        self._child = Child([str(self._program), str(self._file), "--sentinel"], self.folder / "log")
        while not self._answers():
            assert self._child.running, (self.folder / "log").read_text()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://user:secret@h:6379/2", "redis://h:6379/2"),
        ("rediss://h?password=secret", "rediss://h"),
        ("redis+sentinel://:secret@a:1,b:2/main/0", "redis+sentinel://a:1,b:2/main/0"),
        ("unix:///run/valkey.sock?password=secret", "unix:///run/valkey.sock"),
    ],
)
def test_the_name_has_no_secret(url: str, told: str) -> None:
    assert shown(url) == told
    assert "secret" not in repr(Source(url).name)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/0?socket_timeout=soon",
        "redis://:secret@h/0?nonsense=1",
        "redis://h/0?ssl_ca_certs=/without/tls.pem",
        "rediss://h/0?ssl_cert_reqs=perhaps",
        "unix:///run/valkey.sock?nonsense=1",
        "redis+sentinel://:secret@h:26379/main/0?nonsense=1",
        "redis+cluster://:secret@h?nonsense=1",
    ],
)
async def test_what_the_driver_does_not_take_is_refused(url: str) -> None:
    with pytest.raises(OperatorError, match=r"^shared_state: ") as refused:
        await open_shared_state(url, "gw", TrackedTasks(lambda *_: None), lambda *_: None)
    assert "secret" not in str(refused.value)

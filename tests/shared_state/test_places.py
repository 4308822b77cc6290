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
        assert all_up(members, up=True), [member.changes for member in members]
        members[1].state.listen("cooldowns", heard.append)
        await asyncio.sleep(0.7)
        members[0].state.keep("cooldowns", "a", {"number": 1}, 30.0)
        key = VirtualKey("alice", rpm=5, tpm=1000, parallel=5)
        assert await let_in(members, key, 9, tokens=10) == 5
        await eventually(lambda: bool(heard))
    finally:
        await fleet.close()


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    found = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(found["ca"])
    issued.private_key_pem.write_to_path(found["key"])
    issued.cert_chain_pems[0].write_to_path(found["cert"])
    return found


async def test_behind_tls(certificates: dict[str, Path]) -> None:
    port = free_port()
    options = [f"--tls-port {port}", "--tls-auth-clients no"]
    options += [f"--tls-cert-file {certificates['cert']}", f"--tls-key-file {certificates['key']}"]
    try:
        server = ValkeyServer(*(word for option in options for word in option.split()))
    except AssertionError as refused:
        if "tls" in str(refused).lower():
            pytest.skip("this server was built without TLS")
        raise
    try:
        await works(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates['ca']}")
        stranger = Fleet(f"rediss://127.0.0.1:{port}/0")  # its certificate is checked
        member = await stranger.join()
        assert not member.state.up
        assert "certificate" in member.changes[0][1].lower()
        await stranger.close()
    finally:
        server.close()


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
    server = ValkeyServer("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    with redis.Redis(port=server.port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    yield server
    server.close()


async def test_in_a_cluster(cluster: ValkeyServer) -> None:
    with redis.Redis(port=cluster.port) as client:
        while client.execute_command("CLUSTER", "INFO")["cluster_state"] != "ok":
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


async def test_what_the_driver_does_not_take_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"^shared_state: "):
        await open_shared_state("redis://h/0?socket_timeout=soon", "gw", TrackedTasks(lambda *_: None), lambda *_: None)


def test_a_context_is_what_the_driver_makes_of_the_url() -> None:
    """TLS checks the server's certificate and name unless the URL says otherwise."""
    kwargs = Source("rediss://h:1")._pool.connection_kwargs
    made = Source("rediss://h:1")._pool.connection_class(**kwargs)
    assert made.ssl_context.check_hostname
    assert made.ssl_context.cert_reqs == ssl.CERT_REQUIRED

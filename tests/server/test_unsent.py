"""Bytes that were written and not taken, in the transport's buffer and the kernel's."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from gateway.server.unsent import unsent_bytes
from tests.raw_client import until


class Transport:
    """``buffered`` bytes of its own, and perhaps a socket."""

    def __init__(self, buffered: int, endpoint: socket.socket | None) -> None:
        self._buffered = buffered
        self._endpoint = endpoint

    def get_write_buffer_size(self) -> int:
        return self._buffered

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._endpoint


def test_without_a_socket_the_transports_own_buffer_counts():
    assert unsent_bytes(Transport(7, None)) == 7
    closed = socket.socket()
    closed.close()
    assert unsent_bytes(Transport(7, closed)) == 7


def test_a_descriptor_that_is_no_socket_has_nothing_unsent(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        assert unsent_bytes(Transport(7, file)) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's share is asked of Linux")
async def test_what_the_kernel_holds_counts_until_the_client_takes_it():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            ours.setblocking(False)
            sent = 0
            with pytest.raises(BlockingIOError):
                while True:
                    sent += ours.send(b"a" * 65_536)
            full = unsent_bytes(Transport(7, ours))
            assert 7 < full <= sent + 7
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            while sent:
                sent -= len(await loop.sock_recv(client, 1 << 20))
            await until(lambda: unsent_bytes(Transport(0, ours)) == 0)

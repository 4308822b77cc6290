"""CPU per request of the upstream pool alone: 64 tasks against a server that answers at once.

    python bench/pool.py [--tasks 64] [--seconds 2] [--rounds 5] [--tls] [--loop uvloop|asyncio]

The server runs in a process of its own. Printed is this process's CPU (user and system), the best and the median of
the rounds. The kernel's share is in it: about two thirds for plain HTTP over loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import ssl
import statistics
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme
import uvloop

from gateway.core.types import Endpoint
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool

BODY = b'{"id":"chatcmpl-1","choices":[{"message":{"content":"' + b"x" * 560 + b'"}}]}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2026 00:00:00 GMT\r\nserver: bench\r\ncontent-type: application/json\r\n"
    b"x-request-id: 0123456789abcdef\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY
REQUEST_BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"' + b"y" * 360 + b'"}]}'
HEADERS = (
    (b"authorization", b"Bearer sk-0123456789abcdef0123456789abcdef"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"piapi-gateway"),
)


class Server(asyncio.Protocol):
    """Answers once for every REQUEST_BODY that has come in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.tail = b""

    def data_received(self, data: bytes) -> None:
        self.tail += data
        asked = self.tail.count(REQUEST_BODY)
        if asked:
            self.tail = b""
            self.transport.write(ANSWER * asked)  # type: ignore[attr-defined]


def serve(pipe: Pipe, certificate: str | None) -> None:
    async def main() -> None:
        context = None
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, ssl=context)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


async def measure(endpoint: Endpoint, context: ssl.SSLContext | None, options: argparse.Namespace) -> None:
    pool = ConnectionPool(SystemDialer(context))
    done = 0

    async def worker(until: float) -> None:
        nonlocal done
        while time.monotonic() < until:
            response = await pool.request(
                endpoint, "POST", "/v1/chat/completions", HEADERS, REQUEST_BODY, connect_timeout=5
            )
            try:
                while await response.receive():
                    pass
            finally:
                response.close()
            done += 1

    await asyncio.gather(*(worker(time.monotonic() + 0.3) for _ in range(options.tasks)))
    cpu_each, rates = [], []
    for _ in range(options.rounds):
        done, cpu, wall = 0, time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker(time.monotonic() + options.seconds) for _ in range(options.tasks)))
        cpu_each.append((time.process_time() - cpu) / done * 1e6)
        rates.append(done / (time.perf_counter() - wall))
    print(
        f"{options.loop}{' tls' if options.tls else ''}, {options.tasks} tasks: "
        f"{min(cpu_each):.1f} µs CPU a request (median {statistics.median(cpu_each):.1f}), "
        f"{max(rates):,.0f} requests/s (median {statistics.median(rates):,.0f}), {pool.open_count} connections"
    )
    await pool.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    options = parser.parse_args()
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with TemporaryDirectory() as directory:
        certificate = str(Path(directory, "server.pem"))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, certificate if options.tls else None), daemon=True
        )
        server.start()
        port = ours.recv()
        scheme = "https" if options.tls else "http"
        endpoint = Endpoint(f"{scheme}://127.0.0.1:{port}", "https" if options.tls else "http", "127.0.0.1", port)
        run = uvloop.run if options.loop == "uvloop" else asyncio.run
        run(measure(endpoint, context, options))
        server.terminate()


if __name__ == "__main__":
    main()

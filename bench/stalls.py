"""How long everybody waits while one does something big: a ping beside each row, through the real process.

    python -m bench.stalls [--keys 10000] [--rows 0] [--best-of 5] [--only NAME]

A row is the longest that one ping (``GET /healthz``, one after the other on one connection) had to wait while the work
was done, in milliseconds; of several tries the best is told, as other processes of the machine only ever add to it.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.stalled_store import fill, secret_of

ADMIN_KEY = "bench-admin-key-0123456789"
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
"""Worth nothing anywhere else."""

START_SECONDS = 60.0
PICTURE = 16 * 1024 * 1024
"""Bytes of a picture: 22 MB as base64."""

USED = 2_000
"""Keys of which there are metrics: there are no more series of one."""

BODY = 19 * 1024 * 1024
_PING = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """A running gateway, and how it is asked."""

    main: int
    admin: int

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        admin = path.startswith(("/admin", "/metrics"))
        connection = http.client.HTTPConnection("127.0.0.1", self.admin if admin else self.main, timeout=120)
        sent = {"authorization": f"Bearer {ADMIN_KEY if admin else KEY}", "content-type": "application/json"}
        try:
            connection.request(method, path, body, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _ping_for_ever(port: int, told: Connection) -> None:
    """Tell the longest wait, in milliseconds, each time it is asked for, and begin anew."""
    connection = socket.create_connection(("127.0.0.1", port))
    longest = 0.0
    while True:
        began = time.perf_counter()
        connection.sendall(_PING)
        if not connection.recv(4096):  # it serves so many requests
            connection = socket.create_connection(("127.0.0.1", port))
            continue
        longest = max(longest, (time.perf_counter() - began) * 1000)
        if told.poll():
            if not told.recv():
                return
            told.send(longest)
            longest = 0.0
        time.sleep(0.0005)


class Pings:
    """Pings of another process."""

    def __init__(self, port: int) -> None:
        self._here, there = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_ping_for_ever, args=(port, there))
        self._process.daemon = True
        self._process.start()
        self.longest()

    def longest(self) -> float:
        """Milliseconds that the longest one waited since it was asked last."""
        self._here.send(True)
        longest: float = self._here.recv()
        return longest

    def beside(self, work: Callable[[], None]) -> float:
        """Milliseconds that the longest one waited during ``work``."""
        time.sleep(0.05)
        self.longest()
        work()
        time.sleep(0.02)
        return self.longest()

    def close(self) -> None:
        self._here.send(False)
        self._process.join(5)


def _good(answer: tuple[int, bytes], *statuses: int) -> bytes:
    status, body = answer
    if status not in (statuses or (200,)):
        raise RuntimeError(f"{status}: {body[:400].decode(errors='replace')}")
    return body


def _chat(model: str, **fields: Any) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "a cat"}], **fields}).encode()


def _text_of(size: int) -> str:
    return ("The quick brown fox jumps over the lazy dog, and says so 42 times. " * (size // 67 + 1))[:size]


def _many_messages() -> bytes:
    messages = [{"role": ("user", "assistant")[n % 2], "content": f"{n} " + _text_of(450)} for n in range(40_000)]
    return json.dumps({"model": "bench-now", "messages": messages, "max_tokens": 10}).encode()


def _multipart(files: int, size: int) -> tuple[bytes, str]:
    boundary = "bench-boundary-0123456789"
    picture = _png(size)
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (("model", "bench-images"), ("prompt", "a cat"), ("response_format", "b64_json"))
    ]
    for number in range(files):
        head = f'content-disposition: form-data; name="image[]"; filename="{number}.png"\r\ncontent-type: image/png'
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + picture + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _png(size: int) -> bytes:
    begin = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    )
    return begin + os.urandom(1 << 16) * (size >> 16)


def rows() -> dict[str, Callable[[Target], None]]:  # noqa: C901  # one small function a row
    """What is done, by name; each is done as often as it is tried."""
    long = _chat("bench-now", messages=[{"role": "user", "content": _text_of(BODY)}], max_tokens=10)
    picture = "data:image/png;base64," + base64.b64encode(_png(PICTURE - (2 << 20))).decode()
    parts = [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": picture}}]
    seen = _chat("bench-now", messages=[{"role": "user", "content": parts}], max_tokens=10)
    many = _many_messages()
    form, form_type = _multipart(3, 8 << 20)
    form50, _ = _multipart(3, 16 << 20)
    counter = iter(range(10**9))

    def make(gateway: Target) -> None:
        name = f"made-{os.getpid()}-{next(counter)}"
        fields = {"name": name, "budget": "5/month", "team": "growth"}
        _good(gateway.ask("POST", "/admin/v1/keys", json.dumps(fields).encode()), 200, 201)
        _good(gateway.ask("PATCH", f"/admin/v1/keys/{name}", b'{"rpm": 5}'))
        _good(gateway.ask("POST", f"/admin/v1/keys/{name}/rotate", b"{}"))
        _good(gateway.ask("DELETE", f"/admin/v1/keys/{name}"))

    def asking(*what: Any, **more: Any) -> Callable[[Target], None]:
        def ask(gateway: Target) -> None:
            _good(gateway.ask(*what, **more))

        return ask

    def image(**fields: Any) -> Callable[[Target], None]:
        body = json.dumps({"model": "bench-images", "prompt": "a cat", **fields}).encode()
        return asking("POST", "/v1/images/generations", body)

    def get(path: str, **headers: str) -> Callable[[Target], None]:
        return asking("GET", path, headers=headers)

    def chat(body: bytes) -> Callable[[Target], None]:
        return asking("POST", "/v1/chat/completions", body)

    def edits(body: bytes) -> Callable[[Target], None]:
        headers = {"content-type": form_type}
        return asking("POST", "/v1/images/edits", body, headers)

    def kept(gateway: Target) -> None:
        fields = {"model": "bench-images", "prompt": "a cat", "response_format": "url"}
        answer = gateway.ask("POST", "/v1/images/generations", json.dumps(fields).encode())
        url = json.loads(_good(answer))["data"][0]["url"]
        _good(gateway.ask("GET", "/" + url.split("/", 3)[3]))

    def every_key(gateway: Target) -> None:
        after = ""
        while True:
            page = json.loads(_good(gateway.ask("GET", f"/admin/v1/keys?limit=500&after={after}")))
            if not page["has_more"]:
                return
            after = page["last"]

    return {
        "metrics": get("/metrics"),
        "metrics, OpenMetrics": get("/metrics", accept="application/openmetrics-text"),
        "keys made, changed, rotated, revoked": make,
        "keys listed": every_key,
        "usage": get("/admin/v1/usage?since=365d&by=key,model,day"),
        "status": get("/admin/v1/upstreams"),
        "picture in a chat's stream": chat(_chat("bench-picture", stream=True)),
        "picture in a chat's whole answer": chat(_chat("bench-picture")),
        "picture in a chat's document": chat(_chat("bench-picture-document")),
        "picture in a document, streamed": chat(_chat("bench-picture-document", stream=True)),
        "picture in a document of base64": image(response_format="b64_json"),
        "picture streamed by the images route": image(stream=True),
        "picture kept and got": kept,
        "20 MB of one text": chat(long),
        "20 MB of messages": chat(many),
        "19 MB of a picture": chat(seen),
        "24 MB of pictures to edit": edits(form),
        "50 MB of pictures to edit": edits(form50),
        "20 MB of an answer": chat(_chat("bench-long")),
        "20 MB of a streamed answer": chat(_chat("bench-long", stream=True)),
    }


def _serve_upstream(port: int) -> None:
    """An upstream of big answers, a thread for each connection."""
    picture = base64.b64encode(_png(PICTURE))
    whole = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'  # noqa: E501
    chunk = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}\n\n'  # noqa: E501
    shown = b"![image](data:image/png;base64,%s)" % picture
    done = b"data: [DONE]\n\n"
    long = _text_of(4096).encode()
    answers = {
        b"images": (b"application/json", b'{"created":1,"data":[{"b64_json":"%s"}]}' % picture),
        b"bench-picture-document": (b"application/json", whole % shown),
        b"bench-picture": (b"text/event-stream", chunk % (shown, b"null") + chunk % (b"", b'"stop"') + done),
        b"bench-long": (
            b"text/event-stream",
            (chunk % (long, b"null")) * 4800 + chunk % (b"", b'"stop"') + done,
        ),
        b"bench-now": (b"text/event-stream", chunk % (b"Hi", b"null") + chunk % (b"", b'"stop"') + done),
    }

    def serve(connection: socket.socket) -> None:
        with connection:
            reader = connection.makefile("rb")
            while line := reader.readline():
                length = 0
                while (header := reader.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                body = reader.read(length)
                found = b"images" if b"/images/" in line else b"bench-now"
                if found == b"bench-now":
                    found = next((name for name in answers if b'"' + name + b'"' in body[:300]), b"bench-now")
                if found == b"bench-now" and b'"bench' not in body[:300]:
                    found = next((name for name in answers if b'"' + name + b'"' in body[-300:]), b"bench-now")
                type, answer = answers[found]
                head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n" % (type, len(answer))
                connection.sendall(head)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(keys: int, ledger_rows: int) -> Iterator[Target]:
    """A gateway with so many keys, all of which have been used, and so many rows."""
    upstream, main, admin = _free_port(), _free_port(), _free_port()
    serving = multiprocessing.get_context("spawn").Process(target=_serve_upstream, args=(upstream,), daemon=True)
    serving.start()
    with TemporaryDirectory(prefix="piapi-gateway-stalls-") as name:
        folder = Path(name)
        place = {"upstream": "bench", "price": {"input": 1.875, "output": 7.5}}
        image = {"upstream": "bench", "model": "gpt-image-1", "operation": "images", "price": {"image": 0.01}}
        config = {
            "listen": f"127.0.0.1:{main}",
            "admin": {"listen": f"127.0.0.1:{admin}", "key": ADMIN_KEY},
            "auth": "required",
            "store": f"sqlite:///{folder / 'gateway.db'}",
            "upstreams": {
                "bench": {
                    "dialect": "openai",
                    "endpoints": [{"url": f"http://127.0.0.1:{upstream}"}],
                    "keys": [{"name": "first", "value": "sk-upstream-bench"}],
                }
            },
            "models": {"bench-images": {"targets": [image]}, "bench-*": {"targets": [place]}},
            "limits": {"event": "64MiB", "body": "64MiB", "upload": "64MiB"},
            "teams": {"growth": {"budget": "900000/month"}},
            "keys": [{"name": "bench", "key": KEY, "budget": "900000/month"}],
            "log": {"format": "json", "level": "info"},
        }
        (folder / "config.yaml").write_text(json.dumps(config))
        if keys or ledger_rows:
            fill(folder / "gateway.db", keys, ledger_rows)
        command = os.environ.get("BENCH_GATEWAY", f"{sys.executable} -m gateway").split()
        with (folder / "gateway.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "serve", "--config", str(folder / "config.yaml")], stdout=log, stderr=log
            )
        try:
            until = time.monotonic() + START_SECONDS
            while True:
                try:
                    Target(main, admin).ask("GET", "/healthz")
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError((folder / "gateway.log").read_text()[-3000:]) from None
                    time.sleep(0.05)
            _use(main, min(keys, USED))
            yield Target(main, admin)
        finally:
            process.terminate()
            process.wait(20)
            serving.kill()
            if path := os.environ.get("BENCH_LOG"):
                Path(path).write_bytes((folder / "gateway.log").read_bytes())


def _use(port: int, keys: int) -> None:
    """A chat of each of so many keys, so that there are metrics of them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for number in range(keys):
        headers = {"authorization": f"Bearer {secret_of(number)}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", _chat("bench-now", max_tokens=10), headers)
        answer = connection.getresponse()
        _good((answer.status, answer.read()))
    connection.close()


def stalls(keys: int, ledger_rows: int, best_of: int, only: str = "") -> Iterator[tuple[str, list[float]]]:
    """Each row's name, and the milliseconds of its tries."""
    with running(keys, ledger_rows) as gateway:
        pings = Pings(gateway.main)
        try:
            time.sleep(1)
            for name, work in rows().items():
                if only in name:
                    yield name, [pings.beside(partial(work, gateway)) for _ in range(best_of)]
        finally:
            pings.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--best-of", type=int, default=5)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    for name, tries in stalls(options.keys, options.rows, options.best_of, options.only):
        print(f"{name:40} {min(tries):7.1f} ms   ({' '.join(f'{one:.1f}' for one in tries)})", flush=True)


if __name__ == "__main__":
    main()

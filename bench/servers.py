"""The mock and the gateway as processes of the bench. What the gateway is compared with is in ``peers.py``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import wire
from bench.clients import BenchError
from bench.processes import Server, first_line, free_port, load_core, process, server_core

SETUP_SECONDS = 120.0
"""How long a gateway with ten thousand keys or a million rows may take to start."""


def gateway_python() -> str:
    """The interpreter that runs the gateway; the environment's BENCH_PYTHON names another than the bench's own."""
    return os.environ.get("BENCH_PYTHON") or sys.executable


@contextmanager
def mock_server(folder: Path, *, certificate: Path | None = None) -> Iterator[Server]:
    """The upstream, on the core of the load; with a certificate (and its key, in one file) it speaks TLS."""
    name = "mock-tls" if certificate else "mock"
    command = [sys.executable, "-m", "bench.mock", *([str(certificate)] if certificate else [])]
    with process(command, folder, name, load_core()) as running:
        yield Server(running, int(first_line(running, folder / f"{name}.log")))


@contextmanager
def gateway_server(
    folder: Path,
    upstream_port: int,
    *,
    profile: Path | None = None,
    keys: int = 1,
    authority: Path | None = None,
    over: Mapping[str, object] | None = None,
) -> Iterator[Server]:
    """The gateway as one would run it: keys, limits, a budget, a ledger on disk, metrics, a line in the log a request.

    ``profile``: where cProfile writes what it saw, when the server is told to stop. ``keys``: how many there are; the
    first is ``wire.KEY``. ``authority``: the certificate of the upstream's authority, where it speaks TLS. ``over``:
    settings that stand in place of these, such as another store.
    """
    admin_port = free_port()
    config = folder / "config.yaml"
    config.write_text(json.dumps({**_config(folder, upstream_port, admin_port, keys, authority), **(over or {})}))
    python = [gateway_python(), *(("-m", "cProfile", "-o", str(profile)) if profile else ())]
    command = [*python, "-m", "gateway", "serve", "--config", str(config)]
    with process(command, folder, "gateway", server_core()) as running:
        line = first_line(running, folder / "gateway.log", SETUP_SECONDS)
        url = next((word for word in line.split() if word.startswith("http://")), "")
        if not url.rpartition(":")[2].isdigit():
            raise BenchError(f"the gateway said no address: {line}")
        yield Server(running, int(url.rpartition(":")[2]), admin_port=admin_port)


def nth_key(number: int) -> str:
    """The virtual keys of a gateway with many."""
    return wire.KEY if number == 0 else f"sk-bench-{number:032d}"


def _config(folder: Path, upstream_port: int, admin_port: int, keys: int, authority: Path | None) -> dict[str, object]:
    plenty = 1_000_000_000  # a limit that is counted but never reached
    price = {"input": 1.875, "output": 7.5}
    upstream: dict[str, object] = {
        "endpoints": [{"url": f"{'https' if authority else 'http'}://127.0.0.1:{upstream_port}"}],
        "keys": [{"name": "first", "value": "sk-upstream-bench", "max_parallel": plenty}],
    }
    if authority:
        upstream["ca_file"] = str(authority)
    return {
        "listen": "127.0.0.1:0",
        "admin": {"listen": f"127.0.0.1:{admin_port}"},
        "auth": "required",
        "store": f"sqlite:///{folder / 'gateway.db'}",
        "images": {"dir": str(folder / "images")},
        "upstreams": {"piapi": upstream},
        "models": {
            wire.PICTURE: {"targets": [{"upstream": "piapi", "operation": "images", "price": price}]},
            "bench-*": {"targets": [{"upstream": "piapi", "price": price}]},
        },
        "keys": [
            {
                "name": f"bench-{number}", "key": nth_key(number), "models": ["bench-*"],
                "rpm": plenty, "tpm": plenty * 1000, "parallel": plenty, "budget": "1000000/month",
            }
            for number in range(keys)
        ],
        "log": {"format": "json", "level": "info"},
    }  # fmt: skip

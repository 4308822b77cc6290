"""A fleet in one terminal, to look at: python -m scripts.run_fleet [--port 8400] [--gateways 3]

PostgreSQL, Valkey, three gateways in front of the sandbox, and a balancer; all of it in a folder that is removed at
the end. A simulation: the upstreams are the sandbox, nothing is bought.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gateway.sandbox import Sandbox
from scripts.fleet.haproxy import configuration, program
from scripts.fleet.least_connections import balancing
from tests.engines import PostgresServer, ValkeyServer
from tests.engines.child import Child, free_port

KEY = "gw-fleet-on-the-sandbox"
"""It opens a sandbox to programs of this machine, nothing else."""
DRAIN = 5
READY_WITHIN, CLOSED_WITHIN = 60.0, DRAIN + 10.0
BAD_CONFIGURATION = 2  # the exit code
RESTARTED_AFTER, ENGINE_GONE_FOR = 2.0, 15.0
LOUD = "=" * 78
SIMULATION = "A SIMULATION: the upstreams are the built-in SANDBOX. Nothing is bought."


@dataclass
class GatewayProcess:
    """One gateway of the fleet, started again where it ends."""

    name: str
    config: Path
    port: int
    admin_port: int
    child: Child | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.config.with_suffix(".log")

    def start(self) -> None:
        """Start it; it may take a moment until it is ready."""
        self.child = Child([sys.executable, "-m", "gateway", "serve", "--config", str(self.config)], self.log)

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.running

    @property
    def refused(self) -> bool:
        """Whether it ended because its configuration is none."""
        return self.child is not None and self.child.process.poll() == BAD_CONFIGURATION

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.process.pid


async def run(port: int, count: int) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    say(f"{LOUD}\n{SIMULATION}\n{LOUD}")
    os.environ["GATEWAY_KEY_PEPPER"] = secrets.token_hex(32)  # the gateways inherit it; it is in no argument list
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="piapi-gateway-fleet-")))
        say("starting PostgreSQL and Valkey …")
        postgres = await asyncio.to_thread(PostgresServer)
        stack.push_async_callback(asyncio.to_thread, postgres.close)
        valkey = await asyncio.to_thread(ValkeyServer)
        stack.push_async_callback(asyncio.to_thread, valkey.close)
        sandbox = await stack.enter_async_context(Sandbox(roles=("api", "proxy", "backup")))
        store = await asyncio.to_thread(postgres.new_database)
        (folder / "images").mkdir(mode=0o700)
        gateways = [
            prepared(folder, number, settings(sandbox.urls, store, valkey.url, folder))
            for number in range(1, count + 1)
        ]
        say(f"starting {count} gateways …")
        await stack.enter_async_context(kept_running(gateways, {"PostgreSQL": postgres, "Valkey": valkey}))
        if not await all_ready(gateways, stopped):
            return 0 if stopped.is_set() else 1
        front, kind = await stack.enter_async_context(balancer(folder, gateways, port))
        banner(front, kind, gateways, postgres, valkey)
        await stopped.wait()
        say("\nending: the balancer, the gateways (what runs may end), Valkey, PostgreSQL …")
    say("the fleet has ended; its folder is gone.")
    return 0


def settings(urls: Mapping[Any, str], store: str, shared_state: str, folder: Path) -> dict[str, Any]:
    """What all gateways of the fleet are told. ``urls``: of the sandbox, by role."""
    return {
        "auth": "required",
        "store": store,
        "shared_state": shared_state,
        "upstreams": {
            "piapi": {
                "endpoints": [{"url": urls["api"], "wall": "120s"}, {"url": urls["proxy"]}],
                "keys": ["sandbox-key-one", "sandbox-key-two"],
                "tasks": {"poll": "300ms", "poll_max": "1s"},
            },
            "backup": {"endpoints": [{"url": urls["backup"]}], "keys": ["sandbox-key-backup"]},
        },
        "images": {"dir": str(folder / "images"), "fetch_hosts": ["127.0.0.1"], "fetch_private": True},
        "teams": {"fleet": {"budget": "10/day"}},
        "keys": [{"name": "fleet", "team": "fleet", "key": KEY, "budget": "5/day", "rpm": 600}],
        "trusted_proxies": ["127.0.0.1"],
        "drain": f"{DRAIN}s",
        "log": {"format": "text", "level": "warning"},
    }


def prepared(folder: Path, number: int, shared: Mapping[str, Any]) -> GatewayProcess:
    """A gateway's own file, beside the others'."""
    port, admin_port = free_port(), free_port()
    path = folder / f"gateway-{number}.yaml"
    path.touch(mode=0o600)
    own = {"listen": f"127.0.0.1:{port}", "admin": {"listen": f"127.0.0.1:{admin_port}"}}
    path.write_text(yaml.safe_dump({**shared, **own}), encoding="utf-8")
    return GatewayProcess(f"gateway-{number}", path, port, admin_port)


@asynccontextmanager
async def kept_running(
    gateways: Sequence[GatewayProcess], engines: Mapping[str, PostgresServer | ValkeyServer]
) -> AsyncIterator[None]:
    """Start the gateways, show what they log, start again what ends; end the gateways in good order at last."""
    for gateway in gateways:
        gateway.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(watch(gateway)) for gateway in gateways]
            watching += [tasks.create_task(watch_engine(name, engine)) for name, engine in engines.items()]
            try:
                yield
            finally:
                for task in watching:
                    task.cancel()
    finally:
        for gateway in gateways:
            if gateway.child is not None:
                gateway.child.resume()
                gateway.child.send(signal.SIGTERM)
        await asyncio.gather(*(asyncio.to_thread(ended, gateway) for gateway in gateways))


async def watch(gateway: GatewayProcess) -> None:
    """Show a gateway's log, line by line, and start it again where it ends."""
    read = 0
    while True:
        await asyncio.sleep(0.2)
        text = gateway.log.read_bytes() if gateway.log.exists() else b""
        whole = text.rfind(b"\n") + 1
        for line in text[read:whole].decode(errors="replace").splitlines():
            say(f"{gateway.name} | {line}")
        read = max(read, whole)
        if not gateway.running and gateway.child is not None:
            say(f"{gateway.name} | ended with {gateway.child.process.returncode}; it is started again")
            await asyncio.sleep(RESTARTED_AFTER)
            gateway.start()


async def watch_engine(name: str, engine: PostgresServer | ValkeyServer) -> None:
    """Start an engine again some time after it has ended, so that there is something to see."""
    while True:
        await asyncio.sleep(0.2)
        if not engine.child.running:
            say(f"{name} | ended; it is started again in {ENGINE_GONE_FOR:.0f} s")
            await asyncio.sleep(ENGINE_GONE_FOR)
            await asyncio.to_thread(engine.start)
            say(f"{name} | is back, pid {engine.child.process.pid}")


def ended(gateway: GatewayProcess) -> None:
    """Wait for its end, or make one."""
    if gateway.child is None:
        return
    until = time.monotonic() + CLOSED_WITHIN
    while gateway.running and time.monotonic() < until:
        time.sleep(0.05)
    if gateway.running:
        say(f"{gateway.name} | did not end within {CLOSED_WITHIN:.0f} s: killed")
        gateway.child.kill()


async def all_ready(gateways: Sequence[GatewayProcess], stopped: asyncio.Event) -> bool:
    """Wait until all take requests. False if that is not to be: it takes long, they were refused, or it was stopped."""
    until = time.monotonic() + READY_WITHIN
    waiting = list(gateways)
    while waiting and not stopped.is_set():
        if any(gateway.refused for gateway in gateways) or time.monotonic() > until:
            say("the gateways do not start: see above.")
            await asyncio.sleep(0.5)  # for what they logged
            return False
        waiting = [gateway for gateway in waiting if not await is_ready(gateway)]
        await asyncio.sleep(0.1)
    return not waiting


async def is_ready(gateway: GatewayProcess) -> bool:
    """Whether it takes requests."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    except OSError:
        return False
    writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
    with suppress(OSError):
        return b" 200 " in await reader.readline()
    return False


@asynccontextmanager
async def balancer(folder: Path, gateways: Sequence[GatewayProcess], port: int) -> AsyncIterator[tuple[int, str]]:
    """The shipped HAProxy configuration where there is a HAProxy, else our own. Gives its port and what it is."""
    to = [f"127.0.0.1:{gateway.port}" for gateway in gateways]
    if (found := program()) is None:
        async with balancing(to, port) as bound:
            yield bound, "scripts/fleet/least_connections.py, as there is no HAProxy here"
        return
    port = port or free_port()
    file = folder / "haproxy.cfg"
    file.write_text(configuration(to, port, free_port()), encoding="utf-8")
    child = Child([found, "-db", "-f", str(file)], folder / "haproxy.log")
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not await listens(port):
                if not child.running:
                    raise SystemExit(f"HAProxy did not start: {(folder / 'haproxy.log').read_text()}")
                await asyncio.sleep(0.05)
        yield port, "HAProxy by deploy/scale/haproxy.cfg"
    finally:
        await asyncio.to_thread(child.stop)


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def banner(
    port: int, kind: str, gateways: Sequence[GatewayProcess], postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    """What there is, and what to try."""
    command = f"{shlex.quote(sys.executable)} -m gateway"
    told = f"-H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json'"
    body = '{"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
    rows = "\n".join(
        f"  {each.name:<10} http://127.0.0.1:{each.port}   admin http://127.0.0.1:{each.admin_port}   pid {each.pid}"
        for each in gateways
    )
    say(
        f"""
  clients    http://127.0.0.1:{port}/v1   key {KEY}   ({kind})
{rows}
  PostgreSQL pid {postgres.child.process.pid}, port {postgres.port}
  Valkey     pid {valkey.child.process.pid}, port {valkey.port}

Try it:

curl -sN http://127.0.0.1:{port}/v1/chat/completions {told} -d '{body}'

Look at the fleet, and at what was spent at all of them:

{command} status --config {gateways[0].config}
{command} usage --config {gateways[-1].config}

Break it, and look again:

A gateway dies: it is started again, what it left is taken over
kill -9 {gateways[0].pid}
Valkey is slow: limits are divided by the number of gateways, nothing fails; kill -CONT ends it
kill -STOP {valkey.child.process.pid}
PostgreSQL is gone for a while: new requests are 503, what runs is booked once it is back
kill -INT {postgres.child.process.pid}

{LOUD}
{SIMULATION} Stop with Ctrl-C.
{LOUD}"""
    )


def say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="run_fleet", description="A fleet on the sandbox, in one terminal.")
    parser.add_argument("--port", type=int, default=8400, help="the balancer's (0: any; default 8400)")
    parser.add_argument("--gateways", type=int, default=3, help="how many (default 3)")
    options = parser.parse_args(arguments)
    if options.gateways < 1:
        parser.error("--gateways must be 1 or more")
    return asyncio.run(run(options.port, options.gateways))


if __name__ == "__main__":
    sys.exit(main())
